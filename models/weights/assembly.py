"""Put weights together in a folder: remote files, a checkpoint, and the parts that it lacks."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from models.errors import WeightsUnavailable
from models.row import Row
from models.weights import convert, download, remote
from models.weights.places import Places
from models.weights.snapshots import find_snapshot
from models.weights.sources import FileSource, HubSource, RemoteSource, shown

log = logging.getLogger(__name__)

ORIGIN = "origin.txt"  # in a folder that is put together: the address that it was made of


def from_afar(row: Row, source: RemoteSource, into: Path, places: Places) -> None:
    """Download a remote file, or the files of a folder that the row needs.

    Raises:
        WeightsUnavailable: it cannot be fetched, has changed, or has another hash.
    """
    there = remote.look(source, places)
    if source.version not in (None, there.version):
        raise WeightsUnavailable(
            f"{source.shown} has changed since it was described; start the worker again."
        )
    wanted = list(there.entries) if source.file else fitting(there.entries, row.files)
    into.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        there.download(name, into)
    if source.sha256 is not None and source.file is not None:
        _check_hash(into / source.file, source.sha256)


def add(row: Row, source: HubSource | FileSource, into: Path, places: Places) -> None:
    """Add the files that the row needs of a repository or folder: as links, if they are here.

    An image gets copies.

    Raises:
        WeightsUnavailable, WeightsGated: they cannot be fetched.
    """
    into.mkdir(parents=True, exist_ok=True)
    only = source.file if isinstance(source, HubSource) else None
    patterns = [only] if only else _without_checkpoint(row)
    for folder in _here(source, places):
        names = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
        chosen = fitting(names, patterns)
        if chosen and set(chosen) >= {each for each in patterns if "*" not in each}:
            for name in chosen:
                link(folder / name, into / name, copied=into.parent == places.baked)
            return
    if isinstance(source, FileSource):
        raise WeightsUnavailable(f"{source.path} lacks parts of {row.slug}, or is not there.")
    download.hub(row, source, into, places.token, places.endpoint)


def converted(
    row: Row,
    name: str,
    into: Path,
    fetch: Callable[[Row, Path], None] | None,
    made_of: Path | None = None,
) -> None:
    """Convert what is here already, or is fetched into a folder of its own first."""
    convert.check(name, row.slug)
    downloaded = into / "downloaded"
    if fetch is not None:
        fetch(replace(row, files=convert.FILES[name]), downloaded)
    log.info("%s: converting once", row.slug)
    made = into / "made"  # a separate folder, because a conversion may clear it
    convert.run(name, made_of or downloaded, made)
    for file in made.iterdir():
        file.rename(into / file.name)
    made.rmdir()
    shutil.rmtree(downloaded, ignore_errors=True)


def link(file: Path, to: Path, *, copied: bool = False) -> None:
    """Make a link to a file, or a copy of it; one that is there already is replaced."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.unlink(missing_ok=True)
    if copied:
        shutil.copyfile(file, to)
    else:
        to.symlink_to(file.resolve())


def note_origin(row: Row, into: Path) -> None:
    """Note which address a folder is made of, without secrets."""
    (into / ORIGIN).write_text(shown(row.weights), encoding="utf-8")


def fitting(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the names that some patterns fit, as the hub understands them; all without any."""
    wanted = list(patterns)
    return [name for name in names if not wanted or any(fnmatch(name, each) for each in wanted)]


def _without_checkpoint(row: Row) -> list[str]:
    """Return the row's patterns, without the file that the others are added to."""
    return [each for each in row.files if each != row.options.get("checkpoint")]


def _here(source: HubSource | FileSource, places: Places) -> Iterator[Path]:
    """Yield the folders on this machine that hold a repository at its revision."""
    if isinstance(source, FileSource):
        yield Path(source.path)
        return
    for cache in places.hub_caches:
        snapshot = find_snapshot(cache, source)
        if snapshot is not None and snapshot.name == source.revision:
            yield snapshot
    for root in (places.baked, places.volume, places.cache):
        if root is not None and (root / source.key).is_dir():
            yield root / source.key


def _check_hash(file: Path, wanted: str) -> None:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != wanted:
        file.unlink()
        raise WeightsUnavailable(
            f"{file.name} has SHA-256 {digest}, not the {wanted} of its address; it is not used."
        )
