"""Place a container's audio frames by its clock.

Frames that follow each other in a file may be apart in time: a recorder leaves out silence, packets
are lost, or sound begins after the picture. Silence is inserted where the container's clock leaves
a gap, so that later times are correct.
"""

from __future__ import annotations

_LEAST_HOLE_S = 0.05  # the shortest gap that is filled; encoders add less at the start
_ROUNDING_S = 0.005  # containers round timestamps: a smaller step between two frames is no gap
_OVERLAP_S = 1.0  # how far sound may be ahead of the clock; beyond, the clock has restarted
_AFTER_END_S = 1.0  # how much later than the container's end the last frame may be


class Timeline:
    """The clock of one container.

    Args:
        origin_s: the container's start time; None = that of the first frame.
        end_s: its end, by the same clock; None = unknown.
    """

    def __init__(self, origin_s: float | None, end_s: float | None) -> None:
        self._origin_s = origin_s
        self._end_s = end_s
        self._at_s = 0.0  # the length of sound and silence so far
        self._expected_s: float | None = None
        self._leapt = False  # whether the clock has leapt, and it is not confirmed yet

    def hole(
        self, time_s: float | None, seconds: float, following_s: float | None, room_s: float
    ) -> tuple[float, float]:
        """Return the length of the silence to insert before a frame, and of a rejected clock leap.

        Args:
            time_s: the start of the frame; None = the container does not state it.
            seconds: the duration of the frame.
            following_s: the start of the next frame; None = unknown.
            room_s: how much silence may be inserted.
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
        # A leap counts only if the next frame confirms it: damaged timestamps jump to and fro.
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
        """Return the length of a gap as filled, or as rejected."""
        after_end = self._end_s is not None and ends_s > self._end_s + _AFTER_END_S
        if not after_end and hole_s <= room_s:
            return hole_s, 0.0
        self._origin_s = (self._origin_s or 0.0) + hole_s
        return 0.0, hole_s

    def lost(self, seconds: float) -> None:
        """Advance the clock by the silence that replaces an unreadable packet."""
        self._pass(None if self._expected_s is None else self._expected_s + seconds, seconds)

    def _pass(self, expected_s: float | None, seconds: float) -> None:
        self._at_s += seconds
        if expected_s is not None:
            self._expected_s = expected_s
        elif self._expected_s is not None:
            self._expected_s += seconds
