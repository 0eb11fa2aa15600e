"""``python -m builder warm``: the models are loaded and rehearsed, and what was compiled is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from handler.settings.variables import Settings
from handler.warming import compiled_folder, files, kept, warmed
from models.errors import OutOfMemory, QuartetError
from tests.conftest import ROOT
from tests.support.running import environment

SLUGS = {
    "chat": "Fake_Chat",
    "images": "Fake_Images",
    "transcribe": "Fake_Transcribe",
    "speech": "Fake_Speech",
    "music": "Fake_Music",
    "embeddings": "Fake_Embeddings",
}


def warm(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT, env=environment(**env), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", [("builder", "warm"), ("handler", "--warm")])
def test_the_command_prints_a_line_for_the_model(command):
    """Also where jobs could be had: it takes none."""
    done = warm(*command, SURFACE="embeddings", RUNPOD_WEBHOOK_GET_JOB="http://127.0.0.1:9/")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    assert line.startswith("Fake_Embeddings: warm after ")
    assert line.endswith("; nothing is compiled for it on this device")
    assert "warm 0." in done.stderr  # its start in stages, the rehearsal too


def test_each_surface_that_is_served_has_a_line():
    done = warm("builder", "warm", SURFACE="all")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == list(SLUGS.values())


@pytest.mark.parametrize(
    ("env", "line"),
    [
        ({"MODEL_SLUG": "Nobodys"}, "quartet: MODEL_SLUG: this worker holds no Nobodys"),
        (
            {"MODEL_SLUG": "Tiny_Flux", "FAKE_ENGINES": "0", "MEMORY_BUDGET_GB": "0.000001"},
            "quartet: Tiny_Flux needs ",
        ),
    ],
)
def test_what_fails_is_one_line_and_status_1(env, line):
    done = warm("builder", "warm", **env)
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith(line)
    assert "Traceback" not in done.stderr


def test_without_a_gpu_it_says_so():
    """As in a step of ``docker build``; not where the operator wants the CPU."""
    said = "no GPU is visible here"
    assert said in warm("builder", "warm", SURFACE="embeddings", DEVICE="auto").stderr
    assert said not in warm("builder", "warm", SURFACE="embeddings").stderr


@pytest.mark.anyio
async def test_a_rehearsal_that_fails_fails_the_command(make_worker):
    worker = make_worker(SURFACE="embeddings", REHEARSE="false")
    async with worker.dispatcher.pool.lease(worker.expected) as model:

        def full(batch: Any) -> Any:
            raise OutOfMemory("The device is full.")

        model.engine.run = full
    with pytest.raises(QuartetError, match=r"^the rehearsal failed: The device"):
        _ = [line async for line in warmed(worker, Settings.from_env({"DEVICE": "cpu"}))]


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"MODEL_SLUG": "Tiny_Flux", "IMAGES_COMPILE": "1"}, "compiled"),
        ({"MODEL_SLUG": "Tiny_Flux"}, None),
        ({"MODEL_SLUG": "Tiny_BGE_M3"}, None),
    ],
)
def test_the_folder_is_the_one_that_the_engine_gets(make_worker, tmp_path, env, name):
    worker = make_worker(FAKE_ENGINES="0", QUARTET_CACHE=str(tmp_path), **env)
    assert compiled_folder(worker.expected) == (None if name is None else tmp_path / name)


def test_what_was_compiled_is_counted(tmp_path: Path):
    folder = tmp_path / "compiled"
    assert files(folder) == {}
    assert kept(folder, {}, {}) == f"compiled: nothing new, 0 files of 0.0 MB in {folder}"
    (folder / "vllm").mkdir(parents=True)
    (folder / "vllm" / "graph").write_bytes(b"0" * 1_500_000)
    first = files(folder)
    assert kept(folder, {}, first) == f"compiled: 1 file of 1.5 MB into {folder}"
    (folder / "kernel").write_bytes(b"0" * 200_000)
    assert kept(folder, first, files(folder)) == f"compiled: 1 file of 0.2 MB into {folder}"
    assert kept(folder, first, first).startswith("compiled: nothing new, 1 file of 1.5 MB")
