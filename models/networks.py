"""Which IP addresses are public, and what is a URL."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yarl import URL

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
    """Whether an IP address is one that an address from outside may lead to."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return is_public(str(inner))
    inside = any(ip in network for network in _INNER_NETWORKS if network.version == ip.version)
    return ip.is_global and not ip.is_multicast and not inside


def parse_url(text: str) -> URL:
    """Parse a URL as aiohttp reads it: ``http://①②⑦.1/`` is 127.1 to both.

    Raises:
        ValueError: it is none.
    """
    from yarl import URL

    try:
        return URL(text)
    except IndexError as error:  # yarl, of ``http://[]@/``
        raise ValueError("a URL without a host") from error
