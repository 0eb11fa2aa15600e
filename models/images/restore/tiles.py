"""Processing a large picture in overlapping tiles, and joining them without seams.

Pixels near the edge of a tile are computed without their surroundings. So neighbours overlap: a
margin of each is discarded, and between the margins one tile fades into the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Span = tuple[int, int]
_LOBES = 3  # radius of the Lanczos filter, in pixels of the result


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Cut a length into equal spans of at most ``tile``, each overlapping the last.

    Args:
        length: in pixels, like the other arguments.
        tile: more than twice the overlap.
        overlap: of two neighbours.
    """
    if length <= tile:
        return [(0, length)]
    count = -(-(length - overlap) // (tile - overlap))
    size = -(-(length + (count - 1) * overlap) // count)
    starts = [index * (size - overlap) for index in range(count)]
    return [(start, min(start + size, length)) for start in starts]


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut, in pixels of the picture.

    Attributes:
        tile: the longest side of a tile.
        margin: width at a tile's edge that is discarded.
        fade: width between the margins of two neighbours, where they are mixed.
    """

    tile: int
    margin: int
    fade: int = 16

    @property
    def overlap(self) -> int:
        """How far two neighbours overlap."""
        return 2 * self.margin + self.fade

    def count(self, height: int, width: int) -> int:
        """Return the number of tiles of a picture."""
        down = spans(height, self.tile, self.overlap)
        return len(down) * len(spans(width, self.tile, self.overlap))


def enlarge(picture: Any, scale: int, tiling: Tiling, make: Callable[[Any], Any]) -> Any:
    """Enlarge a picture tile by tile; join the strips of ``strips`` into one array."""
    import numpy as np

    return np.concatenate(list(strips(picture, scale, tiling, make)))


def strips(picture: Any, scale: int, tiling: Tiling, make: Callable[[Any], Any]) -> Iterator[Any]:
    """Enlarge a picture tile by tile, and yield strips from top to bottom.

    Args:
        picture: uint8, shape (h, w, 3).
        scale: factor for each side.
        tiling: how the picture is cut.
        make: enlarges one tile: uint8 (h, w, 3) to float32 (h * scale, w * scale, 3), 0 to 255.

    Yields:
        uint8, shape (rows, w * scale, 3). Besides the picture, only a row of tiles is
        held in memory.
    """
    import numpy as np

    height, width, _ = picture.shape
    tile, overlap = tiling.tile, tiling.overlap
    rows, columns = spans(height, tile, overlap), spans(width, tile, overlap)
    rest: Any = None  # of the last row, where this row overlaps it
    for index, (top, bottom) in enumerate(rows):
        row = _row(picture[top:bottom], scale, tiling, columns, make)
        row *= _weights(rows, index, scale, tiling)[:, None, None]
        if rest is not None:
            row[: len(rest)] += rest
        done = len(row) if index == len(rows) - 1 else len(row) - overlap * scale
        rest = row[done:].copy()
        yield np.rint(row[:done]).clip(0, 255).astype(np.uint8)


class Shrinker:
    """Shrinks a picture that arrives in strips; the result equals Pillow's Lanczos filter.

    Args:
        source: width and height of the picture.
        size: width and height of the result; not larger.
    """

    def __init__(self, source: tuple[int, int], size: tuple[int, int]) -> None:
        import numpy as np

        self._source, self._size = source, size
        self._ratio = source[1] / size[1]
        self._reach = math.ceil(_LOBES * self._ratio) + 1  # rows of the source around a row
        self._result: Any = np.empty((size[1], size[0], 3), np.uint8)
        self._held: Any = np.empty((0, source[0], 3), np.uint8)
        self._first = 0  # first row of the source that is held
        self._done = 0  # finished rows of the result

    def add(self, strip: Any) -> None:
        """Take the next rows; uint8, shape (rows, width, 3)."""
        import numpy as np
        from PIL import Image

        held = strip if not len(self._held) else np.concatenate([self._held, strip])
        end = self._first + len(held)
        last = end == self._source[1]
        ready = self._size[1] if last else int((end - self._reach) / self._ratio)
        if ready > self._done:
            box = (
                0.0,
                self._done * self._ratio - self._first,
                float(self._source[0]),
                min(ready * self._ratio - self._first, float(len(held))),
            )
            made = Image.fromarray(held).resize(
                (self._size[0], ready - self._done), Image.Resampling.LANCZOS, box
            )
            self._result[self._done : ready] = made
            self._done = ready
        kept = max(self._first, int(self._done * self._ratio) - self._reach)
        self._held, self._first = held[kept - self._first :].copy(), kept

    @property
    def picture(self) -> Any:
        """The result, once all strips are added; uint8, shape (height, width, 3)."""
        return self._result


def _row(
    strip: Any, scale: int, tiling: Tiling, columns: list[Span], make: Callable[[Any], Any]
) -> Any:
    """Enlarge one row of tiles; returns shape (h * scale, w * scale, 3)."""
    import numpy as np

    row = np.zeros((strip.shape[0] * scale, columns[-1][1] * scale, 3), np.float32)
    for index, (left, right) in enumerate(columns):
        weights = _weights(columns, index, scale, tiling)[None, :, None]
        row[:, left * scale : right * scale] += make(strip[:, left:right]) * weights
    return row


def _weights(parts: list[Span], index: int, scale: int, tiling: Tiling) -> Any:
    """Return a tile's weights along one side; those of all tiles add up to 1."""
    import numpy as np

    start, end = parts[index]
    weights: Any = np.ones((end - start) * scale, np.float32)
    place = np.arange(tiling.overlap * scale, dtype=np.float32) + 0.5
    ramp = np.clip((place / scale - tiling.margin) / tiling.fade, 0, 1)
    if index > 0:
        weights[: len(ramp)] *= ramp
    if index < len(parts) - 1:
        weights[len(weights) - len(ramp) :] *= 1 - ramp
    return weights
