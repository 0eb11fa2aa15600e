"""Stop strings in streamed text."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter


class StopStrings:
    """Finds the first stop string in streamed text and holds back what may begin one.

    Attributes:
        found: the stop string that ended the text, None so far.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found: str | None = None

    def push(self, text: str) -> str:
        """Return the text that is safe to show; sets ``found`` at a stop string."""
        self._held += text
        places = ((at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0)
        first = min(places, default=None, key=itemgetter(0))
        if first is not None:
            cut, self.found = first
            shown, self._held = self._held[:cut], ""
            return shown
        keep = self._longest_start()
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        return shown

    def flush(self) -> str:
        """Return what was held back, at the end of the text."""
        shown, self._held = self._held, ""
        return shown

    def _longest_start(self) -> int:
        """Length of the longest tail of the held text that a stop string begins with."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0
