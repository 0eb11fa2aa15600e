"""What a safetensors file holds, by its header alone: no tensor is read.

The format (huggingface/safetensors): eight bytes with the length of a JSON object, little endian;
the object, ``{name: {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {…}}``; the
tensors' bytes.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import WeightsUnavailable

_LENGTH_BYTES = 8
_MOST_BYTES = 100_000_000  # as the library's own limit
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16,
    "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A tensor that is not read: its type as safetensors names it, shape, and size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True)
class Header:
    """A file's tensors by name, and what its maker says of it.

    Attributes:
        size_bytes: of the whole file.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    size_bytes: int

    @property
    def by_dtype(self) -> dict[str, tuple[int, int]]:
        """How many tensors there are of each type, and their bytes, the most bytes first."""
        count, size = Counter[str](), Counter[str]()
        for one in self.tensors.values():
            count[one.dtype] += 1
            size[one.dtype] += one.size_bytes
        return {dtype: (count[dtype], total) for dtype, total in size.most_common()}

    @property
    def by_part(self) -> dict[str, int]:
        """How many tensors begin with each name, ``transformer_blocks`` or ``vae``."""
        return dict(Counter(name.partition(".")[0] for name in self.tensors).most_common())


def read_header(path: Path) -> Header:
    """Read a file's header.

    Raises:
        WeightsUnavailable: it is no safetensors file, or one that is cut off or makes no sense.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if not 2 <= length <= min(size_bytes - _LENGTH_BYTES, _MOST_BYTES):
                raise _broken(path, f"it declares a header of {length} bytes and has {size_bytes}")
            content = json.loads(file.read(length))
    except OSError as error:
        raise WeightsUnavailable(f"{path.name}: {error.strerror or 'cannot be read'}.") from error
    except (ValueError, RecursionError) as error:
        raise _broken(path, "its header is no JSON") from error
    if not isinstance(content, dict):
        raise _broken(path, "its header is no object")
    metadata = content.pop("__metadata__", None) or {}
    data_bytes = size_bytes - _LENGTH_BYTES - length
    tensors = {name: _tensor(path, name, one, data_bytes) for name, one in content.items()}
    _check_ends(path, content, data_bytes)
    return Header(tensors, metadata if isinstance(metadata, dict) else {}, size_bytes)


def _tensor(path: Path, name: str, said: Any, data_bytes: int) -> Tensor:
    try:
        dtype, shape = said["dtype"], said["shape"]
        begin, end = said["data_offsets"]
        sane = all(isinstance(one, int) and one >= 0 for one in (*shape, begin, end))
        needed = math.prod(shape) * _BITS[dtype] // 8 if sane else -1
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"{name!r:.80} is not described as a tensor") from error
    if not sane or end - begin != needed:
        raise _broken(path, f"{name!r:.80} has another size than its type and shape")
    if end > data_bytes:
        raise _broken(path, f"it is cut off: {name!r:.80} ends at {end} of {data_bytes} bytes")
    return Tensor(dtype, tuple(shape), needed)


def _check_ends(path: Path, content: Mapping[str, Any], data_bytes: int) -> None:
    """Tensors lie side by side, without gaps: one of them could hold another else."""
    at = 0
    for begin, end in sorted(one["data_offsets"] for one in content.values()):
        if begin != at:
            raise _broken(path, f"its tensors overlap, or leave a gap at {at} bytes")
        at = end
    if at != data_bytes:
        raise _broken(path, f"it has {data_bytes - at} bytes that belong to no tensor")


def _broken(path: Path, why: str) -> WeightsUnavailable:
    return WeightsUnavailable(f"{path.name} is no whole safetensors file: {why}.")
