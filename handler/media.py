"""The one door for clients' files: URLs, data URIs and base64 become files of the job's own.

Addresses are checked where the connection is made: the resolver hands aiohttp only addresses that
were found public, so neither a redirect nor a DNS answer that changes between check and use leads
into a private network. Proxies from the environment are not used, because a proxy resolves names
itself.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import unquote, unquote_to_bytes, urljoin

from handler.errors import (
    MediaForbidden,
    MediaInvalid,
    MediaRefused,
    MediaTimeout,
    MediaTooLarge,
    MediaUnreachable,
)

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver
    from yarl import URL

_MAX_REDIRECTS = 5
_CHUNK_BYTES = 1 << 20
_CONNECT_TIMEOUT_S = 10.0
_DATA_URI = re.compile(r"data:[^,]*?(?P<base64>;\s*base64\s*)?,", re.IGNORECASE)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Ways to private addresses that Python calls global: carrier-grade NAT (RFC 6598), NAT64 (RFC 6052,
# RFC 8215), IPv4-compatible and IPv4-translated (RFC 2765) addresses, site-local, SRv6 (RFC 9602).
_INNER_NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        (
            *("100.64.0.0/10", "64:ff9b::/96", "64:ff9b:1::/48", "::/96"),
            *("::ffff:0:0:0/96", "fec0::/10", "5f00::/16"),
        ),
    )
)


def is_public(address: str) -> bool:
    """Whether an IP address is one that a client may send us to."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return is_public(str(inner))
    inside = any(ip in network for network in _INNER_NETWORKS if network.version == ip.version)
    return ip.is_global and not ip.is_multicast and not inside


