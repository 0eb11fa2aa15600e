"""The files of weights: which are wanted, how large they are, and what is wrong with them."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from models.errors import RepositoryUnsuited
from models.repository.copies import Copy

_POINTER = b"version https://git-lfs"
_POINTER_BYTES = 1024
DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
# What torch's own reading without code allows in a file of weights, by module.
_HARMLESS = ("torch", "collections", "numpy", "_codecs")


def size_bytes(copy: Copy, patterns: Iterable[str]) -> int:
    """Return the bytes of the files that some patterns fit, as a download understands them."""
    wanted = list(patterns)
    return sum(size for name, size in copy.sizes.items() if _fits(name, wanted))


def named(copy: Copy, patterns: Iterable[str]) -> list[str]:
    """Return the files that some patterns fit."""
    wanted = list(patterns)
    return [name for name in copy.sizes if _fits(name, wanted)]


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def safetensors(copy: Copy, folder: str = "") -> list[str]:
    """Return the names of a checkpoint's safetensors files, whole, in a folder of the repository.

    Raises:
        RepositoryUnsuited: the checkpoint's index names files that are not there.
    """
    return _whole(copy, f"{folder}model", "safetensors")


def pickles(copy: Copy) -> list[str]:
    """Return the names of a checkpoint's files in torch's own format, whole.

    Raises:
        RepositoryUnsuited: the checkpoint's index names files that are not there, or a file is more
            than tensors.
    """
    files = _whole(copy, "pytorch_model", "bin")
    if copy.folder is not None:
        for name in files:
            check_pickle(copy.folder / name)
    return files


def _whole(copy: Copy, stem: str, suffix: str) -> list[str]:
    index = f"{stem}.{suffix}.index.json"
    if copy.has(index):
        parts = sorted(set(copy.json(index).get("weight_map", {}).values()))
        folder = index.rpartition("/")[0]
        wanted = [f"{folder}/{part}" if folder else part for part in parts]
        missing = [name for name in wanted if not copy.has(name)]
        if missing or not wanted:
            raise _missing(missing or [index])
    else:
        wanted = [name for name in (f"{stem}.{suffix}",) if copy.has(name)]
    pointers = [name for name in wanted if _is_pointer(copy, name)]
    if pointers:
        raise RepositoryUnsuited(
            f"{_some(pointers)}: a pointer of Git LFS, not weights; run `git lfs pull` there."
        )
    return wanted


def _is_pointer(copy: Copy, name: str) -> bool:
    if copy.folder is None or copy.sizes[name] > _POINTER_BYTES:
        return False
    return (copy.folder / name).read_bytes().startswith(_POINTER)


def _missing(names: list[str]) -> RepositoryUnsuited:
    return RepositoryUnsuited(
        f"The weights are not whole: {_some(names)} missing; fetch the repository again."
    )


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def refuse_without(copy: Copy, what: str) -> RepositoryUnsuited:
    """Return the error for a repository without weights that are read here."""
    if named(copy, ["*.gguf"]):
        has = "it has GGUF files; name the repository that they were made of"
    elif named(copy, ["consolidated*.safetensors"]):
        has = "it has consolidated*.safetensors; name a repository in transformers' form"
    elif files := named(copy, ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl"]):
        has = (
            f"{_some(files)} is a pickle, which can hold code; save it as safetensors "
            "(save_pretrained does), or name a revision that has them"
        )
    else:
        has = "fetch the repository again, with its large files"
    return RepositoryUnsuited(f"There are no weights of {what} (model.safetensors): {has}.")


def check_pickle(file: Path) -> None:
    """See that a file of torch's holds tensors alone; nothing of it is run.

    Raises:
        RepositoryUnsuited: it names something else, as a function to call.
    """
    for module in _modules(file):
        if module.partition(".")[0] not in _HARMLESS:
            raise RepositoryUnsuited(
                f"{file.name} would call {module!r} when it is read: it is more than weights, and "
                "is not loaded; use a repository with safetensors."
            )


def _modules(file: Path) -> Iterator[str]:
    """Yield the modules that a pickle names."""
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(_pickled(file)):
            if opcode.name == "GLOBAL":
                yield str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                yield ".".join(strings[-2:])
            elif isinstance(argument, str):
                strings.append(argument)
    except ValueError:
        raise RepositoryUnsuited(f"{file.name} is no checkpoint of torch's.") from None


def _pickled(file: Path) -> bytes:
    if not zipfile.is_zipfile(file):
        return file.read_bytes()
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise RepositoryUnsuited(
                    f"{file.name} is compressed, as torch's files are not: a few bytes may become "
                    "gigabytes. Use a repository with safetensors."
                )
            names = [entry.filename for entry in entries if entry.filename.endswith("/data.pkl")]
            return b"".join(archive.read(name) for name in names)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # also of encryption
        raise RepositoryUnsuited(f"{file.name} is no checkpoint of torch's.") from error


def stored_bytes(config: Mapping[str, Any]) -> int:
    """Return the bytes of a number in the files, by config.json; it means float32 by default."""
    said = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return DTYPE_BYTES.get(said.removeprefix("torch."), 4)
