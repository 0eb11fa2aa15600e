"""A graph with the inputs and the files of Kokoro."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.row import Row


def write_kokoro(folder: Path, kokoro: Row) -> None:
    """Write a graph that makes a tone, and a table of each voice's styles.

    The tone is as long as the text, and as loud as the first number of its style.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    (folder / "onnx").mkdir()
    (folder / "voices").mkdir()
    node, value = helper.make_node, helper.make_tensor_value_info
    constants = {
        "frame": np.array([600.0], np.float32), "zero": np.array(0.0, np.float32),
        "step": np.array(1.0, np.float32), "first": np.array(0), "rate": np.array(0.1, np.float32),
    }  # fmt: skip
    nodes = [
        node("Shape", ["input_ids"], ["shape"]), node("Gather", ["shape", "one"], ["length"]),
        node("Cast", ["length"], ["many"], to=TensorProto.FLOAT),
        node("Mul", ["many", "frame"], ["long"]), node("Div", ["long", "speed"], ["end"]),
        node("Squeeze", ["end"], ["stop"]), node("Range", ["zero", "stop", "step"], ["places"]),
        node("Mul", ["places", "rate"], ["angles"]), node("Sin", ["angles"], ["tone"]),
        node("Gather", ["style", "first"], ["loud"], axis=1),
        node("Mul", ["tone", "loud"], ["waveform"]),
    ]  # fmt: skip
    constants["one"] = np.array([1])
    graph = helper.make_graph(
        nodes, "kokoro",
        [value("input_ids", TensorProto.INT64, [1, "length"]),
         value("style", TensorProto.FLOAT, [1, 256]), value("speed", TensorProto.FLOAT, [1])],
        [value("waveform", TensorProto.FLOAT, ["samples"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "onnx/model_quantized.onnx")
    for language in kokoro.options["languages"]:
        for voice in language["voices"]:
            table = np.zeros((510, 1, 256), np.float32)
            table[:, 0, 0] = np.arange(510) / 1000  # the loudness tells which style was taken
            table.tofile(folder / "voices" / f"{voice['slug']}.bin")
