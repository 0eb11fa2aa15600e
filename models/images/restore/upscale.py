"""Enlarging pictures with Real-ESRGAN."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from models.device.failures import is_out_of_memory
from models.device.hardware import Device
from models.device.memory import free_memory
from models.engine import BatchEngine, Differences
from models.errors import InvalidValue
from models.images.encoding import check_delivery
from models.images.request import ImageRequest
from models.images.restore import fields
from models.images.restore.source import finish, read
from models.images.restore.tiles import Shrinker, Tiling, enlarge, strips
from models.pictures.transparency import enlarged_alpha, spread
from models.row import Row
from models.work import Progress, Stopped, Ticket, Work

# A margin of 48 covers the receptive field, to 1/255; the last tiling saves memory instead.
_TILINGS = {
    "cuda": (Tiling(640, 48), Tiling(320, 48), Tiling(128, 16)),
    "cpu": (Tiling(320, 48), Tiling(128, 16)),
}
SCALE = 4
_MOST_PIXELS = 8192 * 8192  # of a result
_MOST_INPUT_PIXELS = 4096 * 4096  # the network's output has sixteen times as many
_MOST_SIDE = 8192  # of an input; long strips have as many tiles as squares


@dataclass(frozen=True)
class _Item:
    """A checked request: the picture, and the result's size."""

    picture: Any
    width: int
    height: int


class Upscaler(BatchEngine):
    """Enlarges pictures up to four times, tile by tile; emits ``Progress``."""

    libraries = ("torch", "safetensors")

    def __init__(self, net: Any, row: Row, device: Device) -> None:
        self._net = net
        self._row = row
        self._tilings = list(_TILINGS[device.kind])

    @classmethod
    def honours(cls, row: Row) -> Differences:
        """Return where the model differs from the surface's fields."""
        return fields.differences(row)

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> Upscaler:
        """Load the folder's safetensors file: half precision on a GPU, float32 on a CPU."""
        import torch
        from safetensors.torch import load_file

        from models.images.restore.networks.rrdb import RRDBNet

        path = folder if folder.is_file() else next(iter(sorted(folder.glob("*.safetensors"))))
        net = RRDBNet.of(load_file(path))
        dtype = torch.float16 if device.kind == "cuda" else torch.float32
        return cls(net.to(device.kind, dtype), row, device)

    def prepare(self, request: ImageRequest) -> Work:
        """Decode the picture; it runs alone.

        Raises:
            InvalidValue: there is no picture, or the picture or its result would be too large.
            UnsupportedParameter: a strict request has a field that would change nothing.
            MediaUndecodable: the picture cannot be read.
        """
        picture = read(request, "to enlarge", alpha=request.output.format != "jpeg")
        scale = SCALE if request.scale is None else request.scale
        if not 1 < scale <= SCALE:
            raise InvalidValue(
                f"scale must be more than 1 and at most {SCALE}; got {scale:g}.", param="scale"
            )
        self._check_size(picture.size, scale)
        width, height = round(picture.width * scale), round(picture.height * scale)
        check_delivery(request.output, 1, width, height, opaque=picture.mode == "RGB")
        left_out = fields.left_out(request, self._row)
        item = _Item(picture, width, height)
        return Work((item,), finish=finish(request.output, left_out), in_thread=True)

    def run(self, batch: Sequence[Ticket[_Item]]) -> list[Any]:
        """Enlarge each picture; stop at the next tile once its ticket is cancelled."""
        return [self._enlarge(ticket) for ticket in batch]

    def close(self) -> None:
        """Drop the network."""
        self._net = None

    def _check_size(self, size: tuple[int, int], scale: float) -> None:
        """Check that enlarging a picture takes neither too long nor too much memory.

        Raises:
            InvalidValue: the picture is too large.
        """
        most = min(_MOST_INPUT_PIXELS, int(_MOST_PIXELS / scale**2))
        if size[0] * size[1] > most or max(size) > _MOST_SIDE:
            side = math.isqrt(most)
            raise InvalidValue(
                f"The image has {size[0]}x{size[1]} pixels; {self._row.slug} enlarges at most "
                f"{most} of them {scale:g} times, such as {side}x{side}, and {_MOST_SIDE} a side.",
                param="image",
            )

    def _enlarge(self, ticket: Ticket[_Item]) -> Any:
        """Enlarge a picture; transparency is enlarged by the network, like colours."""
        import numpy as np
        from PIL import Image

        item = ticket.item
        layers = [np.asarray(item.picture)]
        if item.picture.mode == "RGBA":
            alpha = item.picture.getchannel("A")
            layers = [np.asarray(spread(item.picture)), np.asarray(Image.merge("RGB", [alpha] * 3))]
        try:
            colours, *others = self._tiled(ticket, layers)
        except Stopped:
            return item.picture
        enlarged = Image.fromarray(colours)
        for larger in others:
            enlarged.putalpha(enlarged_alpha(alpha, larger))
        return enlarged

    def _tiled(self, ticket: Ticket[_Item], layers: Sequence[Any]) -> list[Any]:
        """Enlarge layers; after running out of memory, use smaller tiles from then on."""
        while True:
            tiling = self._tilings[0]
            total = sum(tiling.count(*layer.shape[:2]) for layer in layers)
            make = partial(self._watched, ticket, total, itertools.count(1))
            try:
                return [self._layer(ticket.item, layer, tiling, make) for layer in layers]
            except Exception as error:
                if not is_out_of_memory(error) or len(self._tilings) == 1:
                    raise
            self._tilings.pop(0)
            free_memory()

    def _layer(self, item: _Item, pixels: Any, tiling: Tiling, make: Callable[[Any], Any]) -> Any:
        """Enlarge one layer to the item's size; returns shape (height, width, 3)."""
        source = (pixels.shape[1] * SCALE, pixels.shape[0] * SCALE)
        if source == (item.width, item.height):
            return enlarge(pixels, SCALE, tiling, make)
        shrinker = Shrinker(source, (item.width, item.height))
        for strip in strips(pixels, SCALE, tiling, make):
            shrinker.add(strip)
        return shrinker.picture

    def _watched(self, ticket: Ticket[_Item], total: int, count: Iterator[int], tile: Any) -> Any:
        """Enlarge a tile and report progress.

        Raises:
            Stopped: nobody waits any more.
        """
        if ticket.cancelled:
            raise Stopped
        made = self._tile(tile)
        ticket.emit(Progress(0, next(count), total, "tiles"), lasting=False)
        return made

    def _tile(self, tile: Any) -> Any:
        import torch

        weight = self._net.conv_first.weight
        with torch.inference_mode():
            x = torch.from_numpy(tile.copy()).to(weight.device).permute(2, 0, 1)[None]
            made = self._net(x.to(weight.dtype) / 255)[0].float().clamp(0, 1) * 255
            return made.permute(1, 2, 0).cpu().numpy()
