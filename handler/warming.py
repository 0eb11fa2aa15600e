"""Compile ahead of the first start: ``python -m handler --warm``, or ``python -m builder warm``.

Each model that the environment's variables name is loaded and rehearsed as at a start, so that what
vLLM, torch's compiler, Triton and the driver compile lies on the volume before a worker needs it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

from handler.entry import Worker
from handler.job import Origin
from handler.settings.variables import Settings
from models.device import hardware
from models.row import Row
from models.weights.store import WeightsStore

log = logging.getLogger(__name__)

_MB = 10**6


async def warmed(worker: Worker, settings: Settings) -> AsyncIterator[str]:
    """Warm the model of each surface that is served, one after the other; yield a line for each.

    Raises:
        QuartetError: a model cannot be loaded, or its rehearsal fails.
    """
    if settings.device != "cpu" and hardware.detect(settings.device).kind == "cpu":
        log.warning("no GPU is visible here: what a GPU needs is compiled at a start that sees it")
    store = WeightsStore(settings.places())
    for surface in worker.endpoint.surfaces:
        alone = _alone(worker, surface)
        row = alone.expected
        if row is None:
            continue
        alone.prefetch()
        folder = compiled_folder(row)
        start, before = time.monotonic(), files(folder)
        await alone.warm(strict=True)
        took = f"{row.slug}: warm after {time.monotonic() - start:.1f} s"
        place = store.locate(row)
        weights = "" if place is None else f"; weights {store.places.kind(place)}: {place}"
        yield f"{took}{weights}; {kept(folder, before, files(folder))}"


def _alone(worker: Worker, surface: str) -> Worker:
    """The worker as one of this surface only, which rehearses."""
    endpoint = worker.endpoint.seen_at(Origin(surface))
    return replace(worker, reception=replace(worker.reception, endpoint=endpoint), rehearses=True)


def compiled_folder(row: Row) -> Path | None:
    """Where what is compiled for a model is kept; None where nothing is compiled."""
    folder: Path | None = row.options.get("compiled") or row.options.get("kernels")
    return folder


def files(folder: Path | None) -> Mapping[Path, int]:
    """The size of each file in a folder, in bytes."""
    if folder is None:
        return {}
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def kept(folder: Path | None, before: Mapping[Path, int], now: Mapping[Path, int]) -> str:
    """What was added to a folder, in words."""
    if folder is None:
        return "nothing is compiled for it on this device"
    added = {file: size for file, size in now.items() if file not in before}
    if added:
        return f"compiled: {_amount(added)} into {folder}"
    return f"compiled: nothing new, {_amount(now)} in {folder}"


def _amount(sizes: Mapping[Path, int]) -> str:
    count = f"{len(sizes)} file" + ("" if len(sizes) == 1 else "s")
    return f"{count} of {sum(sizes.values()) / _MB:.1f} MB"
