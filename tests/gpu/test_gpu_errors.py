"""The errors of CUDA's libraries, really made, by their names; each in a process that it may break."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.device.hardware import Device

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
import torch
from models.device.failures import attempt, translate

def make():
{body}

outcome = attempt(make)
print(type(translate(outcome.error)).__name__)
"""
MADE = {
    "memory": (
        "torch.empty(1 << 50, dtype=torch.uint8, device='cuda')",
        "OutOfMemory",
    ),
    "a GPU that is not there": (
        "torch.zeros(1, device='cuda')",
        "DeviceLost",
    ),
    "an assertion on the device": (
        "torch.zeros(4, device='cuda')[torch.tensor([9], device='cuda')].tolist()",
        "DeviceLost",
    ),
    "what comes after one": (
        "try: torch.zeros(4, device='cuda')[torch.tensor([9], device='cuda')].tolist()\n"
        "    except RuntimeError: pass\n"
        "    torch.ones(8, 8, device='cuda') @ torch.ones(8, 8, device='cuda')",
        "DeviceLost",
    ),
    "a launch that is refused": (
        "torch.cuda._sleep(0); torch.cuda.check_error(1)",  # cudaErrorInvalidValue
        "EngineFailed",
    ),
    "shapes": (
        "torch.ones(2, 3, device='cuda') @ torch.ones(2, 3, device='cuda')",
        "EngineFailed",
    ),
}
TRITON = """
import torch
import triton
import triton.language as tl
from models.device.failures import attempt, translate

@triton.jit
def beyond(pointer, size: tl.constexpr):
    tl.store(pointer + tl.arange(0, size) + (1 << 40), 1.0)

def make():
    beyond[(1,)](torch.zeros(16, device="cuda"), size=16)
    torch.cuda.synchronize()
    beyond[(1,)](torch.zeros(16, device="cuda"), size=16)

print(type(translate(attempt(make).error)).__name__)
"""


def said(gpu: Device, program: str, **env: str) -> str:
    if gpu.kind != "cuda":
        pytest.skip("played by the CPU")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **env},
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return (done.stdout.split() or [done.stderr[-500:]])[-1]


@pytest.mark.parametrize("name", MADE)
def test_an_error_that_is_made_has_its_name(gpu: Device, name: str) -> None:
    body, kind = MADE[name]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if "not there" in name else {}
    assert said(gpu, PROGRAM.format(body=f"    {body}"), **hidden) == kind


def test_an_error_of_triton(gpu: Device, tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    (tmp_path / "kernel.py").write_text(TRITON)  # it reads its kernels' source
    program = f"import runpy; runpy.run_path({str(tmp_path / 'kernel.py')!r}, run_name='__main__')"
    assert said(gpu, program) == "DeviceLost"


def test_a_gpu_that_is_well_passes_its_trial(gpu: Device) -> None:
    from models.device.trial import is_broken

    if gpu.kind != "cuda":
        pytest.skip("played by the CPU")
    assert not is_broken()
