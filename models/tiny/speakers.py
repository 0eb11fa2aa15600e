"""Handmade models for segmentation and speaker embedding, in the form that sherpa-onnx reads.

They distinguish loud from silent, and low voices from high ones: enough for two speakers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_RATE_HZ = 16_000
_MELS = 80
# The metadata that sherpa-onnx requires: windows of 10 s, and the receptive field in samples.
_SEGMENTATION = {
    "model_type": "pyannote-segmentation-3.0",
    "version": 1,
    "num_speakers": 3,
    "powerset_max_classes": 2,
    "num_classes": 7,
    "sample_rate": _RATE_HZ,
    "window_size": 10 * _RATE_HZ,
    "receptive_field_size": 991,
    "receptive_field_shift": 270,
}
_EMBEDDING = {
    "framework": "wespeaker",
    "language": "English",
    "sample_rate": _RATE_HZ,
    "output_dim": _MELS,
    "normalize_samples": 0,
}


def build(into: Path) -> None:
    """Write ``model.onnx`` and ``embedding.onnx``."""
    _segmentation(into / "model.onnx")
    _embedding(into / "embedding.onnx")


def _segmentation(path: Path) -> None:
    """Write a classifier of frames, output shape (windows, frames, 7): none, low or high voice."""
    import numpy as np
    from onnx import helper

    weights: Any = np.zeros((2, 7), np.float32)
    bias: Any = np.full(7, -50, np.float32)
    weights[0, 1] = weights[1, 2] = 1000
    bias[:3] = 0, -10, -10  # a hundredth of full scale counts as a voice
    low: Any = np.full((1, 1, 8), 1 / 8, np.float32)  # a mean of 8 samples passes up to 1 kHz
    high: Any = -low
    high[0, 0, 4] += 1  # the sample minus that mean
    bands = np.concatenate([low, high])
    nodes = [
        helper.make_node("Conv", ["x", "bands"], ["filtered"], pads=[4, 3]),
        helper.make_node("Abs", ["filtered"], ["loud"]),
        helper.make_node("AveragePool", ["loud"], ["mean"], kernel_shape=[991], strides=[270]),
        helper.make_node("Transpose", ["mean"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["frames", "weights"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["y"]),
    ]
    shapes = (["N", 1, "T"], ["N", "F", 7])
    constants = {"bands": bands, "weights": weights, "bias": bias}
    _save(path, nodes, ("x", "y"), shapes, constants, _SEGMENTATION)


def _embedding(path: Path) -> None:
    """Write a model that returns a voice's mean spectrum, minus its overall level."""
    import numpy as np
    from onnx import helper

    nodes = [
        helper.make_node("ReduceMean", ["feats"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("ReduceMean", ["mean"], ["level"], axes=[2], keepdims=1),
        helper.make_node("Sub", ["mean", "level"], ["shape"]),
        helper.make_node("Squeeze", ["shape", "axis"], ["embs"]),
    ]
    shapes = (["B", "T", _MELS], ["B", _MELS])
    constants = {"axis": np.array([1], np.int64)}
    _save(path, nodes, ("feats", "embs"), shapes, constants, _EMBEDDING)


def _save(
    path: Path,
    nodes: list[Any],
    names: tuple[str, str],
    shapes: tuple[list[Any], list[Any]],
    constants: dict[str, Any],
    metadata: dict[str, Any],
) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    inputs, outputs = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(names, shapes, strict=True)
    )
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", [inputs], [outputs], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {name: str(value) for name, value in metadata.items()})
    onnx.save(model, str(path))
