"""``python -m builder check``: set-ups that are broken, and the line that says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from handler.findings import Finding, passes
from models.device import driver
from models.weights.places import Places
from tests.conftest import ROOT

BUCKET = {
    "BUCKET_ACCESS_KEY_ID": "key",
    "BUCKET_SECRET_ACCESS_KEY": "s3cr3t",
    "BUCKET_NAME": "results",
}
NVML = """
NVMLError = type("NVMLError", (Exception,), {})
def nvmlInit(): pass
def nvmlShutdown(): pass
def nvmlSystemGetDriverVersion(): return "550.54.15"
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetCudaComputeCapability(handle): return 8, 9
def nvmlDeviceGetName(handle): return "NVIDIA L4"
def nvmlDeviceGetMemoryInfo(handle): return type("Info", (), {"total": 24 * 10**9})
"""


def checked(*more: str, program: str = "builder", **env: str) -> tuple[int, str]:
    """The exit status and what is printed, of a machine where nothing is set but this."""
    command = {"builder": ["builder", "check"], "handler": ["handler", "--check"]}[program]
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "QUARTET_CACHE") if name in os.environ
    }
    done = subprocess.run(
        [sys.executable, "-m", *command, *more],
        cwd=ROOT,
        env={**kept, "DEVICE": "cpu", **env},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def last_words(env: dict[str, str]) -> list[str]:
    """What a worker behind the queue says that ends before it takes a job."""
    done = subprocess.run(
        [sys.executable, "-m", "handler"],
        cwd=ROOT,
        env={
            **os.environ, **env, "MODEL_SLUG": "Tiny_BGE_M3",
            "RUNPOD_WEBHOOK_GET_JOB": "http://127.0.0.1:9/job",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stderr.splitlines()


@pytest.fixture
def store() -> Iterator[Any]:
    """A bucket's server; what it was asked for, and with which status it answers."""

    class Handler(BaseHTTPRequestHandler):
        asked: ClassVar[list[str]] = []
        status = 200

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.asked.append(f"{self.command} {self.path.partition('?')[0]}")
            self.send_response(self.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_DELETE(self) -> None:
            self.asked.append(f"{self.command} {self.path.partition('?')[0]}")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        Handler.url = f"http://127.0.0.1:{server.server_port}"
        yield Handler
        server.shutdown()


def test_an_endpoint_that_can_start(store):
    status, printed = checked(
        SURFACE="embeddings", MODEL_SLUG="Tiny_BGE_M3", BUCKET_ENDPOINT_URL=store.url, **BUCKET
    )
    assert status == 0
    assert "ok      settings  serves embeddings\n" in printed
    assert "ok      device    the CPU, " in printed
    assert "ok      model     Tiny_BGE_M3 serves embeddings; licence Apache-2.0\n" in printed
    assert "ok      weights   " in printed
    assert "ok      memory    Tiny_BGE_M3 takes 0.25 GB of " in printed
    assert f"ok      bucket    results at {store.url} can be written\n" in printed
    put, deleted = store.asked
    assert put.partition(" ")[2] == deleted.partition(" ")[2]
    assert put.startswith("PUT /results/quartet-check/")
    assert "s3cr3t" not in printed


def test_one_json_object():
    status, printed = checked("--json", SURFACE="embeddings", MODEL_SLUG="BGE_M33")
    said = json.loads(printed)
    assert status == 1
    assert said["ok"] is False
    [finding] = said["findings"]
    assert finding["level"] == "error"
    assert finding["subject"] == "settings"
    assert finding["fatal"]


BROKEN = {
    "a surface that there is not": (
        {"SURFACE": "embedings"}, "error   settings  SURFACE: 'embedings' is none of chat, images"
    ),
    "a number that is none": (
        {"MODEL_MAX_BATCH_SIZE": "many"}, "error   settings  MODEL_MAX_BATCH_SIZE"
    ),
    "a model that there is not": (
        {"MODEL_SLUG": "Lama3_8B_Instruct"},
        "error   settings  MODEL_SLUG: this worker holds no Lama3_8B_Instruct; the nearest: "
        "Llama3_8B_Instruct",
    ),
    "a model of another surface": (
        {"SURFACE": "chat", "MODEL_SLUG": "BGE_M3"},
        "error   settings  MODEL_SLUG: BGE_M3 serves embeddings, SURFACE says chat",
    ),
    "half a bucket": (
        {"BUCKET_NAME": "results", "BUCKET_ENDPOINT_URL": "http://127.0.0.1:9"},
        "error   settings  a bucket needs BUCKET_ACCESS_KEY_ID, BUCKET_SECRET_ACCESS_KEY too",
    ),
    "a bucket that does not answer": (
        {**BUCKET, "BUCKET_ENDPOINT_URL": "http://127.0.0.1:9", "SURFACE": "embeddings"},
        "error   bucket    results at http://127.0.0.1:9: ",
    ),
    "a gated model without a token": (
        {"MODEL_SLUG": "Llama3_8B_Instruct", "HF_ENDPOINT": "http://127.0.0.1:9"},
        "error   token     Llama3_8B_Instruct is gated and there is no token -> set HF_TOKEN to a "
        "token of an account that has accepted Meta Llama 3 Community License",
    ),
    "a hub that does not answer": (
        {"MODEL_SLUG": "BGE_Large", "HF_ENDPOINT": "http://127.0.0.1:9"},
        "error   hub       http://127.0.0.1:9 cannot be reached -> ",
    ),
    "a hub's address that is none": (
        {"MODEL_SLUG": "BGE_Large", "HF_ENDPOINT": "http://[bad"}, "error   settings  HF_ENDPOINT: "
    ),
    "a hub's address without a scheme": (
        {"HF_ENDPOINT": "hub.example.org"}, "error   settings  HF_ENDPOINT: "
    ),
    "a model that is too large": (
        {"MODEL_SLUG": "BGE_Large", "MEMORY_BUDGET_GB": "2", "HF_ENDPOINT": "http://127.0.0.1:9"},
        "error   memory    BGE_Large takes 3 GB of 2.0 for models -> choose a larger GPU or",
    ),
    "a GPU that is not there": (
        {"DEVICE": "cuda"}, "error   settings  DEVICE=cuda, but no NVIDIA GPU answers"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_said_in_its_line(name):
    env, line = BROKEN[name]
    status, printed = checked(**env)
    assert status == 1
    assert [one for one in printed.splitlines() if one.startswith(line)], printed


def test_a_bucket_that_refuses(store):
    store.status = 403
    status, printed = checked(SURFACE="embeddings", BUCKET_ENDPOINT_URL=store.url, **BUCKET)
    assert status == 1
    [line] = [one for one in printed.splitlines() if one.startswith("error")]
    assert line.startswith(f"error   bucket    results at {store.url}: ")
    assert "403" in line
    assert line.endswith("the keys and their right to write")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    env = {"QUARTET_CACHE": str(tmp_path / "file"), "HF_ENDPOINT": "http://127.0.0.1:9"}
    status, printed = checked(MODEL_SLUG="BGE_Large", **env)
    assert status == 1
    assert f"error   disk      {tmp_path}/file: " in printed
    assert "set QUARTET_CACHE to a folder that can be written" in printed


@pytest.mark.parametrize(
    ("free", "total"),
    [
        (10**9, 20 * 10**9),
        (3 * 10**9, 20 * 10**9),
        (35 * 10**8, 10**10),
        (38 * 10**8, 10**10),
    ],
)
def test_a_disk_that_is_too_small_and_one_that_is_not(tmp_path, free, total):
    """As ``shutil.disk_usage`` says: 2.7 GB and a tenth of the disk are needed."""
    (tmp_path / "sitecustomize.py").write_text(
        "import shutil\n"
        f"shutil.disk_usage = lambda path: type('U', (), {{'free': {free}, 'total': {total}}})\n"
    )
    env = {"PYTHONPATH": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    status, printed = checked(MODEL_SLUG="BGE_Large", QUARTET_CACHE=str(tmp_path / "cache"), **env)
    assert status == 1
    small = free < 27 * 10**8 + total / 10
    assert (f"error   disk      {free / 1e9:.1f} GB free in " in printed) == small
    said = (
        "BGE_Large takes about 3 GB, and 10% must stay free: give the endpoint a larger container"
    )
    assert (said in printed) == small


def test_a_hub_that_nobody_is_to_ask(store, tmp_path):
    """With HF_HUB_OFFLINE nothing is fetched, whether the hub answers or not."""
    env = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": store.url, "QUARTET_CACHE": str(tmp_path)}
    status, printed = checked(MODEL_SLUG="BGE_Large", **env)
    assert status == 1
    assert "error   hub       HF_HUB_OFFLINE is set, and weights are missing -> unset it" in printed


def test_where_weights_will_be_kept(tmp_path):
    (tmp_path / "volume").mkdir()
    env = {"QUARTET_CACHE": str(tmp_path / "cache"), "HF_ENDPOINT": "http://127.0.0.1:9"}
    _, printed = checked(MODEL_SLUG="BGE_Large", **env)
    assert "warning weights   come from hf://BAAI/bge-large-en-v1.5@" in printed
    _, printed = checked(MODEL_SLUG="BGE_Large", VOLUME_DIR=str(tmp_path / "volume"), **env)
    assert "ok      weights   come from hf://BAAI/bge-large-en-v1.5@" in printed
    assert " once, about 3 GB, onto the volume\n" in printed


def test_where_weights_are():
    places = Places((Path("/hub"),), Path("/models"), Path("/v/quartet"), Path("/home/cache"))
    assert places.kind(Path("/hub/models--a--b/snapshots/c")) == "in a hub cache"
    assert places.kind(Path("/models/hf--a")) == "baked into the image"
    assert places.kind(Path("/v/quartet/hf--a")) == "on the volume"
    assert places.kind(Path("/home/cache/hf--a")) == "in this machine's cache"
    assert places.kind(Path("/elsewhere")) == "where its address says"


def test_what_is_baked_and_what_is_served():
    env = {"SURFACE": "embeddings", "BAKED_MODEL": "Tiny_BGE_M3"}
    _, printed = checked(**env)
    assert "ok      baked     Tiny_BGE_M3 is in the image, and is served\n" in printed
    status, printed = checked(**env, MODEL_SLUG="Tiny_BGE_Reranker")
    assert status == 0
    assert (
        "warning baked     Tiny_BGE_M3 is in the image, Tiny_BGE_Reranker is served -> " in printed
    )


@pytest.mark.parametrize(
    ("model", "library"),
    [
        ("Tiny_Llama", "transformers"),
        ("Tiny_Flux", "diffusers"),
        ("Tiny_Whisper", "faster_whisper"),
        ("Tiny_BGE_M3", "tokenizers"),
    ],
)
def test_an_image_without_the_engine_of_its_surface(model, library, tmp_path):
    """As one that is built for another surface; the module is named, also when it is needed."""
    hidden = f"import sys\nsys.modules[{library!r}] = None\n"
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\nreal = util.find_spec\n"
        f"util.find_spec = lambda name, *more: None if name == {library!r} else real(name, *more)\n"
        + hidden
    )
    env = {"MODEL_SLUG": model, "PYTHONPATH": str(tmp_path)}
    status, printed = checked(**env)
    assert status == 1
    assert f"error   engine    {model} needs {library} -> use an image that is built " in printed


def test_a_variable_that_nobody_reads():
    """It is no error: an environment holds more than what is ours."""
    env = {"MODEL_TASK": "txt2embedding", "RUNPOD_CPU_COUNT": "8", "HF_TOKEN_PATH": "/t"}
    status, printed = checked(SURFACE="embeddings", MODEL_SLUG="Tiny_BGE_M3", **env)
    assert status == 0
    said = [one for one in printed.splitlines() if "is no variable of this worker" in one]
    assert said == [
        "warning settings  MODEL_TASK is no variable of this worker -> set MODEL_TASKS, if that is "
        "meant"
    ]


def with_driver(folder: Path, version: str, cuda: str | None) -> dict[str, str]:
    """A machine whose NVML knows a GPU with this driver, and a torch of this CUDA."""
    (folder / "pynvml.py").write_text(NVML.replace("550.54.15", version))
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text("raise ImportError('not in this test')\n")
    text = (
        f"from typing import Optional\ncuda: Optional[str] = {cuda!r}\nhip: Optional[str] = None\n"
    )
    (folder / "torch" / "version.py").write_text(text)
    return {"PYTHONPATH": f"{folder}", "DEVICE": "auto", "HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture
def old_driver(tmp_path: Path) -> dict[str, str]:
    """Driver 550, and a torch of CUDA 13."""
    return with_driver(tmp_path, "550.54.15", "13.0")


LINE = (
    "driver 550.54.15 is too old for CUDA 13.0, which needs 580.65 or later{}let the endpoint use "
    "hosts with CUDA 13.0 or later only (allowedCudaVersions), or build the image with --build-arg "
    "CUDA=12.6"
)


def test_a_driver_that_is_too_old(old_driver):
    status, printed = checked(MODEL_SLUG="Tiny_BGE_M3", **old_driver)
    assert status == 1
    assert f"error   driver    {LINE.format(' -> ')}\n" in printed
    assert "ok      device    an NVIDIA GPU of 24 GB, computes in bfloat16" in printed


def test_a_driver_that_nothing_runs_on_does_not_matter(old_driver):
    status, printed = checked(MODEL_SLUG="Tiny_BGE_M3", **{**old_driver, "DEVICE": "cpu"})
    assert status == 0
    assert "driver" not in printed


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("520.61.05", "error   driver    driver 520.61.05 is too old for CUDA 12.8, which needs 525"),
        ("550.54.15", "warning driver    550.54.15 may not run ctranslate2, built with CUDA 12.8"),
        ("570.86.15", "ok      driver    570.86.15, ctranslate2 is built with CUDA 12.8"),
    ],
)  # fmt: skip
def test_whisper_has_a_cuda_of_its_own(tmp_path, version, line):
    """A torch beside it, that it does not use, says nothing of it."""
    _, printed = checked(SURFACE="transcribe", **with_driver(tmp_path, version, "13.0"))
    [said] = [one for one in printed.splitlines() if " driver  " in one]
    assert said.startswith(line)


TORCH_12 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
TORCH_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.mark.parametrize(
    ("architectures", "capability", "other"),
    [
        (TORCH_12, (7, 5), None), (TORCH_12, (8, 9), None), (TORCH_12, (9, 0), None),
        (TORCH_12, (10, 0), "13.0"), (TORCH_12, (10, 3), "13.0"), (TORCH_12, (12, 0), "13.0"),
        (TORCH_13, (7, 0), "12.6"), (TORCH_13, (6, 1), "12.6"), (TORCH_13, (7, 5), None),
        (TORCH_13, (8, 9), None), (TORCH_13, (10, 0), None), (TORCH_13, (10, 3), None),
        (TORCH_13, (12, 0), None), (TORCH_13, (12, 1), None), (TORCH_13, (13, 0), None),
        (["sm_90a"], (9, 0), None), (["compute_80"], (12, 0), None), (["sm_80"], (12, 0), "13.0"),
        ([], (12, 0), None), (TORCH_12, None, None),
    ],
)  # fmt: skip
def test_for_which_gpus_a_build_of_torch_has_kernels(architectures, capability, other):
    complaint = driver.without_kernels(architectures, capability, "12.6")
    assert (complaint is None) == (other is None)
    if complaint is not None:
        assert f"--build-arg CUDA={other}" in complaint
        assert "compute capability" in complaint


@pytest.mark.parametrize(
    ("cuda", "capability", "architectures", "line"),
    [
        (
            "12.6", (12, 0), TORCH_12,
            "error   kernels   torch for CUDA 12.6 has kernels for compute capability 5.0 to 9.0, and "
            "this GPU has 12.0 -> build the image with --build-arg CUDA=13.0, or choose another GPU",
        ),
        (
            "13.0", (7, 0), TORCH_13,
            "error   kernels   torch for CUDA 13.0 has kernels for compute capability 7.5 to 12.0, and "
            "this GPU has 7.0 -> build the image with --build-arg CUDA=12.6, or choose another GPU",
        ),
        ("12.6", (9, 0), TORCH_12, None),
    ],
)  # fmt: skip
def test_a_gpu_that_torch_has_no_kernels_for(tmp_path, cuda, capability, architectures, line):
    env = with_driver(tmp_path, "580.95.05", cuda)
    (tmp_path / "torch" / "__init__.py").write_text(
        f"class cuda:\n    get_arch_list = staticmethod(lambda: {architectures!r})\n"
    )
    nvml = tmp_path / "pynvml.py"
    nvml.write_text(nvml.read_text().replace("return 8, 9", f"return {capability}"))
    status, printed = checked(MODEL_SLUG="Tiny_BGE_M3", **env)
    found = [one for one in printed.splitlines() if " kernels " in one]
    assert [one[: len(line or "")] for one in found] == ([] if line is None else [line])
    assert status == (0 if line is None else 1)
    status, printed = checked(SURFACE="transcribe", **env)
    assert " kernels " not in printed  # it has no use for torch


def test_a_worker_on_a_gpu_without_kernels_ends_before_it_loads(tmp_path):
    env = with_driver(tmp_path, "580.95.05", "12.6")
    (tmp_path / "torch" / "__init__.py").write_text(
        f"class cuda:\n    get_arch_list = staticmethod(lambda: {TORCH_12!r})\n"
    )
    nvml = tmp_path / "pynvml.py"
    nvml.write_text(nvml.read_text().replace("return 8, 9", "return 10, 0"))
    [said] = last_words(env)
    assert said.startswith("quartet: kernels: torch for CUDA 12.6 has kernels for")
    assert "--build-arg CUDA=13.0" in said


def test_a_volume_that_cannot_be_written(tmp_path):
    """As one that belongs to root, where the worker runs as user 10001."""
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "quartet").write_text("")  # where our folder should be
    env = {"VOLUME_DIR": str(volume), "QUARTET_CACHE": str(tmp_path / "cache")}
    status, printed = checked(MODEL_SLUG="Tiny_BGE_M3", **env)
    assert status == 0
    line = (
        f"warning volume    {volume} cannot be written by user {os.getuid()} -> let that user write"
    )
    assert [one for one in printed.splitlines() if one.startswith(line)], printed


def test_a_folder_for_kernels_that_is_not_there(tmp_path):
    env = {"CUDA_CACHE_PATH": str(tmp_path / "nowhere")}
    status, printed = checked(MODEL_SLUG="Tiny_BGE_M3", **env)
    assert status == 0
    line = f"warning kernels   CUDA_CACHE_PATH: {tmp_path}/nowhere is no folder -> make it"
    assert [one for one in printed.splitlines() if one.startswith(line)], printed
    (tmp_path / "nowhere").mkdir()
    assert "CUDA_CACHE_PATH" not in checked(MODEL_SLUG="Tiny_BGE_M3", **env)[1]


@pytest.mark.parametrize(
    ("gpus", "size", "warned"), [(2, 64 << 20, True), (2, 8 << 30, False), (1, 64 << 20, False)]
)
def test_processes_on_several_gpus_that_cannot_talk(tmp_path, gpus, size, warned):
    """A container's /dev/shm has 64 MB unless it is told otherwise."""
    env = with_driver(tmp_path, "580.95.05", "13.0")
    (tmp_path / "vllm.py").write_text("")
    (tmp_path / "sitecustomize.py").write_text(
        "import shutil\n"
        f"shutil.disk_usage = lambda path: type('U', (), {{'free': 10**12, 'total': {size}}})\n"
    )
    _, printed = checked(MODEL_SLUG="Tiny_Llama", RUNPOD_GPU_COUNT=str(gpus), **env)
    line = (
        f"warning memory    /dev/shm has {size / 1e9:.2f} GB for {gpus} GPUs -> start the container"
    )
    assert bool([one for one in printed.splitlines() if one.startswith(line)]) == warned, printed


def test_a_part_of_the_memory_that_the_weights_do_not_fit_into(tmp_path):
    env = with_driver(tmp_path, "580.95.05", "13.0")
    _, printed = checked(MODEL_SLUG="Llama3_8B_Instruct", CHAT_MEMORY_GB="12", **env)
    line = (
        "error   memory    Llama3_8B_Instruct takes 12 GB of 21.6 for models -> its weights alone "
        "have 16.1 GB: raise CHAT_MEMORY_GB"
    )
    assert line in printed.splitlines(), printed


def test_fp8_that_is_not_compiled(tmp_path):
    env = with_driver(tmp_path, "580.95.05", "13.0")
    said = "warning settings  fp8 without IMAGES_COMPILE is probably slower -> set IMAGES_COMPILE=1 too"
    _, printed = checked(MODEL_SLUG="Tiny_Flux", IMAGES_QUANTIZATION="fp8", **env)
    assert said in printed
    _, printed = checked(
        MODEL_SLUG="Tiny_Flux", IMAGES_QUANTIZATION="fp8", IMAGES_COMPILE="1", **env
    )
    assert said not in printed


def test_a_torch_without_cuda_on_a_gpu(tmp_path):
    status, printed = checked(MODEL_SLUG="Tiny_BGE_M3", **with_driver(tmp_path, "580.95.05", None))
    assert status == 0
    assert "warning driver    580.95.05, and no torch here knows CUDA -> " in printed


def test_a_worker_on_it_ends_with_one_line_and_takes_no_job(old_driver):
    assert last_words(old_driver) == [f"quartet: driver: {LINE.format('; ')}"]


@pytest.mark.parametrize(
    ("cuda", "version", "fine"),
    [
        ("12.6", "525.60.13", True), ("12.6", "520.61.05", False), ("12.8", "550.54.15", True),
        ("13.0", "580.65.06", True), ("13.0", "570.86.15", False), (None, "1.0", True),
        ("12.6", "unknown", True), ("11.8", "450.80.02", True),
    ],
)  # fmt: skip
def test_which_driver_carries_which_cuda(cuda, version, fine):
    assert (driver.too_old(cuda, version) is None) == fine


def test_the_installed_torchs_cuda_is_read_without_importing_it():
    import torch

    assert driver.cuda_of_torch() == torch.version.cuda


def test_warnings_let_it_start():
    assert passes([Finding("ok", "a", "b"), Finding("warning", "a", "b", "c")])
    assert not passes([Finding("error", "a", "b", "c")])


@pytest.mark.parametrize("status", [200, 403])
def test_the_platform_hears_of_a_bucket_that_cannot_be_written(store, status):
    """As one of the SDK's fitness checks, before a job is taken; it ends the process."""
    store.status = status
    env = {**BUCKET, "BUCKET_ENDPOINT_URL": store.url, "CHECK_BUCKET": "true", "FAKE_ENGINES": "1"}
    done = subprocess.Popen(
        [sys.executable, "-u", "-m", "handler"],
        cwd=ROOT,
        env={
            **os.environ, **env, "SURFACE": "embeddings", "DEVICE": "cpu",
            "RUNPOD_WEBHOOK_GET_JOB": "http://127.0.0.1:9/job", "RUNPOD_POD_ID": "pod",
            # The SDK's own look at the network, of which there need be none here.
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true", "RUNPOD_SKIP_GPU_CHECK": "true",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        said = []
        for line in done.stdout:
            said.append(line)
            if "no job was had" in line:  # it asks for jobs, which nobody has here
                break
        if status == 200:
            assert "no job was had" in said[-1]
        else:
            assert done.wait(30) == 1
            [line] = [line for line in said if "results at" in line]
            assert "403" in line
            assert not any("no job was had" in line for line in said)
    finally:
        done.kill()
        done.wait()
        done.stdout.close()
