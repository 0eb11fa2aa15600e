"""What a line says: its picture, and the network's letters at each place (CTC)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.chat.printed.rectangles import Rectangle

_HEIGHT = 48
_LEAST_WIDTH, _MOST_WIDTH = 48, 3200
_TOGETHER = 8  # lines in one run
_TURNED = 1.5  # times as high as wide: the line stands
_FLIP_WIDTH = 192
_SURE = 0.9  # that a line is upside down


def cut(page: Any, line: Rectangle) -> Any:
    """Return the picture of a line, level; one that stands is laid on its side."""
    from PIL import Image

    size = max(1, round(line.width)), max(1, round(line.height))
    nw, ne, se, sw = line.corners()
    picture = page.transform(size, Image.Transform.QUAD, (*nw, *sw, *se, *ne), Image.BICUBIC)
    if picture.height >= _TURNED * picture.width:
        return picture.transpose(Image.Transpose.ROTATE_90)
    return picture


def upside_down(session: Any, pictures: Sequence[Any]) -> int:
    """Return how many of some lines are upside down, by their beginnings."""
    count = 0
    for line in pictures:
        # As it is: a long line that is squeezed to this width shows nothing.
        most = max(1, round(line.height * _FLIP_WIDTH / _HEIGHT))
        picture = line.crop((0, 0, min(line.width, most), line.height))
        width = min(_FLIP_WIDTH, max(1, round(picture.width * _HEIGHT / picture.height)))
        [[(_, turned)]] = session.run(
            None, {session.get_inputs()[0].name: _stacked([picture], [width], _FLIP_WIDTH)}
        )
        count += bool(turned > _SURE)
    return count


def read(session: Any, letters: Sequence[str], pictures: Sequence[Any]) -> list[tuple[str, float]]:
    """Return what lines say, and how sure that is.

    Args:
        session: of onnxruntime.
        letters: of the network's outputs; the first is that of no letter.
        pictures: of the lines.
    """
    widths = [
        min(_MOST_WIDTH, max(_LEAST_WIDTH, round(picture.width * _HEIGHT / picture.height)))
        for picture in pictures
    ]
    order = sorted(range(len(pictures)), key=widths.__getitem__)
    said: dict[int, tuple[str, float]] = {}
    for start in range(0, len(order), _TOGETHER):
        places = order[start : start + _TOGETHER]
        given = _stacked([pictures[at] for at in places], [widths[at] for at in places])
        [scores] = session.run(None, {session.get_inputs()[0].name: given})
        said |= {at: _said(row, letters) for at, row in zip(places, scores, strict=True)}
    return [said[at] for at in range(len(pictures))]


def _stacked(pictures: Sequence[Any], widths: Sequence[int], width: int | None = None) -> Any:
    """Pictures of one height, padded to one width: shape (count, 3, height, width)."""
    import numpy as np

    made: Any = np.zeros((len(pictures), 3, _HEIGHT, width or max(widths)), np.float32)
    for at, (picture, wide) in enumerate(zip(pictures, widths, strict=True)):
        pixels = np.asarray(picture.resize((wide, _HEIGHT)), np.float32)[:, :, ::-1]  # BGR
        made[at, :, :, :wide] = (pixels / 127.5 - 1).transpose(2, 0, 1)
    return made


def _said(scores: Any, letters: Sequence[str]) -> tuple[str, float]:
    """The likeliest letters; one that repeats without a gap is one, and 0 is the gap."""
    import numpy as np

    best = scores.argmax(-1)
    kept = np.flatnonzero((best != 0) & (best != np.concatenate([[-1], best[:-1]])))
    if not len(kept):
        return "", 0.0
    text = "".join(letters[at] for at in best[kept].tolist())
    return text, float(scores[kept, best[kept]].mean())
