"""A file for the inputs of a target, one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch(name: str) -> Iterator[Callable[[bytes], Path]]:
    """Lend a function that writes an input to the file, over the one before; it returns the path.

    Args:
        name: of the file.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / name

        def written(content: bytes) -> Path:
            path.write_bytes(content)
            return path

        yield written
