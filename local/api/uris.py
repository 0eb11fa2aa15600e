"""URIs as the gateway's schema requires them: strictly by RFC 3986."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

_PLAIN = r"-\w.~!$&'()*+,;=:@"  # the characters of a path segment, besides escapes


def _some(more: str = "") -> str:
    """Return a pattern for any number of characters; possessive, to read a data URI only once."""
    return rf"(?:[{_PLAIN}{more}]++|%[0-9a-f]{{2}})*+"


_HOST = rf"(?:[{_PLAIN.replace(':@', '')}]++|%[0-9a-f]{{2}})*+"
_USER = rf"(?:(?:[{_PLAIN.replace('@', '')}]++|%[0-9a-f]{{2}})*+@)?"
_URI = re.compile(
    rf"[a-z][a-z0-9+.-]*:"
    rf"(?://{_USER}(?:\[(?P<literal>[^\]]+)\]|{_HOST})(?::\d*)?(?:/{_some('/')})?|(?!//){_some('/')})"
    rf"(?:\?{_some('/?')})?(?:\#{_some('/?')})?",
    re.IGNORECASE | re.ASCII,
)
_IP_FUTURE = re.compile(r"v[0-9a-f]+\.[-\w.~!$&'()*+,;=:]+", re.IGNORECASE | re.ASCII)


def is_uri(text: str) -> bool:
    """Whether a text is an absolute URI, with all other characters escaped as RFC 3986 requires."""
    match = _URI.fullmatch(text)
    if match is None:
        return False
    literal = match["literal"]
    return literal is None or _IP_FUTURE.fullmatch(literal) is not None or _is_ipv6(literal)


def _is_ipv6(literal: str) -> bool:
    try:
        return IPv6Address(literal).scope_id is None
    except AddressValueError:
        return False
