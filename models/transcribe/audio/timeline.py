"""Where a container says that its sound belongs.

Frames that follow each other in a file need not do so in time: a recorder leaves out what nobody
said, packets get lost on the way, sound begins after the picture. Silence is put where a
container's clock leaves a hole, so that later times are true.
"""

from __future__ import annotations

_LEAST_HOLE_S = 0.05  # of silence that is put in; what an encoder adds at its start is shorter
_ROUNDING_S = 0.005  # to which containers count: a smaller step between two frames is none
_OVERLAP_S = 1.0  # by which sound may be ahead of the clock; beyond, the clock has begun anew
_AFTER_END_S = 1.0  # that the last frame may be later than the container's end


class Timeline:
    """The clock of one container.

    Args:
        origin_s: the container's first moment; None = that of the first frame.
        end_s: its last moment, by the same clock; None = unknown.
    """

    def __init__(self, origin_s: float | None, end_s: float | None) -> None:
        self._origin_s = origin_s
        self._end_s = end_s
        self._at_s = 0.0  # how much sound and silence there has been
        self._expected_s: float | None = None
        self._leapt = False  # and whether it goes on there is not known yet

    def hole(
        self, time_s: float | None, seconds: float, following_s: float | None, room_s: float
    ) -> tuple[float, float]:
        """Return the seconds of silence before a frame, and of a leap of the clock that is refused.

        Args:
            time_s: when the frame begins; None = the container does not say.
            seconds: how long it is.
            following_s: when the frame after it begins; None = unknown.
            room_s: how much silence there may be.
        """
        if time_s is None:
            self._pass(None, seconds)
            return 0.0, 0.0
        if self._origin_s is None:
            self._origin_s = time_s
        hole_s = time_s - self._origin_s - self._at_s
        ends_s = time_s + seconds
        before_s = self._expected_s
        self._leapt = self._leapt or before_s is None or time_s - before_s > _ROUNDING_S
        # A leap is believed where the clock goes on behind it: damaged times go to and fro.
        filled_s = refused_s = 0.0
        if following_s is None or abs(following_s - ends_s) < _ROUNDING_S:
            if hole_s < -_OVERLAP_S:
                self._origin_s = time_s - self._at_s
            elif hole_s > _LEAST_HOLE_S and self._leapt:
                filled_s, refused_s = self._judged(hole_s, ends_s, room_s)
            self._leapt = False
        self._at_s += filled_s
        self._pass(ends_s, seconds)
        return filled_s, refused_s

    def _judged(self, hole_s: float, ends_s: float, room_s: float) -> tuple[float, float]:
        """Return a hole as one that is filled, or as one that is refused."""
        after_end = self._end_s is not None and ends_s > self._end_s + _AFTER_END_S
        if not after_end and hole_s <= room_s:
            return hole_s, 0.0
        self._origin_s = (self._origin_s or 0.0) + hole_s
        return 0.0, hole_s

    def lost(self, seconds: float) -> None:
        """Count silence that stands for a packet that could not be read."""
        self._pass(None if self._expected_s is None else self._expected_s + seconds, seconds)

    def _pass(self, expected_s: float | None, seconds: float) -> None:
        self._at_s += seconds
        if expected_s is not None:
            self._expected_s = expected_s
        elif self._expected_s is not None:
            self._expected_s += seconds
