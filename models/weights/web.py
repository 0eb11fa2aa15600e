"""Read parts of files over HTTP, from an address that the operator names.

The host of that address may be private: it is trusted by being named. What it redirects to must be
at public addresses, which are checked where the connection is made. Proxies from the environment
are not used, because a proxy resolves names itself.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from models.errors import WeightsUnavailable
from models.networks import is_public

_TIMEOUT_S = 60.0  # of a connection, and of each read
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MISSING = frozenset({403, 404, 410, 416})  # a host may hide by 403 what it has not
# Characters that stay as they are: those that delimit, and percent signs of what is quoted already.
_KEPT = "/%:@!$&'()*+,;=~-._?"


@dataclass(frozen=True)
class Entry:
    """A file of a host: its size, and a tag that changes with its content, empty if it has none."""

    size_bytes: int
    tag: str


class Busy(OSError):
    """The host fails or asks to wait; a later try may succeed."""


@contextmanager
def get(
    url: str,
    headers: Mapping[str, str],
    start: int = 0,
    end: int | None = None,
    *,
    moves: bool = True,
) -> Iterator[http.client.HTTPResponse]:
    """Lend an answer of status 200 or 206 whose body is not read yet.

    Args:
        url: of http or https.
        headers: of the request.
        start: the first byte to ask for; a host may send the whole file instead, with status 200.
        end: the byte behind the last one; None = to the end.
        moves: whether redirects are followed; headers are sent to the first host alone.

    Raises:
        WeightsUnavailable: the host refuses, or redirects to where nothing may be fetched.
        OSError, http.client.HTTPException: it cannot be reached, or fails; a later try may succeed.
    """
    trusted = urlsplit(url).hostname or ""
    sent = {"Accept-Encoding": "identity", "User-Agent": "quartet", **headers}
    if start or end is not None:
        sent["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
    for _hop in range(_MOST_REDIRECTS + 1):
        parts = urlsplit(url)
        if parts.hostname != trusted:
            sent.pop("Authorization", None)
        connection = _connected(parts, trusted)
        answer = None
        try:
            path = quote(parts.path or "/", _KEPT)
            target = f"{path}?{quote(parts.query, _KEPT)}" if parts.query else path
            connection.request("GET", target, headers=sent)
            answer = connection.getresponse()
            location = answer.headers.get("Location")
            if answer.status in _REDIRECTS and location and moves:
                url = _next(url, location)
                continue
            _check(answer, parts, start)
            yield answer
            return
        finally:
            if answer is not None:
                answer.close()  # it may have taken the socket over
            connection.close()
    raise WeightsUnavailable(f"{_host(url)} redirects more than {_MOST_REDIRECTS} times.")


def _next(url: str, location: str) -> str:
    """Return the address of a redirect.

    Raises:
        WeightsUnavailable: it leaves https.
    """
    following = urljoin(url, location)
    if urlsplit(following).scheme != urlsplit(url).scheme:
        raise WeightsUnavailable(f"{_host(url)} redirects to another protocol than its own.")
    return following


def _check(answer: http.client.HTTPResponse, url: SplitResult, start: int) -> None:
    host, status = url.hostname, answer.status
    if status >= 500 or status in (408, 425, 429):
        raise Busy(f"{host} answers with status {status}")
    if status not in (200, 206):
        why = {401: "needs credentials", 403: "forbids it", 404: "has no such file"}
        why |= {410: "has it no more", 412: "has changed it", 416: "has an empty or shorter file"}
        refusal = WeightsUnavailable(f"{host} {why.get(status, 'refuses')} (status {status}).")
        refusal.is_missing = status in _MISSING
        raise refusal
    part = answer.headers.get("Content-Range", "")
    if status == 206 and not part.startswith(f"bytes {start}-"):
        raise WeightsUnavailable(f"{host} sends another part of the file than it was asked for.")
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise WeightsUnavailable(f"{host} sends the file compressed, and was asked not to.")


def _connected(url: SplitResult, trusted: str) -> http.client.HTTPConnection:
    """Return a connection to a host, at a public address unless it is the trusted one.

    Raises:
        WeightsUnavailable: the host is at a private address.
        OSError: it cannot be reached.
    """
    host, secure = url.hostname or "", url.scheme == "https"
    port = url.port or (443 if secure else 80)
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if host != trusted and not all(is_public(str(address[4][0])) for address in addresses):
        raise WeightsUnavailable(f"{trusted} redirects to an address that is not public.")
    plain = _reached(addresses)
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, port, timeout=_TIMEOUT_S)
    try:
        context = ssl.create_default_context()
        connection.sock = context.wrap_socket(plain, server_hostname=host) if secure else plain
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise WeightsUnavailable(f"{host}: {error.verify_message}.") from None
    except OSError:
        plain.close()
        raise
    return connection


def _reached(addresses: list[Any]) -> socket.socket:
    """Return a socket that is connected to the first address that answers."""
    failed: OSError = ConnectionError("it has no address")
    for _, _, _, _, place in addresses:
        try:
            return socket.create_connection(place[:2], timeout=_TIMEOUT_S)
        except OSError as error:
            failed = error
    raise failed


def _host(url: str) -> str:
    return urlsplit(url).hostname or "The host"
