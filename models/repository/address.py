"""What an operator writes to name a model: a repository of the hub, or a folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import RepositoryUnsuited

_REPO = re.compile(r"(hf://)?(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_SLUG = re.compile(r"[^\w.-]+")
FORMS = "owner/name, owner/name@revision, hf://owner/name@revision or file:///folder"


@dataclass(frozen=True)
class Address:
    """A repository of the hub at a revision, or a folder of this machine.

    Attributes:
        given: as the operator wrote it, without the revision.
        repo: of the hub; None for a folder.
        revision: a branch, a tag or a commit; None = the repository's main branch.
        folder: None for a repository.
    """

    given: str
    repo: str | None = None
    revision: str | None = None
    folder: Path | None = None

    @property
    def name(self) -> str:
        """The last part of the name, as a slug."""
        last = self.repo.rpartition("/")[2] if self.repo else (self.folder or Path()).name
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
        return Address(text, folder=_allowed(text, folders))
    match = _REPO.fullmatch(text)
    if match is None or set(match["repo"].split("/")) & {".", ".."}:
        raise RepositoryUnsuited(f"{text!r} is no address of a model: it must be {FORMS}.")
    return Address(match["repo"], match["repo"], match["revision"] or revision)


def _allowed(text: str, folders: Sequence[Path]) -> Path:
    """Return the folder of an address.

    Links are followed before the folder is compared with those that are allowed.
    """
    path = Path(text.removeprefix("file://"))
    if not path.is_absolute() or ".." in path.parts:
        raise RepositoryUnsuited(f"{text}: a folder's address is file:///, an absolute path, no ..")
    if folders and not any(path.resolve().is_relative_to(root.resolve()) for root in folders):
        allowed = ", ".join(map(str, folders))
        raise RepositoryUnsuited(f"{text} is outside of MODEL_FOLDERS ({allowed}).")
    return path
