"""The locks of the images: made, checked, and what their wheels weigh.

    ./scripts/lock             make builder/requirements/*.lock (needs uv)
    ./scripts/lock --check     see that they are those of the .txt files; no network
    ./scripts/lock --sizes     print how large the wheels of each image are (needs uv)

torch and CUDA's libraries are in no lock: they follow the build argument CUDA. The hashes are
those of the wheels for x86-64 and, but for vllm's, for arm64, whose trees are the same.
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
    "all", "embeddings", "transcribe", "speech", "diarize", "images", "images-fast", "chat",
)  # fmt: skip
VLLM = "chat-vllm"  # its .txt is the whole tree already, as its requirements contradict each other
PYTHON = "3.12"  # Ubuntu 24.04's
MACHINES = ("x86_64", "aarch64")
_TORCH = "torch==2.13.0"
_CUDA = re.compile(r"(torch|triton|nvidia-(?!ml-py)[\w-]+|cuda-[\w-]+)==")
_PIN = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)
_MADE_FROM = "# Made by scripts/lock, of requirements with SHA-256 "


def lines(name: str) -> Iterator[str]:
    """The requirements of a .txt file and of those that it includes."""
    for line in (FOLDER / f"{name}.txt").read_text().splitlines():
        if line.startswith("-r "):
            yield from lines(line[3:].removesuffix(".txt"))
        elif line and not line.startswith("#"):
            yield line


def digest(name: str) -> str:
    """Of what a lock is made from, in any order."""
    return hashlib.sha256("\n".join(sorted(set(lines(name)))).encode()).hexdigest()


def uv_compile(given: Path, *options: str, machine: str = MACHINES[0]) -> str:
    """What uv makes of requirements, for the image's Python and a machine."""
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("uv is needed: pip install uv")
    command = [uv, "pip", "compile", "--quiet", "--python-version", PYTHON]
    command += ["--python-platform", f"{machine}-manylinux_2_39", "--generate-hashes"]
    command += ["--no-annotate", "--no-header", *options, str(given)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def compiled(name: str, *options: str) -> list[str]:
    """The whole tree, a package and its hashes an entry."""
    made = uv_compile(FOLDER / f"{name}.txt", *options)
    return re.split(r"\n(?=\S)", made.strip())


def make(name: str) -> None:
    """Write a lock; versions are those of ``all``, made before: what is tested together."""
    together = ("--constraints", str(FOLDER / "all.lock"))
    entries = compiled(name, *{VLLM: ("--no-deps",), "all": ()}.get(name, together))
    if name != VLLM:
        entries = [one for one in entries if not _CUDA.match(one)]
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
    """A package with the hashes of what the image may install, of some sixty that there are."""
    first, *hashes = entry.split(" \\\n")
    return " \\\n".join(
        [first, *(digest for digest in hashes if digest.rpartition(":")[2] in fitting)]
    )


def wrong(name: str) -> Iterator[str]:
    """What keeps a lock from being that of its .txt."""
    lock = FOLDER / f"{name}.lock"
    text = lock.read_text() if lock.is_file() else ""
    if not text.startswith(_MADE_FROM + digest(name)):
        yield f"{lock.name} is not of {name}.txt as it is now: run scripts/lock"
    pinned = {canonicalize_name(match[1]): match[2] for match in _PIN.finditer(text)}
    for line in lines(name):
        asked = Requirement(line)
        have = pinned.get(canonicalize_name(asked.name))
        left_out = name != VLLM and bool(_CUDA.match(f"{canonicalize_name(asked.name)}=="))
        if not left_out and (have is None or not asked.specifier.contains(have)):
            yield f"{lock.name} has {asked.name} {have or 'not at all'}, {name}.txt wants {line}"


def wheels(requirements: str, *options: str) -> dict[str, int]:
    """The size in bytes of the file that the image takes of each package, by its name.

    Args:
        requirements: as in a file of them.
        options: for ``uv pip compile``, which asks the index and downloads nothing.

    Raises:
        CalledProcessError: they cannot be had together for the image's Python and platform.
        LookupError: of one there is no file for it.
    """
    found = fitting_files(requirements, *options)
    return {name: files[0]["size"] for name, files in found.items()}


def fitting_files(
    requirements: str, *options: str, machine: str = MACHINES[0]
) -> dict[str, list[dict[str, Any]]]:
    """Of each package the wheels that fit the image on a machine, the best first; else its source.

    Raises as ``wheels``.
    """
    best = {str(tag): place for place, tag in enumerate(_tags(machine))}
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "given.txt", Path(scratch) / "pylock.toml"
        given.write_text(requirements)
        uv_compile(
            given, "--format", "pylock.toml", "--output-file", str(made), *options, machine=machine
        )
        packages = tomllib.loads(made.read_text())["packages"]
    found = {}
    for package in packages:
        places = [(_place(one["url"], best), one) for one in package.get("wheels", [])]
        fitting = sorted(
            ((place, one) for place, one in places if place is not None), key=lambda one: one[0]
        )
        files = [one for _, one in fitting] or [one for one in [package.get("sdist")] if one]
        if not files:
            raise LookupError(f"{package['name']} has no file for Python {PYTHON} on {machine}")
        found[package["name"]] = files
    return found


def _tags(machine: str = MACHINES[0]) -> Iterator[Tag]:
    """What the image's Python installs, the best first."""
    version = (3, int(PYTHON.partition(".")[2]))
    named = ("manylinux2014", "manylinux2010", "manylinux1")
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(39, 4, -1)]
    platforms += [f"{name}_{machine}" for name in named]
    yield from cpython_tags(version, platforms=platforms)
    yield from compatible_tags(version, platforms=platforms)


def _place(address: str, best: Mapping[str, int]) -> int | None:
    """How good a wheel is, the least is the best; None where it does not fit."""
    *_, tags = parse_wheel_filename(unquote(address.rpartition("/")[2]))
    return min((best[str(tag)] for tag in tags if str(tag) in best), default=None)


def sizes() -> None:
    """Print what the wheels of each image weigh."""
    torch = sum(size for name, size in wheels(_TORCH).items() if _CUDA.match(f"{name}=="))
    cuda_12 = sum(wheels((FOLDER / "cuda-12.txt").read_text()).values())
    rows, values = [], {}
    for name in (*IMAGES, VLLM):
        rest = sum(wheels((FOLDER / f"{name}.lock").read_text(), "--no-deps").values())
        beside = torch if any(line.startswith("torch==") for line in lines(name)) else cuda_12
        if name == VLLM:
            beside = 0  # its lock has all of it
        rows.append([name, *(f"{size / 1e6:.0f}" for size in (rest, beside, rest + beside))])
        values[f"{name}_mb"] = (rest + beside) / 1e6
    table(["image", "its lock, MB", "torch for CUDA 13.0 or CUDA 12's, MB", "together, MB"], rows)
    figures(values)


def main() -> int:
    """Make, check or weigh; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/lock", description="The locks of the images.")
    parser.add_argument("--check", action="store_true", help="see that they are up to date")
    parser.add_argument("--sizes", action="store_true", help="print what the wheels weigh")
    given = parser.parse_args()
    if given.sizes:
        sizes()
        return 0
    names = (*IMAGES, VLLM)
    if not given.check:
        for name in names:
            make(name)
    found = [one for name in names for one in wrong(name)]
    print("\n".join(found) or f"{len(names)} locks are those of their requirements")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
