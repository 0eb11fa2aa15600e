"""Findings of the checks, and how they are printed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True)
class Finding:
    """A line of a check.

    Attributes:
        level: ``ok``, ``warning`` or ``error``.
        subject: what was looked at.
        found: what there is.
        do: what to do about it, None where nothing is to be done.
        fatal: whether no job can be answered on this machine.
    """

    level: str
    subject: str
    found: str
    do: str | None = None
    fatal: bool = False

    def __str__(self) -> str:
        """Return the line as it is printed."""
        line = f"{self.level:8}{self.subject:10}{self.found}"
        return line if self.do is None else f"{line} -> {self.do}"


def printed(found: list[Finding], *, as_json: bool) -> str:
    """The lines, or one JSON object: ``{"ok": bool, "findings": [{"level", …}]}``."""
    if as_json:
        return json.dumps({"ok": passes(found), "findings": [asdict(finding) for finding in found]})
    return "\n".join(map(str, found))


def passes(found: list[Finding]) -> bool:
    """Whether the endpoint can start."""
    return all(finding.level != ERROR for finding in found)
