"""Find a repository's snapshot in a hub cache."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from models.weights.sources import HubSource

log = logging.getLogger(__name__)


def find_snapshot(cache: Path, source: HubSource) -> Path | None:
    """Find a repository's snapshot in a hub cache.

    Case is ignored: some hosts of RunPod's model cache store the repo id in lower case. The pinned
    revision is preferred. Without it, ``refs/main`` is used, or else the only snapshot, as RunPod
    documents: a cached model that the user chose is better than a download of gigabytes. A snapshot
    without files (symlinks that were not copied) is skipped.
    """
    for folder in repository_folders(cache, source.repo):
        for snapshot in _snapshots(folder, source.revision):
            if has_files(snapshot):
                if snapshot.name != source.revision:
                    log.warning(
                        "%s: cached at %s, pinned at %s; using the cached one",
                        source.repo, snapshot.name, source.revision,
                    )  # fmt: skip
                return snapshot
    return None


def repository_folders(cache: Path, repo: str) -> Iterator[Path]:
    """Yield a repository's folders in a hub cache; case is ignored, so that there may be two."""
    wanted = f"models--{repo.replace('/', '--')}".lower()
    for folder in cache.iterdir() if cache.is_dir() else ():
        if folder.name.lower() == wanted:
            yield folder


def commit_of(folder: Path, ref: str = "main") -> str | None:
    """Return the commit that a branch or tag had when the cache was filled, None if unknown.

    Args:
        folder: of ``repository_folders``.
        ref: its name; one that leads out of the cache is unknown.
    """
    refs = (folder / "refs").resolve()
    file = (refs / ref).resolve()
    if file.is_relative_to(refs) and file.is_file():
        return file.read_text().strip()
    return None


def has_files(snapshot: Path) -> bool:
    """Whether a snapshot has files; symlinks that lead nowhere are none."""
    return any(path.is_file() for path in snapshot.rglob("*"))


def _snapshots(folder: Path, revision: str) -> Iterator[Path]:
    snapshots = folder / "snapshots"
    yield snapshots / revision
    main = commit_of(folder)
    if main is not None:
        yield snapshots / main
    elif snapshots.is_dir():
        only = [path for path in snapshots.iterdir() if path.is_dir()]
        if len(only) == 1:
            yield only[0]
