"""What an operator writes to name a model: a repository, a folder, a bucket, a web address."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import RepositoryUnsuited
from models.weights import sources
from models.weights.sources import SINGLE, RemoteSource

_REPO = re.compile(
    r"(hf://)?(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?(#(?P<file>[\w./-]+\.safetensors))?"
)
_SLUG = re.compile(r"[^\w.-]+")
_BUCKET = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,62}(/\S*)?")
FORMS = (
    "owner/name, owner/name@revision, hf://owner/name@revision, file:///folder, "
    "s3://bucket/folder or https://host/folder"
)


@dataclass(frozen=True)
class Address:
    """A repository of the hub at a revision, a folder, or a single file.

    Attributes:
        given: as the operator wrote it, without the revision and without secrets.
        repo: of the hub; None for others.
        revision: a branch, a tag or a commit; None = the repository's main branch.
        folder: of this machine, or a file; None for others.
        remote: a bucket's or a web server's; None for others.
        file: the name of the single file, None for a folder or repository.
    """

    given: str
    repo: str | None = None
    revision: str | None = None
    folder: Path | None = None
    remote: RemoteSource | None = None
    file: str | None = None

    @property
    def name(self) -> str:
        """The last part of the name, as a slug."""
        last = self.file or self.given.rstrip("/")
        last = last.rpartition("/")[2].removesuffix(SINGLE)
        return _SLUG.sub("-", last) or "model"

    def __str__(self) -> str:
        """Return the address with its revision."""
        return f"{self.given}@{self.revision}" if self.revision else self.given


def is_address(text: str) -> bool:
    """Whether a text has one of the forms of an address, as opposed to a slug."""
    return "://" in text or _REPO.fullmatch(text) is not None


def parse(text: str, revision: str | None = None, folders: Sequence[Path] = ()) -> Address:
    """Read an address.

    Args:
        text: of one of the ``FORMS``.
        revision: for an address that has none.
        folders: that a folder has to be in; none = it may be anywhere.

    Raises:
        RepositoryUnsuited: it has none of the forms, or its folder is not allowed.
    """
    if text.startswith("file://"):
        path = _allowed(text, folders)
        return Address(text, folder=path, file=path.name if path.name.endswith(SINGLE) else None)
    if text.startswith(("s3://", "https://")):
        return _remote(text)
    if text.startswith("http://"):
        raise RepositoryUnsuited(f"{sources.shown(text)}: weights are fetched over https only.")
    match = _REPO.fullmatch(text)
    if match is None or set(match["repo"].split("/")) & {".", ".."}:
        raise RepositoryUnsuited(f"{text!r} is no address of a model: it must be {FORMS}.")
    return Address(match["repo"], match["repo"], match["revision"] or revision, file=match["file"])


def _remote(text: str) -> Address:
    """Read the address of a bucket's or a web server's files.

    Raises:
        RepositoryUnsuited: it cannot be one.
    """
    shown = sources.shown(text)
    try:
        source = sources.remote(text)
    except ValueError as error:
        raise RepositoryUnsuited(f"{error}.") from None
    if re.search(r"(^|/)\.{1,2}(/|$)", source.shown.partition("://")[2]):
        raise RepositoryUnsuited(f"{shown}: an address of a model has no .. and no . in it.")
    if text.startswith("s3://") and not _BUCKET.fullmatch(source.url):
        raise RepositoryUnsuited(f"{shown}: a bucket's address is s3://bucket/folder.")
    if source.convert is not None:
        raise RepositoryUnsuited(f"{shown}: #convert is not yours to set; leave it out.")
    if source.file is None and ("?" in source.url or source.sha256):
        raise RepositoryUnsuited(
            f"{shown}: the address of a folder has no query and no #sha256; that of a file ends "
            "with .safetensors, or with #file=NAME.safetensors."
        )
    return Address(source.shown, remote=source, file=source.file)


def _allowed(text: str, folders: Sequence[Path]) -> Path:
    """Return the folder of an address, or its file.

    Links are followed before the folder is compared with those that are allowed.
    """
    path = Path(text.removeprefix("file://"))
    if not path.is_absolute() or ".." in path.parts:
        raise RepositoryUnsuited(f"{text}: a folder's address is file:///, an absolute path, no ..")
    if folders and not any(path.resolve().is_relative_to(root.resolve()) for root in folders):
        allowed = ", ".join(map(str, folders))
        raise RepositoryUnsuited(f"{text} is outside of MODEL_FOLDERS ({allowed}).")
    return path
