"""The stream of a job, as a client reads it that follows docs/jobs.md."""

from __future__ import annotations

from typing import Any


class Reading:
    """What a client knows of a stream after the events that it has read.

    Attributes:
        text: of the choices, since the stream began anew the last time.
        last: the number of the last event; -1 = none yet.
        whole: whether no event is missing since the stream began anew.
        broken: what must not happen.
    """

    def __init__(self) -> None:
        self.broken: list[str] = []
        self._over: set[str] = set()  # runs that another one has followed
        self._run: str | None = None
        self._begin()

    def read(self, event: dict[str, Any], *, lost: bool) -> None:
        """Read an event.

        Args:
            event: as ``/stream`` gives it.
            lost: whether events may have been lost on their way to the client: also the mark of a
                stream that begins anew.
        """
        if event.get("type") == "stream.restarted" or (lost and self._is_of_another_run(event)):
            self._begin()
        number = event.get("sequence")
        if "id" in event and not self._follows(event["id"]):
            self.broken.append(f"event {number} is of another run than event {self.last}")
        if event.get("type") == "stream.incomplete":
            self.whole = False
        if number is None:
            return
        if number <= self.last:
            self.broken.append(f"event {number} came again after {self.last}")
        self.whole = self.whole and number == self.last + 1
        self.last = number
        for choice in event.get("choices", []):
            self.text += (choice.get("delta") or {}).get("content") or ""

    def _follows(self, run: str) -> bool:
        """Note the run of an event; return whether it may follow the events before."""
        follows = run not in self._over and self._run in (None, run)
        # A platform that comes back hands out the events of the same run again, after a mark.
        if self._before not in (None, run):
            self._over.add(str(self._before))
        self._run, self._before = run, None
        return follows

    def _is_of_another_run(self, event: dict[str, Any]) -> bool:
        another = self._run is not None and event.get("id", self._run) != self._run
        return another or event.get("sequence") == 0

    def _begin(self) -> None:
        self._before, self._run = self._run, None
        self.whole, self.text, self.last = True, "", -1
