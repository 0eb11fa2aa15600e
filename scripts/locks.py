"""Make and check the locks of the images, and print the size of their wheels.

    ./scripts/lock             make builder/requirements/*.lock (needs uv)
    ./scripts/lock --check     check that they match the .txt files; works offline
    ./scripts/lock --sizes     print the size of the wheels of each image (needs uv)

torch and CUDA's libraries are in no lock, because they depend on the build argument CUDA. The
hashes are those of the wheels for x86-64 and arm64, which have the same packages and versions; the
lock of vLLM is for x86-64 only.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from benchmarks.report import figures, table

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "builder" / "requirements"
IMAGES = (
    "all", "embeddings", "transcribe", "speech", "qwen-tts", "music", "diarize", "images",
    "images-fast", "chat",
)  # fmt: skip
VLLM = "chat-vllm"  # its .txt is the whole tree already, as its requirements contradict each other
PYTHON = "3.12"  # Ubuntu 24.04's
MACHINES = ("x86_64", "aarch64")
_TORCH = "torch==2.13.0"
_CUDA = re.compile(r"(torch|triton|nvidia-(?!ml-py)[\w-]+|cuda-[\w-]+)==")
_PIN = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)
_MADE_FROM = "# Made by scripts/lock, of requirements with SHA-256 "


def lines(name: str) -> Iterator[str]:
    """Yield the requirements of a .txt file and of the files that it includes."""
    for line in (FOLDER / f"{name}.txt").read_text().splitlines():
        if line.startswith("-r "):
            yield from lines(line[3:].removesuffix(".txt"))
        elif line and not line.startswith("#"):
            yield line


def digest(name: str) -> str:
    """Return the hash of the requirements of a lock, independent of their order."""
    return hashlib.sha256("\n".join(sorted(set(lines(name)))).encode()).hexdigest()


def uv_compile(given: Path, *options: str, machine: str = MACHINES[0]) -> str:
    """Return uv's resolution of requirements, for the image's Python on a machine."""
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("uv is needed: pip install uv")
    command = [uv, "pip", "compile", "--quiet", "--python-version", PYTHON]
    command += ["--python-platform", f"{machine}-manylinux_2_39", "--generate-hashes"]
    command += ["--no-annotate", "--no-header", *options, str(given)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def compiled(name: str, *options: str) -> list[str]:
    """Return all packages of an image: an entry for each, with its hashes."""
    made = uv_compile(FOLDER / f"{name}.txt", *options)
    return re.split(r"\n(?=\S)", made.strip())


def make(name: str) -> None:
    """Write a lock; versions are constrained to those of ``all``, which are tested together."""
    together = ("--constraints", str(FOLDER / "all.lock"))
    entries = compiled(name, *{VLLM: ("--no-deps",), "all": ()}.get(name, together))
    if name != VLLM:
        entries = [entry for entry in entries if not _CUDA.match(entry)]
    text = "\n".join(entries)
    fitting = {
        file["hashes"]["sha256"]
        for machine in (MACHINES if name != VLLM else MACHINES[:1])
        for files in fitting_files(text, "--no-deps", machine=machine).values()
        for file in files
    }
    entries = [_only(entry, fitting) for entry in entries]
    made = "\n".join([f"{_MADE_FROM}{digest(name)}", *entries])
    (FOLDER / f"{name}.lock").write_text(f"{made}\n")


def _only(entry: str, fitting: set[str]) -> str:
    """Return a package's entry with the hashes of the wheels that the image may install."""
    first, *hashes = entry.split(" \\\n")
    return " \\\n".join(
        [first, *(digest for digest in hashes if digest.rpartition(":")[2] in fitting)]
    )


def wrong(name: str) -> Iterator[str]:
    """Yield why a lock does not match its .txt file."""
    lock = FOLDER / f"{name}.lock"
    text = lock.read_text() if lock.is_file() else ""
    if not text.startswith(_MADE_FROM + digest(name)):
        yield f"{lock.name} is not of {name}.txt as it is now: run scripts/lock"
    pinned = {canonicalize_name(match[1]): match[2] for match in _PIN.finditer(text)}
    for line in lines(name):
        requirement = Requirement(line)
        have = pinned.get(canonicalize_name(requirement.name))
        left_out = name != VLLM and bool(_CUDA.match(f"{canonicalize_name(requirement.name)}=="))
        if not left_out and (have is None or not requirement.specifier.contains(have)):
            version = have or "not at all"
            yield f"{lock.name} has {requirement.name} {version}, {name}.txt wants {line}"


