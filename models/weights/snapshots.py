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
    wanted = f"models--{source.repo.replace('/', '--')}".lower()
    if not cache.is_dir():
        return None
    for repo in cache.iterdir():
        if repo.name.lower() == wanted:
            for snapshot in _snapshots(repo, source.revision):
                if any(path.is_file() for path in snapshot.rglob("*")):
                    if snapshot.name != source.revision:
                        log.warning(
                            "%s: cached at %s, pinned at %s; using the cached one",
                            source.repo, snapshot.name, source.revision,
                        )  # fmt: skip
                    return snapshot
    return None


def _snapshots(repo: Path, revision: str) -> Iterator[Path]:
    folder = repo / "snapshots"
    yield folder / revision
    main = repo / "refs" / "main"
    if main.is_file():
        yield folder / main.read_text().strip()
    elif folder.is_dir():
        only = [path for path in folder.iterdir() if path.is_dir()]
        if len(only) == 1:
            yield only[0]
