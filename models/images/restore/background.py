"""What engines share that remove a background: all but the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.engine import BatchEngine, Differences
from models.errors import InvalidValue
from models.images.encoding import check_delivery
from models.images.request import ImageRequest
from models.images.restore import fields
from models.images.restore.source import finish, read
from models.pictures.transparency import on_white
from models.row import Row
from models.work import Ticket, Work

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as in training
_HIDDEN = (128, 128, 128)  # what the network sees at transparent pixels: neither white nor black


@dataclass(frozen=True)
class _Item:
    """A checked request: the picture, and whether white is laid behind it."""

    picture: Any
    opaque: bool


class Cutout(BatchEngine):
    """Keeps the foreground of a picture and makes the rest transparent.

    A subclass brings the network, as ``alpha``.

    Args:
        row: the model.
        side: of the square picture that the network reads, in pixels.
    """

    @classmethod
    def honours(cls, row: Row) -> Differences:
        """Return where the model differs from the surface's fields."""
        return fields.differences(row)

    def __init__(self, row: Row, side: int) -> None:
        self._row = row
        self._side = side

    def prepare(self, request: ImageRequest) -> Work:
        """Decode the picture; it runs alone.

        Raises:
            InvalidValue: there is no picture, the output format has no transparency, or the format
                cannot hold a picture of this size.
            UnsupportedParameter: a strict request has a field that would change nothing.
            MediaUndecodable: the picture cannot be read.
        """
        picture = read(request, "whose background is to go", alpha=True)
        opaque = request.background == "opaque"
        if request.output.format == "jpeg" and not opaque:
            raise InvalidValue(
                "output_format jpeg has no transparency; send png or webp, or background "
                '"opaque" for white.',
                param="output_format",
            )
        check_delivery(request.output, 1, *picture.size, opaque=opaque)
        left_out = fields.left_out(request, self._row)
        item = _Item(picture, opaque)
        return Work((item,), finish=finish(request.output, left_out), in_thread=True)

    def run(self, batch: Sequence[Ticket[_Item]]) -> list[Any]:
        """Remove the background of each picture, one after the other."""
        return [self._cut(ticket.item) for ticket in batch]

    def alpha(self, pixels: Any) -> Any:
        """Return how much each pixel belongs to the foreground.

        Args:
            pixels: RGB from 0 to 255, float32, shape (side, side, 3).

        Returns:
            float32, shape (side, side), in any range.
        """
        raise NotImplementedError

    def _cut(self, item: _Item) -> Any:
        """Return the picture without its background; transparent pixels stay transparent."""
        import numpy as np
        from PIL import Image, ImageChops

        colours = item.picture.convert("RGB")
        visible, opacity = colours, None
        if item.picture.mode == "RGBA":
            opacity = item.picture.getchannel("A")
            visible = Image.new("RGB", colours.size, _HIDDEN)
            visible.paste(colours, mask=opacity)
        square = visible.resize((self._side, self._side), Image.Resampling.LANCZOS)
        foreground = self.alpha(np.asarray(square, np.float32))
        alpha = Image.fromarray(_stretched(foreground))
        alpha = alpha.resize(visible.size, Image.Resampling.BILINEAR)
        if opacity is not None:
            alpha = ImageChops.darker(alpha, opacity)
        if item.opaque:
            on_white(colours, alpha)
        else:
            colours.putalpha(alpha)
        return colours


def normalised(pixels: Any, largest: float) -> Any:
    """Return pixels as the networks were trained to read them.

    Args:
        pixels: RGB, float32, shape (side, side, 3).
        largest: the value that becomes 1 before ImageNet's mean and deviation are applied.

    Returns:
        float32, shape (1, 3, side, side).
    """
    import numpy as np

    mean, deviation = np.array(_MEAN, np.float32), np.array(_DEVIATION, np.float32)
    return ((pixels / largest - mean) / deviation).transpose(2, 0, 1)[None]


def _stretched(foreground: Any) -> Any:
    """Stretch values to the range from 0 to 255, uint8; a constant is clipped instead."""
    import numpy as np

    low, high = float(foreground.min()), float(foreground.max())
    if high - low > 1e-6:
        foreground = (foreground - low) / (high - low)
    return np.rint(foreground.clip(0, 1) * 255).astype(np.uint8)
