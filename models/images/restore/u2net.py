"""Background removal with U²-Net (Qin et al., arXiv:2005.09007), in onnxruntime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.images.restore.background import Cutout, normalised
from models.row import Row


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
        """Run the graph, which expects pictures scaled by their brightest value; see ``Cutout``."""
        name = self._session.get_inputs()[0].name
        largest = max(float(pixels.max()), 1e-6)
        made = self._session.run(None, {name: normalised(pixels, largest)})
        return made[0][0, 0]

    def close(self) -> None:
        """Drop the session."""
        self._session = None
