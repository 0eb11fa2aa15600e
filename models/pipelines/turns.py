"""Two runs on the same parts: a shorter one goes first, between two steps of a longer one."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition


class Turns:
    """Hands a model's parts from one run to the next.

    No two runs compute at once: their activations would need the memory of both. A run that lets a
    shorter one go first has its next step directly after it.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._holder: Turn | None = None
        self._paused: list[Turn] = []
        self._waiting: list[Turn] = []

    @contextmanager
    def take(self, size: float, state: Hashable = None, *, alone: bool = False) -> Iterator[Turn]:
        """Wait until the parts are free, and hold them in the block.

        Args:
            size: of the run's work.
            state: what the run has set on the parts, such as adapters. Only runs of the same state
                go between each other's steps.
            alone: whether it goes between nobody's steps, and nobody between its own.
        """
        turn = Turn(self, size, state, alone)
        with self._changed:
            self._waiting.append(turn)
            if self._holder is None:
                self._hand_over(turn)
            self._changed.wait_for(lambda: self._holder is turn)
        try:
            yield turn
        finally:
            with self._changed:
                self._hand_over(self._next())

    def pause(self, turn: Turn) -> None:
        """Let a shorter run go first, if one waits; returns when the parts are the run's again."""
        with self._changed:
            shorter = next((other for other in self._waiting if other.goes_before(turn)), None)
            if shorter is not None:
                self._paused.append(turn)
                self._hand_over(shorter)
                self._changed.wait_for(lambda: self._holder is turn)

    def _next(self) -> Turn | None:
        if self._paused:
            return self._paused.pop()
        return self._waiting[0] if self._waiting else None

    def _hand_over(self, turn: Turn | None) -> None:
        self._holder = turn
        if turn in self._waiting:
            self._waiting.remove(turn)
        self._changed.notify_all()


@dataclass(frozen=True, eq=False)
class Turn:
    """A run that holds the parts, or waits for them; see ``Turns.take``."""

    turns: Turns
    size: float
    state: Hashable
    alone: bool

    def goes_before(self, other: Turn) -> bool:
        """Whether this run may go between two steps of the other."""
        if self.alone or other.alone:
            return False
        return self.size < other.size and self.state == other.state

    def after_step(self) -> None:
        """Let a shorter run that waits go first."""
        self.turns.pause(self)
