"""What a safetensors file holds, by its header alone: no tensor is read."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import WeightsUnavailable, shorten


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
    """Read a file's header by ``safetensors.safe_open``, which checks that it covers the file.

    Raises:
        WeightsUnavailable: the file cannot be read, is truncated, or its header makes no sense.
    """
    from safetensors import SafetensorError, safe_open

    try:
        size_bytes = path.stat().st_size
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            tensors = {name: _tensor(slice_) for name, slice_ in slices.items()}
            return Header(tensors, file.metadata() or {}, size_bytes)
    except OSError as error:
        raise WeightsUnavailable(f"{path.name}: {error.strerror or 'cannot be read'}.") from error
    except SafetensorError as error:
        reason = shorten(str(error).rpartition("deserializing header: ")[2], 200)
        raise WeightsUnavailable(f"{path.name} is no whole safetensors file: {reason}.") from error


def _tensor(slice_: Any) -> Tensor:
    dtype, shape = slice_.get_dtype(), tuple(slice_.get_shape())
    return Tensor(dtype, shape, math.prod(shape) * _bits(dtype) // 8)


def _bits(dtype: str) -> int:
    """Return the width of a type: its name says it (``BF16``, ``F8_E4M3``), but for ``BOOL``."""
    digits = re.match(r"[A-Z]+(\d+)", dtype)
    return int(digits[1]) if digits else 8
