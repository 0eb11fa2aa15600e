"""Read the header of a safetensors file, without its tensors."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import WeightsUnavailable, shorten

_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100_000_000  # safetensors' own limit
# Of an adapter, which a client may name: some fifty thousand tensors. A header of safetensors' own
# limit takes a minute of a core and two gigabytes.
_MOST_ADAPTER_HEADER_BYTES = 10_000_000


@dataclass(frozen=True)
class Tensor:
    """A tensor that is not loaded: safetensors' name of its type, its shape, its size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True)
class Header:
    """A file's tensors by name, and its metadata.

    Attributes:
        size_bytes: the size of the whole file.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    size_bytes: int

    @property
    def by_dtype(self) -> dict[str, tuple[int, int]]:
        """The number of tensors of each type and their bytes, the type with most bytes first."""
        count, size = Counter[str](), Counter[str]()
        for tensor in self.tensors.values():
            count[tensor.dtype] += 1
            size[tensor.dtype] += tensor.size_bytes
        return {dtype: (count[dtype], total) for dtype, total in size.most_common()}

    @property
    def by_part(self) -> dict[str, int]:
        """The number of tensors by the first part of their names, such as ``vae``."""
        return dict(Counter(name.partition(".")[0] for name in self.tensors).most_common())


def check_adapter_header(path: Path) -> None:
    """Check that the header of an adapter's file is as long as that of an adapter may be.

    Raises:
        WeightsUnavailable: it is longer, or the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    except OSError as error:
        raise _unreadable(path.name, error) from error
    if length > _MOST_ADAPTER_HEADER_BYTES:
        raise _incomplete(
            path.name,
            f"its header has {length} bytes, and that of an adapter at most "
            f"{_MOST_ADAPTER_HEADER_BYTES}",
        )


def read_header(path: Path) -> Header:
    """Read a file's header with ``safetensors.safe_open``, which checks that it covers the file.

    Raises:
        WeightsUnavailable: the file cannot be read, is truncated, or has an invalid header.
    """
    from safetensors import SafetensorError, safe_open

    try:
        size_bytes = path.stat().st_size
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            tensors = {name: _tensor(slice_) for name, slice_ in slices.items()}
            return Header(tensors, file.metadata() or {}, size_bytes)
    except OSError as error:
        raise _unreadable(path.name, error) from error
    except SafetensorError as error:
        reason = shorten(str(error).rpartition("deserializing header: ")[2], 200)
        raise _incomplete(path.name, reason) from error


def parse_header(name: str, size_bytes: int, read: Callable[[int, int], bytes]) -> Header:
    """Read the header of a file at another place: its length, then JSON, then the tensors.

    Args:
        name: of the file, for errors.
        size_bytes: of the file.
        read: returns the bytes from a start to an end.

    Raises:
        WeightsUnavailable: it is no safetensors file, or truncated.
    """
    if size_bytes < _LENGTH_BYTES:
        raise _incomplete(name, "it has no header")
    length = int.from_bytes(read(0, _LENGTH_BYTES), "little")
    if not 0 < length <= min(_MOST_HEADER_BYTES, size_bytes - _LENGTH_BYTES):
        raise _incomplete(name, "its header has an impossible length")
    try:
        content = json.loads(read(_LENGTH_BYTES, _LENGTH_BYTES + length))
        metadata = {str(key): str(value) for key, value in content.pop("__metadata__", {}).items()}
        tensors = {key: _described(entry) for key, entry in content.items()}
        ends = [int(entry["data_offsets"][1]) for entry in content.values()]
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise _incomplete(name, "its header is invalid") from None
    if max(ends, default=0) != size_bytes - _LENGTH_BYTES - length:
        raise _incomplete(name, "its tensors do not cover the file")
    return Header(tensors, metadata, size_bytes)


def _described(entry: Mapping[str, Any]) -> Tensor:
    start, end = map(int, entry["data_offsets"])
    shape = tuple(map(int, entry["shape"]))
    if not 0 <= start <= end or min(shape, default=0) < 0:
        raise ValueError
    return Tensor(str(entry["dtype"]), shape, end - start)


def _unreadable(name: str, error: OSError) -> WeightsUnavailable:
    return WeightsUnavailable(f"{name}: {error.strerror or 'cannot be read'}.")


def _incomplete(name: str, reason: str) -> WeightsUnavailable:
    return WeightsUnavailable(f"{name} is not a complete safetensors file: {reason}.")


def _tensor(slice_: Any) -> Tensor:
    dtype, shape = slice_.get_dtype(), tuple(slice_.get_shape())
    return Tensor(dtype, shape, math.prod(shape) * _bits(dtype) // 8)


def _bits(dtype: str) -> int:
    """Return the width of a type in bits, from its name (``BF16``, ``F8_E4M3``); 8 for ``BOOL``."""
    digits = re.match(r"[A-Z]+(\d+)", dtype)
    return int(digits[1]) if digits else 8
