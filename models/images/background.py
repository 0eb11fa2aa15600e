"""Pictures without their background: what is in front stays, the rest becomes transparent.

Two networks: BEN2 in torch, and U²-Net (Qin et al., arXiv:2005.09007) in onnxruntime, small and for
a processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.errors import InvalidValue
from models.images import honoured
from models.images.edits import finish, left_out, read
from models.images.encoding import check_delivery
from models.images.request import ImageRequest
from models.images.transparency import on_white
from models.row import Row
from models.surface import Differences, Ticket, Work

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as in training
_BEHIND = (128, 128, 128)  # what the network sees where there is nothing: neither white nor black


@dataclass(frozen=True)
class _Item:
    """A checked request: the picture, and whether white is laid behind it."""

    picture: Any
    opaque: bool


class Cutout:
    """What the two have in common: all but the network.

    ``side`` is of the square that the network reads.
    """

    budget = None
    capacity = 1
    packs = False

    @classmethod
    def honours(cls, row: Row) -> Differences:
        """The fields that are refused or left out."""
        return honoured.of_a_picture(row)

    def __init__(self, row: Row, side: int) -> None:
        self._row = row
        self._side = side

    def prepare(self, request: ImageRequest) -> Work:
        """Read the picture; it runs alone.

        Raises:
            InvalidValue: there is none, or the result's format holds no transparency, or none of
                this size.
            UnsupportedParameter: of a strict request, a field that changes nothing here.
            MediaUndecodable: it cannot be read.
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
        vain = left_out(request, self._row)
        item = _Item(picture, opaque)
        return Work((item,), finish=finish(request.output, vain), beside=True)

    def run(self, batch: Sequence[Ticket[_Item]]) -> list[Any]:
        """Cut out, one after the other."""
        return [self._cut(ticket.item) for ticket in batch]

    def alpha(self, pixels: Any) -> Any:
        """What is in front.

        Args:
            pixels: RGB from 0 to 255, float32, shape (side, side, 3).

        Returns:
            float32, shape (side, side), in any range.
        """
        raise NotImplementedError

    def _cut(self, item: _Item) -> Any:
        """The picture without its background; what was transparent before stays so."""
        import numpy as np
        from PIL import Image, ImageChops

        colours = item.picture.convert("RGB")
        seen, before = colours, None
        if item.picture.mode == "RGBA":
            before = item.picture.getchannel("A")
            seen = Image.new("RGB", colours.size, _BEHIND)
            seen.paste(colours, mask=before)
        square = seen.resize((self._side, self._side), Image.Resampling.LANCZOS)
        front = self.alpha(np.asarray(square, np.float32))
        alpha = Image.fromarray(_stretched(front)).resize(seen.size, Image.Resampling.BILINEAR)
        if before is not None:
            alpha = ImageChops.darker(alpha, before)
        if item.opaque:
            on_white(colours, alpha)
        else:
            colours.putalpha(alpha)
        return colours


def _normal(pixels: Any, largest: float) -> Any:
    """Pixels as the networks were trained to read them, shape (1, 3, side, side), float32."""
    import numpy as np

    mean, deviation = np.array(_MEAN, np.float32), np.array(_DEVIATION, np.float32)
    return ((pixels / largest - mean) / deviation).transpose(2, 0, 1)[None]


def _stretched(front: Any) -> Any:
    """From 0 to 255 over the whole range; where there is none, nothing is stretched."""
    import numpy as np

    low, high = float(front.min()), float(front.max())
    if high - low > 1e-6:
        front = (front - low) / (high - low)
    return np.rint(front.clip(0, 1) * 255).astype(np.uint8)


class Ben2Cutout(Cutout):
    """BEN2 in torch; row options ``network`` (its sizes) and ``side`` are for smaller ones."""

    libraries = ("torch", "safetensors")

    def __init__(self, net: Any, row: Row, side: int) -> None:
        super().__init__(row, side)
        self._net = net

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> Ben2Cutout:
        """Load the checkpoint, in float32: the network is small, and half of it lies near zero."""
        from safetensors.torch import load_file

        from models.images.ben2 import SIDE, Ben2

        path = folder if folder.is_file() else folder / "model.safetensors"
        net = Ben2.of(load_file(path), **row.options.get("network", {}))
        return cls(net.to(device.kind), row, row.options.get("side", SIDE))

    def alpha(self, pixels: Any) -> Any:
        """As ``Cutout`` says."""
        import torch

        x = torch.from_numpy(_normal(pixels, 255))
        with torch.inference_mode():
            made = self._net(x.to(next(self._net.parameters()).device))
        return made[0, 0].cpu().numpy()

    def close(self) -> None:
        """Drop the network."""
        self._net = None


class U2NetCutout(Cutout):
    """U²-Net as an ONNX graph."""

    libraries = ("onnxruntime",)

    def __init__(self, session: Any, row: Row) -> None:
        super().__init__(row, session.get_inputs()[0].shape[-1])
        self._session = session

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> U2NetCutout:
        """Load the graph; it runs on the CPU."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        return cls(onnxruntime.InferenceSession(folder, options, providers=providers), row)

    def alpha(self, pixels: Any) -> Any:
        """As ``Cutout`` says; the graph reads pictures by their brightest value."""
        given = self._session.get_inputs()[0].name
        largest = max(float(pixels.max()), 1e-6)
        made = self._session.run(None, {given: _normal(pixels, largest)})
        return made[0][0, 0]

    def close(self) -> None:
        """Drop the session."""
        self._session = None
