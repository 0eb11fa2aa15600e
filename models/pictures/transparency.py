"""Transparency, and the colours that it hides.

A transparent pixel still has a colour, often black or whatever a program left behind. That colour
was never visible, so it must not appear when transparency is dropped, moved or enlarged.
"""

from __future__ import annotations

from typing import Any

_HALF = 128


def on_white(colours: Any, alpha: Any) -> None:
    """Compose a picture on white, in place.

    Args:
        colours: RGB.
        alpha: L, of the same size.
    """
    from PIL import ImageChops

    colours.paste((255, 255, 255), (0, 0), ImageChops.invert(alpha))


def whiten(colours: Any, alpha: Any) -> None:
    """Paint fully transparent pixels white, in place."""
    colours.paste((255, 255, 255), (0, 0), alpha.point([255, *[0] * 255]))


def has_holes(alpha: Any) -> bool:
    """Whether any pixel is less than half opaque."""
    return bool(alpha.getextrema()[0] < _HALF)


def spread(picture: Any) -> Any:
    """Return the colours of an RGBA picture, with visible colours extended into transparent parts.

    Each hidden colour becomes the mean of the visible pixels around it: of its neighbours or, if
    none is visible, of a neighbourhood twice as wide, and so on. Visible colours are kept.
    """
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture)
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    weights = alpha.astype(np.float32) / 255
    means = _filled(colours * weights, weights)
    return Image.fromarray(np.where(alpha > 0, colours, np.rint(means).astype(np.uint8)))


def _filled(sums: Any, weights: Any) -> Any:
    """Return the mean colours of a grid; cells without weight take those of the next coarser grid.

    Args:
        sums: weighted colours, shape (rows, columns, 3), float32.
        weights: shape (rows, columns, 1).
    """
    import numpy as np

    empty = weights == 0
    means = sums / np.where(empty, 1, weights)
    if empty.any() and sums.shape[:2] != (1, 1):
        coarse = _filled(_halved(sums), _halved(weights))
        rows, columns = sums.shape[:2]
        means = np.where(empty, coarse.repeat(2, 0).repeat(2, 1)[:rows, :columns], means)
    return means


def _halved(grid: Any) -> Any:
    """Halve rows and columns: each is the sum of two, plus a third of the neighbour on each side.

    Without the neighbours, a hidden pixel beside a visible one would take its colour from far away
    if a border of the coarser grid runs between the two.
    """
    import numpy as np

    for axis in (0, 1):
        wide = np.moveaxis(grid, axis, 0)
        wide = np.pad(wide, ((1, 1 + len(wide) % 2), (0, 0), (0, 0)))
        first, second = wide[1:-1:2], wide[2::2]
        halved = 3 * (first + second[: len(first)]) + wide[:-2:2] + wide[3::2]
        grid = np.moveaxis(halved, 0, axis)
    return grid


def enlarged_alpha(alpha: Any, larger: Any) -> Any:
    """Return the alpha channel of an enlarged picture.

    The network's values are clipped to the range of each pixel's neighbourhood before, so that
    opaque parts stay opaque and transparent parts stay transparent.

    Args:
        alpha: L, before.
        larger: the network's result for the channel as a grey picture; uint8, shape
            (height, width, 3).
    """
    import numpy as np
    from PIL import Image, ImageFilter

    size = (larger.shape[1], larger.shape[0])
    least, most = (
        np.asarray(alpha.filter(extreme(3)).resize(size, Image.Resampling.NEAREST))
        for extreme in (ImageFilter.MinFilter, ImageFilter.MaxFilter)
    )
    grey = larger.mean(axis=-1, dtype=np.float32)
    return Image.fromarray(np.rint(grey.clip(least, most)).astype(np.uint8))


def changed_where(mask: Any, changed: Any, source: Any) -> Any:
    """Compose a changed picture over a source through a mask.

    Where the mask is black, the source is kept exactly. At a soft edge the two are mixed, each in
    proportion to its coverage.

    Args:
        mask: L, white where the changed picture is shown.
        changed: RGB.
        source: RGB or RGBA; the result has the same mode.
    """
    import numpy as np
    from PIL import Image

    if source.mode == "RGB":
        return Image.composite(changed, source, mask)
    new = np.asarray(mask, np.float32)[..., None] / 255
    old = np.asarray(source)
    rest = np.minimum(old[..., 3:].astype(np.float32) / 255, 1 - new)
    covered = new + rest
    colours = new * np.asarray(changed) + rest * old[..., :3]
    mixed = np.concatenate([colours / np.where(covered > 0, covered, 1), covered * 255], axis=-1)
    return Image.fromarray(np.where(new > 0, np.rint(mixed).astype(np.uint8), old))
