"""Background removal with BEN2, in torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.images.restore.background import Cutout, normalised
from models.row import Row


class Ben2Cutout(Cutout):
    """BEN2; the row options ``network`` (its sizes) and ``side`` are for smaller networks."""

    libraries = ("torch", "safetensors")

    def __init__(self, net: Any, row: Row, side: int) -> None:
        super().__init__(row, side)
        self._net = net

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> Ben2Cutout:
        """Load the checkpoint in float32: the network is small, and half its values lie near 0."""
        from safetensors.torch import load_file

        from models.images.restore.networks.ben2 import SIDE, Ben2

        path = folder if folder.is_file() else folder / "model.safetensors"
        net = Ben2.of(load_file(path), **row.options.get("network", {}))
        return cls(net.to(device.kind), row, row.options.get("side", SIDE))

    def alpha(self, pixels: Any) -> Any:
        """Run the network; see ``Cutout``."""
        import torch

        x = torch.from_numpy(normalised(pixels, 255))
        with torch.inference_mode():
            made = self._net(x.to(next(self._net.parameters()).device))
        return made[0, 0].cpu().numpy()

    def close(self) -> None:
        """Drop the network."""
        self._net = None
