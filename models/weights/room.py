"""Whether a download fits the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from models.errors import WeightsUnavailable
from models.row import Row
from models.weights.places import size_of
from models.weights.sources import FileSource, HubSource, RemoteSource, Source

RESUMED = (HubSource, RemoteSource)  # downloads that go on where they were interrupted


def check_room(row: Row, source: Source, into: Path) -> None:
    """See that a download fits the disk, before it is begun.

    Raises:
        WeightsUnavailable: it does not; says how much is free.
    """
    partial = into / f".{source.key}.partial"
    begun_bytes = size_of(partial)
    if isinstance(source, FileSource) and source.convert is None:
        begun_bytes = Path(source.path).stat().st_size  # it stays where it is
    elif not isinstance(source, RESUMED):
        return
    free_bytes = shutil.disk_usage(into).free
    if row.weights_bytes - begun_bytes > free_bytes:
        raise WeightsUnavailable(
            f"The weights of {row.slug} take {row.weights_bytes / 1e9:.1f} GB and the disk has "
            f"{free_bytes / 1e9:.1f} GB free; give the endpoint a larger container disk or a "
            "network volume."
        )
