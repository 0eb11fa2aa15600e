"""Describe a checkpoint by its header, without reading its tensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from models.errors import WeightsUnavailable
from models.weights.header import read_header
from models.weights.layout import layout_of

_PARTS = 12  # how many parts are listed
_METADATA_CHARACTERS = 200  # how much of each entry is shown


def inspected(file: Path) -> Iterator[str]:
    """Yield lines of text: size, layout, types, parts and metadata of a checkpoint.

    Raises:
        WeightsUnavailable: the file is not a complete safetensors file.
    """
    header = read_header(file)
    yield f"{file.name}: {_size(header.size_bytes)}, {len(header.tensors)} tensors"
    try:
        layout = layout_of(header)
        yield f"layout: {'plain' if layout is None else f'{layout.name} int8'}"
    except WeightsUnavailable as error:
        yield f"layout: not supported. {error.message}"
    yield "types:"
    for dtype, (count, size_bytes) in header.by_dtype.items():
        yield f"  {dtype:8} {count:6} tensors {_size(size_bytes):>9}"
    yield "parts:"
    parts = list(header.by_part.items())
    for name, count in parts[:_PARTS]:
        yield f"  {name} ({count})"
    if len(parts) > _PARTS:
        yield f"  and {len(parts) - _PARTS} more"
    if header.metadata:
        yield "metadata:"
    for name, value in header.metadata.items():
        text = str(value)
        cut = "" if len(text) <= _METADATA_CHARACTERS else f"… ({len(text)} characters)"
        yield f"  {name}: {text[:_METADATA_CHARACTERS]}{cut}"


def _size(size_bytes: int) -> str:
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= bytes_:
            return f"{size_bytes / bytes_:.1f} {unit}"
    return f"{size_bytes} B"
