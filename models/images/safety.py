"""The safety checker of Stable Diffusion, which decides whether a picture may be shown.

It compares CLIP's embedding of a picture with those of 17 concepts, and of 3 that lower the
threshold (Rando et al., arXiv:2210.04610). It detects sexual content only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.engine import BatchEngine
from models.images.request import ScreenRequest
from models.pictures.decoding import decode
from models.pictures.resizing import fitted
from models.quiet import hush
from models.row import Row
from models.work import Ticket, Work

# CLIP's, of its training.
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_RUN_PICTURES = 8


class SafetyChecker(BatchEngine):
    """Returns for each picture whether it is to be withheld."""

    libraries = ("torch", "diffusers", "transformers")
    budget = _RUN_PICTURES
    capacity = _RUN_PICTURES

    def __init__(self, net: Any) -> None:
        self._net = net
        self._side = net.config.vision_config.image_size

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> SafetyChecker:
        """Load the folder in float32: the network is small, and its thresholds are made for it."""
        from diffusers.pipelines.stable_diffusion.safety_checker import (
            StableDiffusionSafetyChecker,
        )

        hush("transformers", "diffusers")
        return cls(StableDiffusionSafetyChecker.from_pretrained(folder).to(device.kind).eval())

    def prepare(self, request: ScreenRequest) -> Work:
        """Decode the pictures. Each is a part, and shares runs with those of other requests."""
        parts = [self._read(decode(content)) for content in request.pictures]
        return Work(parts, kind="pictures", finish=tuple)

    def run(self, batch: Sequence[Ticket[Any]]) -> list[bool]:
        """Check the pictures."""
        import numpy as np
        import torch

        pixels = torch.stack([ticket.item for ticket in batch]).to(self._net.device)
        blank: Any = np.zeros((len(batch), 1, 1, 3), np.float32)  # the checker blackens these
        with torch.inference_mode():
            _, flagged = self._net(clip_input=pixels, images=blank)
        return [bool(flag) for flag in flagged]

    def close(self) -> None:
        """Drop the network."""
        self._net = None

    def _read(self, picture: Any) -> Any:
        """Normalise a picture for CLIP; float32, shape (3, side, side)."""
        import numpy as np
        import torch

        pixels = np.asarray(fitted(picture, self._side, self._side), np.float32) / 255
        normal = (pixels - np.array(_MEAN, np.float32)) / np.array(_DEVIATION, np.float32)
        return torch.from_numpy(normal.transpose(2, 0, 1))
