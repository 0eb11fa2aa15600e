"""A checkpoint that is a single safetensors file: found, and its header read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from models.errors import RepositoryUnsuited
from models.repository import copies, fetched, hub
from models.repository.address import Address
from models.weights import remote
from models.weights.header import Header, parse_header, read_header
from models.weights.places import Places
from models.weights.sources import FileSource, HubSource, RemoteSource, parse


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in one file.

    Attributes:
        weights: its address, pinned.
        where: in words.
        name: of the file, in the folder where it is put together with the parts that it lacks.
        header: its tensors.
        together: that folder, if it is on this machine; ``weights`` is then the folder's address.
        licence: as the hub has it; None if it says none, or was not asked.
        gated: whether the hub asks for an accepted licence.
    """

    weights: str
    where: str
    name: str
    header: Header
    together: Path | None = None
    licence: str | None = None
    gated: bool = False


def find(address: Address, places: Places) -> Checkpoint:
    """Return the checkpoint that an address names.

    Raises:
        RepositoryUnsuited: there is no such file.
        WeightsGated: a token or an accepted licence is missing.
        WeightsUnavailable: it cannot be read.
    """
    if address.folder is not None:
        return _local(address.folder, address.given, places)
    if address.remote is not None:
        return _afar(address.remote, places)
    return _of_the_hub(address, places)


def _local(path: Path, weights: str, places: Places) -> Checkpoint:
    if not path.is_file():
        raise RepositoryUnsuited(f"{weights} is no file of this machine; mount it.")
    own = Checkpoint(weights, "a file of this machine", path.name, read_header(path))
    stem = FileSource(str(path)).stem
    return _together(own, stem, places, lambda source: True) or own


def _afar(source: RemoteSource, places: Places) -> Checkpoint:
    name = str(source.file)

    def fits(other: object) -> bool:
        pins = (source.version, source.sha256)
        theirs = isinstance(other, RemoteSource) and (other.version, other.sha256)
        return not any(pins) or theirs == pins

    if made := _together(None, source.stem, places, fits, name):
        return made
    there = remote.look(source, places)
    header = parse_header(
        name, there.entries[name].size_bytes, lambda start, end: there.read(name, start, end)
    )
    pin = f"sha256={source.sha256}" if source.sha256 else f"version={there.version}"
    return Checkpoint(f"{source.url}#file={quote(name)}&{pin}", _place(source), name, header)


def _place(source: RemoteSource) -> str:
    return "a bucket" if source.url.startswith("s3://") else "a web server"


def _of_the_hub(address: Address, places: Places) -> Checkpoint:
    name, repo = str(address.file), str(address.repo)
    stem = HubSource(repo, address.revision or "").stem
    if made := _together(None, stem, places, lambda source: True, name):
        return made
    for folder, version in copies.here(address, places):
        if (folder / name).is_file():
            weights = f"hf://{repo}@{version}#{name}"
            return Checkpoint(weights, places.kind(folder), name, read_header(folder / name))
    found = hub.look(repo, address.revision, places.token, places.endpoint)
    if name not in found.sizes:
        files = [file for file in found.sizes if file.endswith(".safetensors")]
        raise RepositoryUnsuited(
            f"{repo} has no file {name}; its safetensors: {', '.join(files[:10]) or 'none'}."
        )
    header = parse_header(
        name, found.sizes[name], lambda start, end: found.read_part(name, start, end)
    )
    weights = f"hf://{repo}@{found.commit}#{name}"
    return Checkpoint(weights, "the hub", name, header, licence=found.licence, gated=found.gated)


def _together(
    own: Checkpoint | None,
    stem: str,
    places: Places,
    fits: Callable[[object], bool],
    name: str = "",
) -> Checkpoint | None:
    """Return the checkpoint of a folder that has it and its parts; None if there is none."""
    for folder, weights in fetched.origins(stem, places):
        file = folder / (own.name if own else name)
        if file.is_file() and fits(parse(weights)):
            if own is not None:
                return replace(own, weights=weights, together=folder)
            where = f"{places.kind(folder)}: {folder}"
            return Checkpoint(weights, where, name, read_header(file), folder)
    return None
