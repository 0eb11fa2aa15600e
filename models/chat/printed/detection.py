"""Where the lines of a page are: a network's map of text, and the rectangles around its regions.

As PaddleOCR makes them (differentiable binarization, arXiv:1911.08947): regions above a threshold,
a rectangle around each, grown by its area over its perimeter.
"""

from __future__ import annotations

from typing import Any

from models.chat.printed.components import components
from models.chat.printed.rectangles import Rectangle, around

_SHORT_SIDE, _LONG_SIDE, _GRID = 736, 2000, 32
_THRESHOLD, _LEAST_SCORE, _GROWTH = 0.3, 0.5, 1.6
_LEAST_SIDE = 3  # of a region, in pixels of the map
_MOST_LINES = 1000


def lines(session: Any, page: Any) -> list[Rectangle]:
    """Return where the lines of a page are, in its pixels, in the order of reading.

    Args:
        session: of onnxruntime.
        page: Pillow's, in RGB.
    """
    import numpy as np

    width, height = _size(*page.size)
    pixels = np.asarray(page.resize((width, height)), np.float32)[:, :, ::-1]  # BGR
    given = (pixels / 127.5 - 1).transpose(2, 0, 1)[None]
    [scores] = session.run(None, {session.get_inputs()[0].name: given})
    found = _rectangles(scores[0, 0])
    scale = page.width / width, page.height / height
    return _ordered([box.scaled(*scale) for box in found])


def _size(width: int, height: int) -> tuple[int, int]:
    """The size that the network reads: sides of whole cells."""
    ratio = max(1.0, _SHORT_SIDE / min(width, height))
    ratio = min(ratio, _LONG_SIDE / max(width, height))
    sides = (max(_GRID, round(side * ratio / _GRID) * _GRID) for side in (width, height))
    first, second = sides
    return first, second


def _rectangles(scores: Any) -> list[Rectangle]:
    """The rectangles of a map, shape (height, width)."""
    import numpy as np

    mask = scores > _THRESHOLD
    # Widened by a pixel, so that what is nearly whole becomes whole.
    mask[1:] |= mask[:-1].copy()
    mask[:, 1:] |= mask[:, :-1].copy()
    found = []
    for runs in components(mask)[:_MOST_LINES]:
        ys, starts, ends = runs.T
        points = np.concatenate([np.stack([starts, ys], 1), np.stack([ends - 1, ys], 1)])
        whole = around(points.astype(np.float64))
        if min(whole.width, whole.height) < _LEAST_SIDE:
            continue
        total = sum(float(scores[y, start:end].sum()) for y, start, end in runs.tolist())
        if total / float((ends - starts).sum()) < _LEAST_SCORE:
            continue
        area, length = whole.width * whole.height, 2 * (whole.width + whole.height)
        found.append(whole.grown(area * _GROWTH / length))
    return found


def _ordered(found: list[Rectangle]) -> list[Rectangle]:
    """From the top to the bottom; what stands on one line, from the left to the right."""
    ordered = sorted(found, key=lambda box: box.y)
    rows: list[list[Rectangle]] = []
    for box in ordered:
        if rows and abs(box.y - rows[-1][0].y) < min(box.height, rows[-1][0].height) / 2:
            rows[-1].append(box)
        else:
            rows.append([box])
    return [box for row in rows for box in sorted(row, key=lambda box: box.x)]
