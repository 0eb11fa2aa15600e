"""Each lock in a clean environment of the image's Python: what the surface's engines import is there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from models.catalog import CATALOG
from scripts import locks
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

# By lock: whose rows its image loads, and what it is built for beside them.
SURFACES = {
    "all": ("chat", "images", "safety", "transcribe", "speech", "music", "embeddings"),
    "chat": ("chat",),
    "diarize": ("transcribe", "speakers"),
    "embeddings": ("embeddings",),
    "images": ("images", "safety"),
    "images-fast": ("images", "safety"),
    "music": ("music",),
    "qwen-tts": ("speech",),
    "speech": ("speech",),
    "transcribe": ("transcribe",),
}
BESIDE = {"images-fast": {"torchao"}}
# Rows that an image leaves to one with an extra.
ELSEWHERE = {"speech": {"Qwen3_TTS_12Hz_1_7B_CustomVoice"}}
LINUX = {
    "implementation_name": "cpython", "os_name": "posix", "platform_machine": "x86_64",
    "platform_python_implementation": "CPython", "platform_system": "Linux",
    "python_full_version": f"{locks.PYTHON}.3", "python_version": locks.PYTHON,
    "sys_platform": "linux",
}  # fmt: skip
# What vllm requires by fastapi[standard], and its lock leaves out.
LEFT_OUT = {
    "email-validator": "for fields of pydantic's EmailStr, which no request of ours has",
    "fastapi-cli": "a command line, which brings a client of FastAPI's cloud",
    "fastar": "archives for that cloud",
    "pydantic-settings": "for applications that read their settings with it",
}
IMPORTS = """
import importlib, os, sys
sys.path.insert(0, os.environ["CHECKOUT"])
missing = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        missing.append(f"{name}: {type(error).__name__}: {error}")
sys.exit("\\n".join(missing) or 0)
"""


def image_python() -> str | None:
    """An interpreter of the image's Python."""
    known = map(str, Path.home().glob(f".pyenv/versions/{locks.PYTHON}.*/bin/python"))
    named = filter(None, [shutil.which(f"python{locks.PYTHON}")])
    for one in (*known, *named):  # pyenv's own command of that name may lead nowhere
        if subprocess.run([one, "--version"], capture_output=True, check=False).returncode == 0:
            return one
    return None


def environment(folder: Path) -> str:
    """Make a clean one; returns its interpreter."""
    python = image_python()
    if python is None:
        pytest.skip(f"there is no Python {locks.PYTHON}")
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    return str(folder / "bin" / "python")


def pip(python: str, *arguments: str) -> None:
    subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True)


@pytest.fixture(scope="module")
def torch_packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The layer of torch, once for all images: the CPU's where that can be had."""
    folder = tmp_path_factory.mktemp("torch")
    python = environment(folder)
    try:
        pip(python, "--index-url", "https://download.pytorch.org/whl/cpu", locks._TORCH)
    except subprocess.CalledProcessError:
        pip(python, locks._TORCH)
    yield next(folder.glob("lib/python*/site-packages"))
    shutil.rmtree(folder)


def libraries(image: str) -> set[str]:
    """What the engines import of each model that the image's surface can load."""
    found = set(BESIDE.get(image, ()))
    for row in CATALOG.rows:
        if row.surface in SURFACES[image] and row.slug not in ELSEWHERE.get(image, ()):
            module, _, name = row.engine.partition(":")
            found |= set(getattr(import_module(module), name).libraries)
    return found


def test_every_lock_is_looked_at():
    assert set(SURFACES) | {locks.VLLM} == {*locks.IMAGES, locks.VLLM}
    assert "faster_whisper" in libraries("transcribe")
    assert {"sherpa_onnx", "ctranslate2"} <= libraries("diarize")
    assert {"onnxruntime", "torch", "tokenizers"} <= libraries("embeddings")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("image", SURFACES)
def test_the_lock_has_what_its_engines_import(image, tmp_path, request):
    python = environment(tmp_path)
    packages = next(tmp_path.glob("lib/python*/site-packages"))
    lock = str(locks.FOLDER / f"{image}.lock")
    pip(python, "--no-deps", "--require-hashes", "-r", lock)
    needed = libraries(image)
    if "torch" in needed:
        torch = request.getfixturevalue("torch_packages")
        (packages / "torch.pth").write_text(f"{torch}\n")
    ours = ["handler.command", "handler.doors.queue.scaler", "handler.doors.http.serve", "runpod"]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CHECKOUT": str(ROOT)}
    done = subprocess.run(
        [python, "-c", IMPORTS, *sorted(needed), *ours],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    shutil.rmtree(tmp_path)
    assert done.returncode == 0, f"{image}: {done.stderr}"


def required(metadata: dict[str, list[str]], root: str) -> set[str]:
    """Every distribution that one requires on the image's machine, its extras included.

    Args:
        metadata: ``Requires-Dist`` of each distribution that is pinned.
        root: the first.
    """
    waiting, seen, names = [(root, frozenset[str]())], set(), set()
    while waiting:
        name, extras = one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        names.add(name)
        for line in metadata.get(name, ()):
            requirement = Requirement(line)
            marker = requirement.marker
            chosen = [{**LINUX, "extra": extra} for extra in ("", *extras)]
            if marker is None or any(map(marker.evaluate, chosen)):
                wanted = frozenset(requirement.extras)
                waiting.append((canonicalize_name(requirement.name), wanted))
    return names


@pytest.mark.timeout(1200)
def test_the_lock_of_chat_on_vllm_has_what_vllm_requires(tmp_path):
    """Ten gigabytes, so by its packages' metadata: all that they name is pinned, or left out here."""
    python = environment(tmp_path / "venv")
    lock = (locks.FOLDER / f"{locks.VLLM}.lock").read_text()
    pins = tmp_path / "pins.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in locks._PIN.findall(lock)))
    report = tmp_path / "report.json"
    pip(python, "--upgrade", "pip")  # an older one fetches whole wheels for a dry run
    pip(
        python,
        "--dry-run",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--report",
        str(report),
        "-r",
        str(pins),
    )
    installed: list[dict[str, Any]] = json.loads(report.read_text())["install"]
    metadata = {
        canonicalize_name(one["metadata"]["name"]): one["metadata"].get("requires_dist", [])
        for one in installed
    }
    assert set(metadata) == {canonicalize_name(name) for name, _ in locks._PIN.findall(lock)}
    names = required(metadata, "vllm")
    assert "uvloop" in names
    missing = names - set(metadata) - set(LEFT_OUT)
    assert not missing, f"{locks.VLLM}.lock: {', '.join(sorted(missing))}"
    assert set(LEFT_OUT) <= names, "nothing is left out that is not asked for"


def test_requirements_are_followed_through_extras():
    metadata = {
        "vllm": ["fastapi[standard]>=0.1", "win; sys_platform == 'win32'", "flash; extra == 'x'"],
        "fastapi": ["starlette", "uvicorn[standard]; extra == 'standard'"],
        "uvicorn": ["uvloop; extra == 'standard' and sys_platform != 'win32'"],
    }
    assert required(metadata, "vllm") == {"vllm", "fastapi", "starlette", "uvicorn", "uvloop"}
