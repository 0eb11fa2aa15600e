"""The smallest rectangle around points, at any angle."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, pi, sin
from typing import Any


@dataclass(frozen=True)
class Rectangle:
    """A rectangle: its middle, its sides, and the angle of the first side to the x axis."""

    x: float
    y: float
    width: float
    height: float
    angle: float

    def grown(self, by: float) -> Rectangle:
        """Return one whose sides lie further out."""
        return Rectangle(self.x, self.y, self.width + 2 * by, self.height + 2 * by, self.angle)

    def scaled(self, x: float, y: float) -> Rectangle:
        """Return the same in another grid, whose sides are nearly alike in scale."""
        return Rectangle(self.x * x, self.y * y, self.width * x, self.height * y, self.angle)

    def corners(self) -> list[tuple[float, float]]:
        """Return top left, top right, bottom right and bottom left, of text that is upright."""
        along = (cos(self.angle) * self.width / 2, sin(self.angle) * self.width / 2)
        across = (-sin(self.angle) * self.height / 2, cos(self.angle) * self.height / 2)
        signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        return [
            (self.x + a * along[0] + b * across[0], self.y + a * along[1] + b * across[1])
            for a, b in signs
        ]


def around(points: Any) -> Rectangle:
    """Return the rectangle of least area around points.

    One side of it lies on an edge of the convex hull (Freeman and Shapira, 1975). Its width is the
    side that is nearer to the x axis.

    Args:
        points: floats, shape (count, 2).
    """
    import numpy as np

    hull = _hull(points)
    edges = np.roll(hull, -1, axis=0) - hull
    best: Rectangle | None = None
    for angle in {round(atan2(dy, dx), 6) for dx, dy in edges.tolist()}:
        turn = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
        turned = hull @ turn
        low, high = turned.min(0), turned.max(0)
        (width, height), (x, y) = high - low, turn @ ((low + high) / 2)
        if best is None or width * height < best.width * best.height:
            best = Rectangle(float(x), float(y), float(width), float(height), angle)
    assert best is not None  # noqa: S101 - a hull has an edge
    return _level(best)


def _level(given: Rectangle) -> Rectangle:
    """The same rectangle, by the side that is nearer to the x axis."""
    width, height = given.width, given.height
    angle = (given.angle + pi / 2) % pi - pi / 2
    if angle > pi / 4 or angle <= -pi / 4:
        width, height = height, width
        angle += -pi / 2 if angle > 0 else pi / 2
    return Rectangle(given.x, given.y, width, height, angle)


def _hull(points: Any) -> Any:
    """The convex hull (Andrew's monotone chain), shape (corners, 2)."""
    import numpy as np

    ordered = sorted(set(map(tuple, points.tolist())))
    if len(ordered) < 3:
        return np.array(ordered)
    halves = []
    for chain in (ordered, ordered[::-1]):
        kept: list[tuple[float, float]] = []
        for x, y in chain:
            while len(kept) > 1 and _turns(kept[-2], kept[-1], (x, y)) <= 0:
                kept.pop()
            kept.append((x, y))
        halves += kept[:-1]
    return np.array(halves)


def _turns(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
