"""Copies on this machine that the worker or the builder has put together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from models.weights.assembly import ORIGIN
from models.weights.places import Places


def origins(stem: str, places: Places) -> Iterator[tuple[Path, str]]:
    """Yield the copies whose folder begins with ``stem``, the newest first, each with its address.

    Args:
        stem: of a source of ``models.weights.sources``.
        places: where they may be.
    """
    for root in (places.baked, places.volume, places.cache):
        folders = [] if root is None or not root.is_dir() else list(root.glob(f"{stem}*"))
        for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True):
            if (folder / ORIGIN).is_file():
                yield folder, (folder / ORIGIN).read_text(encoding="utf-8")