class Guard:
    """Opens HTTP connections to public addresses, and to the private hosts that are named.

    Args:
        private_hosts: host names and addresses that may be reached although they are private.
        timeout_s: how long one transfer may take.
    """

    def __init__(self, private_hosts: frozenset[str], timeout_s: float) -> None:
        self.private_hosts = private_hosts
        self.timeout_s = timeout_s

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Lend a session; leaving it closes its connections."""
        import aiohttp

        resolver = cast("AbstractResolver", _GuardedResolver(self))
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=self.timeout_s, sock_connect=_CONNECT_TIMEOUT_S)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, trust_env=False, auto_decompress=False
        ) as session:
            yield session

    def check_url(self, url: str, param: str) -> URL:
        """Parse a URL of http or https whose host is no private address.

        aiohttp does not resolve hosts that are addresses already, so those are checked here.

        Raises:
            MediaInvalid: not an http or https URL.
            MediaForbidden: a private address.
        """
        from yarl import URL

        try:
            parsed = URL(url)  # as aiohttp reads it: ``http://①②⑦.1/`` is 127.1 to both
        except ValueError:
            parsed = URL()
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise MediaInvalid(f"{param} must be an http or https URL with a host.", param=param)
        try:
            public = is_public(parsed.host)
        except ValueError:
            return parsed  # a name: the resolver checks what it resolves to
        if not public and parsed.host not in self.private_hosts:
            raise _forbidden(param)
        return parsed


def _forbidden(param: str | None = None) -> MediaForbidden:
    return MediaForbidden(
        "The URL leads to an address that is not public. Give a public URL, a data URI or base64, "
        "or have the operator name the host in MEDIA_PRIVATE_HOSTS.",
        param=param,
    )


class _GuardedResolver:
    """aiohttp's resolver protocol: only addresses that may be reached come out."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[dict[str, Any]]:
        """Resolve ``host``; one private address among the answers makes all of them suspect."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        addresses = [str(info[4][0]) for info in found]
        if host not in self._guard.private_hosts and not all(map(is_public, addresses)):
            raise _forbidden()
        return [
            {
                "hostname": host,
                "host": str(info[4][0]),
                "port": port,
                "family": info[0],
                "proto": info[2],
                "flags": socket.AI_NUMERICHOST,
            }
            for info in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


class MediaDoor:
    """Fetches one job's files; a context manager that removes them at the end."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._folder: Path | None = None

    async def __aenter__(self) -> Self:
        """Open the door; the folder is made with the first file."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove every file."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def fetch(self, reference: str, param: str, limit_bytes: int) -> Path:
        """Bring a file here.

        Args:
            reference: an http(s) URL, a data URI, or bare base64.
            param: the request's field, for errors.
            limit_bytes: the largest file taken.

        Raises:
            MediaError: one class for each way that this fails; see ``handler.errors``.
        """
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="quartet-"))
        path = self._folder / f"{len(list(self._folder.iterdir()))}.bin"
        if "://" in reference[:16]:
            await self._download(reference, path, param, limit_bytes)
        else:
            path.write_bytes(_inline(reference, param, limit_bytes))
        return path

    async def _download(self, url: str, path: Path, param: str, limit_bytes: int) -> None:
        import aiohttp

        try:
            async with self._guard.session() as session:
                await self._follow(session, url, path, param, limit_bytes)
        except MediaForbidden:
            raise _forbidden(param) from None
        except TimeoutError as error:
            raise MediaTimeout(
                f"The file behind {param} did not come within {self._guard.timeout_s:g} s.",
                param=param,
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise MediaUnreachable(
                f"The host of {param} cannot be reached, or broke off.", param=param
            ) from error

    async def _follow(
        self,
        session: aiohttp.ClientSession,
        url: str,
        path: Path,
        param: str,
        limit_bytes: int,
    ) -> None:
        for _hop in range(_MAX_REDIRECTS + 1):
            checked = self._guard.check_url(url, param)
            async with session.get(checked, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status in _REDIRECTS and location:
                    url = urljoin(url, location)
                    continue
                if response.status != 200:
                    raise MediaRefused(
                        f"The host of {param} answered with status {response.status}.", param=param
                    )
                await _save(response, path, param, limit_bytes)
                return
        raise MediaRefused(f"{param} redirects more than {_MAX_REDIRECTS} times.", param=param)


async def _save(response: aiohttp.ClientResponse, path: Path, param: str, limit_bytes: int) -> None:
    """Stream the body into the file, never more of it than the limit."""
    announced = response.content_length
    if announced is not None and announced > limit_bytes:
        raise _too_large(param, limit_bytes, announced)
    written = 0
    with path.open("wb") as file:
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            written += len(chunk)
            if written > limit_bytes:
                raise _too_large(param, limit_bytes, written)
            file.write(chunk)


def _too_large(param: str, limit_bytes: int, got_bytes: int) -> MediaTooLarge:
    return MediaTooLarge(
        f"{param} may have {limit_bytes} bytes at most; got {got_bytes} or more.", param=param
    )


def _inline(reference: str, param: str, limit_bytes: int) -> bytes:
    """Decode a data URI (RFC 2397) or bare base64."""
    match = _DATA_URI.match(reference)
    payload = reference[match.end() :] if match else reference
    if len(payload) > 4 * (limit_bytes // 3 + 1) * (1 if not match or match["base64"] else 3):
        raise _too_large(param, limit_bytes, len(payload) * 3 // 4)
    try:
        content = unquote_to_bytes(payload) if match and not match["base64"] else _base64(payload)
    except (binascii.Error, ValueError) as error:
        raise MediaInvalid(
            f"{param} is neither an http(s) URL, nor a data URI, nor base64.", param=param
        ) from error
    if not content:
        raise MediaInvalid(f"{param} holds no data.", param=param)
    if len(content) > limit_bytes:
        raise _too_large(param, limit_bytes, len(content))
    return content


def _base64(text: str) -> bytes:
    """Decode base64 as clients write it: wrapped, percent-encoded, URL-safe, without padding."""
    plain = unquote("".join(text.split())).replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
