"""The formats of strings that are enforced.

For dates and times, llguidance's own definitions allow invalid days and times; those here do not.
For the other formats, its definitions are exact.
"""

from __future__ import annotations

_YEAR = r"[1-9][0-9]{3}"
_LEAP = r"(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
_DAY = (
    rf"(?:{_LEAP}-02-29|{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8])))"
)
_CLOCK = (
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)

PATTERNS = {
    "date": f"^{_DAY}$",
    "time": f"^{_CLOCK}$",
    "date-time": f"^{_DAY}T{_CLOCK}$",
}
HELD = frozenset({
    *PATTERNS, "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid",
})  # fmt: skip
