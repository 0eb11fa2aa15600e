"""Graphs for onnxruntime, run on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.device.threads import usable_cores


def session(file: Path) -> Any:
    """Return an onnxruntime session of a graph, with as many threads as this process has cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
