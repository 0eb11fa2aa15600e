"""HTTP connections to public addresses only.

Addresses are checked where the connection is made: the resolver hands aiohttp only addresses that
were found public, so neither a redirect nor a DNS answer that changes between check and use leads
into a private network. Proxies from the environment are not used, because a proxy resolves names
itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from handler.errors import MediaForbidden, MediaInvalid
from models.networks import is_public, parse_url

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver
    from yarl import URL

_CONNECT_TIMEOUT_S = 10.0
# The threads of look-ups: a name server that does not answer holds one for half a minute, and the
# event loop's own threads have work of other jobs.
_LOOK_UPS = ThreadPoolExecutor(32, "names")


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
        """Lend a session that asks for bodies as they are; leaving it closes its connections."""
        import aiohttp

        resolver = cast("AbstractResolver", _GuardedResolver(self))
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=self.timeout_s, sock_connect=_CONNECT_TIMEOUT_S)
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            trust_env=False,
            # Unbounded, a few kilobytes become gigabytes.
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
        ) as session:
            yield session

    async def lookup(self, host: str, port: int, family: int) -> list[Any]:
        """Resolve a name, as ``socket.getaddrinfo`` answers."""
        look_up = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        return await asyncio.get_running_loop().run_in_executor(_LOOK_UPS, look_up)

    def check_url(self, url: str, param: str) -> URL:
        """Parse a URL of http or https whose host is no private address.

        aiohttp does not resolve hosts that are addresses already, so those are checked here.

        Raises:
            MediaInvalid: not an http or https URL.
            MediaForbidden: a private address.
        """
        from yarl import URL

        try:
            parsed = parse_url(url)
            host = parsed.host  # decodes an international name, which may be none
        except ValueError:
            parsed, host = URL(), None
        if parsed.scheme not in {"http", "https"} or not host:
            raise MediaInvalid(f"{param} must be an http or https URL with a host.", param=param)
        try:
            public = is_public(host)
        except ValueError:
            return parsed  # a name: the resolver checks what it resolves to
        if not public and host not in self.private_hosts:
            raise forbidden(param)
        return parsed


def forbidden(param: str | None = None) -> MediaForbidden:
    """The error for an address that is not public; it names no host."""
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
        found = await self._guard.lookup(host, port, family)
        addresses = [str(info[4][0]) for info in found]
        if host not in self._guard.private_hosts and not all(map(is_public, addresses)):
            raise forbidden()
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
        """Close; nothing is held."""
