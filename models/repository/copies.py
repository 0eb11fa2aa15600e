"""Where a repository's files can be read: a copy on this machine, or the hub.

A copy on this machine is preferred: it is what the image, the volume or the operator's cache was
filled with. Of the hub, the small files are read without being stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import RepositoryUnsuited
from models.repository import fetched, hub
from models.repository.address import Address
from models.weights import remote
from models.weights.places import Places
from models.weights.snapshots import commit_of, has_files, repository_folders
from models.weights.sources import RemoteSource, parse

_MARKS = ("config.json", "model_index.json", "adapter_config.json", "model.bin")
_MOST_BYTES = 50_000_000  # of a file that is read whole
# The name of a fetched copy, behind the repository's: a commit, and what was made of it.
_COMMIT = re.compile(r"(?P<commit>[0-9a-f]{40})(--(?P<convert>whisper-ct2))?")


@dataclass(frozen=True)
class Copy:
    """The files of a repository or folder.

    Attributes:
        weights: its address, pinned.
        where: in words.
        sizes: in bytes, by path.
        read: returns a file's text.
        folder: on this machine; None for a copy at the hub.
        licence: as the hub has it; None if it says none, or was not asked.
        gated: whether the hub asks for an accepted licence.
    """

    weights: str
    where: str
    sizes: Mapping[str, int]
    read: Callable[[str], str]
    folder: Path | None = None
    licence: str | None = None
    gated: bool = False

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return name in self.sizes

    def text(self, name: str) -> str:
        """Return a file's text, empty if there is none.

        Raises:
            RepositoryUnsuited: it is too large, or no text.
        """
        if not self.has(name):
            return ""
        if self.sizes[name] > _MOST_BYTES:
            raise RepositoryUnsuited(
                f"{name} has {self.sizes[name]} bytes; that is no description."
            )
        try:
            return self.read(name)
        except UnicodeDecodeError:
            raise RepositoryUnsuited(f"{name} is no text in UTF-8.") from None

    def json(self, name: str) -> dict[str, Any]:
        """Return the object in a file; empty if there is no such file.

        Raises:
            RepositoryUnsuited: it holds something else.
        """
        content = self.value(name)
        if not isinstance(content, dict):
            raise RepositoryUnsuited(f"{name} holds no JSON object.")
        return content

    def value(self, name: str) -> Any:
        """Return what a file holds as JSON; an empty object if there is no such file."""
        try:
            return json.loads(self.text(name) or "{}")
        except (ValueError, RecursionError):
            raise RepositoryUnsuited(f"{name} is no JSON.") from None


def find(address: Address, places: Places) -> Copy:
    """Return a copy of what an address names; a revision is resolved to its commit.

    Raises:
        RepositoryUnsuited: there is no such folder or repository, or it has no such revision.
        WeightsGated: a token or an accepted licence is missing.
        WeightsUnavailable: no copy is here, and the hub cannot be reached.
    """
    if address.folder is not None:
        if not address.folder.is_dir():
            raise RepositoryUnsuited(f"{address.given} is no folder of this machine; mount it.")
        return in_folder(address.folder, address.given, "a folder of this machine")
    if address.remote is not None:
        return _afar(address.remote, places)
    for folder, version in here(address, places):
        where = f"{places.kind(folder)}: {folder}"
        return in_folder(folder, f"hf://{address.repo}@{version}", where)
    return _at_hub(address, places)


def _afar(source: RemoteSource, places: Places) -> Copy:
    """Return a copy that is here already, or what is there."""
    for folder, weights in fetched.origins(source.stem, places):
        made_of = parse(weights)
        fits = isinstance(made_of, RemoteSource) and made_of.version == source.version
        if source.version is None or fits:
            return in_folder(folder, weights, f"{places.kind(folder)}: {folder}")
    there = remote.look(source, places)
    sizes = {name: entry.size_bytes for name, entry in there.entries.items()}
    where = "a bucket" if source.url.startswith("s3://") else "a web server"
    weights = f"{source.url}#version={there.version}"
    return Copy(weights, where, sizes, lambda name: there.read(name).decode("utf-8"))


def _at_hub(address: Address, places: Places) -> Copy:
    repository = hub.look(str(address.repo), address.revision, places.token, places.endpoint)
    return Copy(
        f"hf://{address.repo}@{repository.commit}",
        "the hub",
        repository.sizes,
        repository.read,
        licence=repository.licence,
        gated=repository.gated,
    )


def in_folder(folder: Path, weights: str, where: str) -> Copy:
    """Return what a folder of this machine holds."""
    # A folder that is no repository may be any, the root of the disk too.
    whole = any((folder / name).is_file() for name in _MARKS)
    sizes = {
        str(file.relative_to(folder)): file.stat().st_size
        for file in sorted(folder.rglob("*") if whole else folder.iterdir())
        if file.is_file() and ".cache" not in file.relative_to(folder).parts
    }
    return Copy(weights, where, sizes, lambda name: (folder / name).read_text("utf-8"), folder)


def here(address: Address, places: Places) -> Iterator[tuple[Path, str]]:
    """Yield the copies on this machine, each with its commit, and its conversion if it has one."""
    wanted = address.revision
    for folder, version in (*_fetched(address, places), *_cached(address, places)):
        commit = version.partition("?")[0]
        if wanted is None or commit == wanted or commit_of(folder.parent.parent, wanted) == commit:
            yield folder, version


def _fetched(address: Address, places: Places) -> Iterator[tuple[Path, str]]:
    """Yield the copies that the builder or the worker has fetched, the newest first."""
    prefix = f"hf--{address.repo}--".replace("/", "--").lower()
    for root in (places.baked, places.volume, places.cache):
        copies = [] if root is None or not root.is_dir() else list(root.glob(f"{prefix}*"))
        for folder in sorted(copies, key=lambda folder: folder.stat().st_mtime, reverse=True):
            if match := _COMMIT.fullmatch(folder.name.removeprefix(prefix)):
                convert = f"?convert={match['convert']}" if match["convert"] else ""
                yield folder, match["commit"] + convert


def _cached(address: Address, places: Places) -> Iterator[tuple[Path, str]]:
    """Yield the snapshots in the hub's own caches: of the main branch first."""
    for cache in places.hub_caches:
        for repo in repository_folders(cache, str(address.repo)):
            main = commit_of(repo)
            snapshots = list((repo / "snapshots").glob("*"))
            for snapshot in sorted(snapshots, key=lambda snapshot: snapshot.name != main):
                unclear = address.revision is None and snapshot.name != main and len(snapshots) > 1
                if not unclear and has_files(snapshot):
                    yield snapshot, snapshot.name