def wheels(requirements: str, *options: str) -> dict[str, int]:
    """Return the size in bytes of the file that the image installs of each package, by name.

    Args:
        requirements: the text of a requirements file.
        options: options of ``uv pip compile``, which downloads no packages.

    Raises:
        CalledProcessError: the requirements cannot be resolved for the image's Python and platform.
        LookupError: a package has no file for it.
    """
    files_by_name = fitting_files(requirements, *options)
    return {name: files[0]["size"] for name, files in files_by_name.items()}


def fitting_files(
    requirements: str, *options: str, machine: str = MACHINES[0]
) -> dict[str, list[dict[str, Any]]]:
    """Return each package's wheels for the image on a machine, the best first, or its source.

    Raises what ``wheels`` raises.
    """
    best = {str(tag): place for place, tag in enumerate(_tags(machine))}
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "given.txt", Path(scratch) / "pylock.toml"
        given.write_text(requirements)
        uv_compile(
            given, "--format", "pylock.toml", "--output-file", str(made), *options, machine=machine
        )
        packages = tomllib.loads(made.read_text())["packages"]
    fitting = {}
    for package in packages:
        places = [(_place(wheel["url"], best), wheel) for wheel in package.get("wheels", [])]
        ranked = sorted(
            ((place, wheel) for place, wheel in places if place is not None),
            key=lambda entry: entry[0],
        )
        source = package.get("sdist")
        files = [wheel for _, wheel in ranked] or ([source] if source else [])
        if not files:
            raise LookupError(f"{package['name']} has no file for Python {PYTHON} on {machine}")
        fitting[package["name"]] = files
    return fitting


def _tags(machine: str = MACHINES[0]) -> Iterator[Tag]:
    """Yield the wheel tags that the image's Python installs, the best first."""
    version = (3, int(PYTHON.partition(".")[2]))
    named = ("manylinux2014", "manylinux2010", "manylinux1")
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(39, 4, -1)]
    platforms += [f"{name}_{machine}" for name in named]
    yield from cpython_tags(version, platforms=platforms)
    yield from compatible_tags(version, platforms=platforms)


def _place(address: str, best: Mapping[str, int]) -> int | None:
    """Return a wheel's rank, the best is the smallest; None if it does not fit."""
    *_, tags = parse_wheel_filename(unquote(address.rpartition("/")[2]))
    return min((best[str(tag)] for tag in tags if str(tag) in best), default=None)


def sizes() -> None:
    """Print the size of the wheels of each image."""
    torch = sum(size for name, size in wheels(_TORCH).items() if _CUDA.match(f"{name}=="))
    cuda_12 = sum(wheels((FOLDER / "cuda-12.txt").read_text()).values())
    rows, values = [], {}
    for name in (*IMAGES, VLLM):
        rest = sum(wheels((FOLDER / f"{name}.lock").read_text(), "--no-deps").values())
        extra = torch if any(line.startswith("torch==") for line in lines(name)) else cuda_12
        if name == VLLM:
            extra = 0  # its lock includes them
        rows.append([name, *(f"{size / 1e6:.0f}" for size in (rest, extra, rest + extra))])
        values[f"{name}_mb"] = (rest + extra) / 1e6
    table(["image", "its lock, MB", "torch for CUDA 13.0 or CUDA 12's, MB", "together, MB"], rows)
    figures(values)


def main() -> int:
    """Make the locks, check them or print sizes; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/lock", description="The locks of the images.")
    parser.add_argument("--check", action="store_true", help="check that they are up to date")
    parser.add_argument("--sizes", action="store_true", help="print the size of the wheels")
    given = parser.parse_args()
    if given.sizes:
        sizes()
        return 0
    names = (*IMAGES, VLLM)
    if not given.check:
        for name in names:
            make(name)
    problems = [problem for name in names for problem in wrong(name)]
    print("\n".join(problems) or f"{len(names)} locks match their requirements")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
