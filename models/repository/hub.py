"""A repository at the hub: its files' sizes, its licence, and its small files' content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from models.errors import RepositoryUnsuited, WeightsGated, WeightsUnavailable

_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Found:
    """A repository at a commit; the attributes are those of ``copies.Copy``.

    Attributes:
        read_part: returns the bytes of a file from a start to an end.
    """

    commit: str
    sizes: Mapping[str, int]
    read: Callable[[str], str]
    licence: str | None
    gated: bool
    read_part: Callable[[str, int, int], bytes]


def look(repo: str, revision: str | None, token: str | None, endpoint: str | None) -> Found:
    """Ask the hub for a repository; one request, and one for each file that is read.

    Raises:
        RepositoryUnsuited: it has no such repository or revision.
        WeightsGated: reading it takes a token, or a licence accepted by the token's owner.
        WeightsUnavailable: it cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=token or False)

    def ask() -> Any:
        return api.model_info(repo, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)

    info = _asked(ask, repo, revision)
    sizes = {sibling.rfilename: int(sibling.size or 0) for sibling in info.siblings or ()}
    licences = [tag.removeprefix("license:") for tag in info.tags or () if "license:" in tag]

    def read(name: str) -> str:
        return bytes(_asked(lambda: get(name), repo, revision)).decode("utf-8")

    def read_part(name: str, start: int, end: int) -> bytes:
        return bytes(_asked(lambda: get(name, f"bytes={start}-{end - 1}"), repo, revision))

    def get(name: str, part: str = "") -> bytes:
        return _content(repo, info.sha, name, part, token, endpoint)

    gated, licence = bool(info.gated), next(iter(licences), None)
    return Found(info.sha, sizes, read, licence, gated, read_part)


def _content(
    repo: str, commit: str, name: str, part: str, token: str | None, endpoint: str | None
) -> bytes:
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    url = hf_hub_url(repo, name, revision=commit, endpoint=endpoint)
    headers = build_hf_headers(token=token or False) | ({"Range": part} if part else {})
    how: dict[str, Any] = {"headers": headers, "timeout": _TIMEOUT_S, "follow_redirects": True}
    with get_session().stream("GET", url, **how) as answer:
        if answer.is_error:
            answer.read()  # the hub says why in the body
        hf_raise_for_status(answer)
        if part and answer.status_code != HTTPStatus.PARTIAL_CONTENT:
            raise OSError("the whole file was sent")
        return bytes(answer.read())


def _asked(ask: Callable[[], Any], repo: str, revision: str | None) -> Any:
    """Give the hub's errors a name, and say what to do."""
    from huggingface_hub import errors

    try:
        return ask()
    except errors.GatedRepoError:
        raise WeightsGated(
            f"{repo} is gated: set HF_TOKEN to a token of an account that has accepted the licence "
            f"on the page of {repo}."
        ) from None
    except errors.RevisionNotFoundError:
        raise RepositoryUnsuited(
            f"{repo} has no revision {revision}; name a branch, a tag or a commit that it has."
        ) from None
    except errors.RepositoryNotFoundError:
        raise RepositoryUnsuited(
            f"The hub has no repository {repo}, or not for this token; see the spelling, and set "
            "HF_TOKEN if it is private."
        ) from None
    except (errors.HTTPError, errors.EntryNotFoundError, OSError, ValueError) as error:
        raise WeightsUnavailable(
            f"{repo} is not on this machine and the hub cannot be reached "
            f"({type(error).__name__}); bake it into the image, attach a volume that has it, or "
            "let this machine reach the hub (HF_ENDPOINT names a mirror)."
        ) from None
