"""Which addresses the operator allows a request to name, by patterns.

A pattern is an address with ``*`` for anything, and allows addresses of its own scheme alone:

    owner/name, owner/*, */*            repositories of the Hugging Face Hub
    https://host/folder/*               the host and the port exactly, or with ``*``
    file:///folder/*                    files of this machine

Addresses are compared as they are requested: with dot segments resolved, and without what could
climb out of a folder at the other end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote

from models.networks import parse_url

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Allowed:
    """A list of patterns; an empty one allows nothing."""

    patterns: Sequence[str]

    def __bool__(self) -> bool:
        """Whether anything is allowed."""
        return bool(self.patterns)

    def __contains__(self, address: str) -> bool:
        """Whether an address matches one of the patterns."""
        scheme, rest = _split(address)
        if scheme in _PORTS:
            return self._allows_url(address)
        if _climbs(rest):
            return False
        same = (pattern for pattern in self.patterns if _split(pattern)[0] == scheme)
        return any(fnmatchcase(rest, _split(pattern)[1]) for pattern in same)

    def _allows_url(self, address: str) -> bool:
        try:
            url = parse_url(address)
            host = url.host  # decodes an international name, which may be none
        except ValueError:
            return False
        if host is None or url.user is not None or _climbs(url.raw_path):
            return False
        place = f"{host}:{url.port}"
        return any(
            _split(pattern)[0] == url.scheme
            and fnmatchcase(place, _place(pattern))
            and fnmatchcase(url.raw_path_qs, _path(pattern))
            for pattern in self.patterns
        )


def _split(address: str) -> tuple[str, str]:
    """Return an address's scheme, empty for the hub's, and the rest of it."""
    scheme, separator, rest = address.partition("://")
    return (scheme.lower(), rest) if separator else ("", address)


def _place(pattern: str) -> str:
    """Return the host and the port of a URL's pattern."""
    scheme, rest = _split(pattern)
    host = rest.partition("/")[0].lower()
    has_port = re.search(r":[\d*]+$", host)
    return host if has_port else f"{host}:{_PORTS[scheme]}"


def _path(pattern: str) -> str:
    _, slash, path = _split(pattern)[1].partition("/")
    return slash + path


def _climbs(path: str) -> bool:
    """Whether a path may mean another once it is decoded: ``..%2f``, ``..;``, a NUL."""
    plain = unquote(unquote(path))
    steps = (step.partition(";")[0] for step in re.split(r"[/\\]", plain))
    return "\0" in plain or ".." in steps
