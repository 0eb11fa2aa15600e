"""The networks of Qwen3-TTS from a repository's files, straight to the device.

They are made without memory and then given the checkpoint's tensors, one after another. What no
checkpoint has, the tables of rotation, is computed afterwards: left as they are made, they are
rubbish, and the model speaks near silence without an end (ComfyUI-Qwen-TTS#103).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from models.errors import WeightsUnavailable
from models.speech.qwen.codec import Codec
from models.speech.qwen.networks import Talker
from models.speech.qwen.settings import Settings

# How a checkpoint's names begin, and ours; the longer ones first.
_TALKER = {
    "talker.code_predictor.model.codec_embedding.": "code_predictor.codec_embedding.",
    "talker.model.codec_embedding.": "model.embed_tokens.",
    "talker.model.text_embedding.": "text_embedding.",
    "talker.": "",
}
_DECODER = "decoder."
_VECTORS = re.compile(r"(quantizer\.\w+)\.vq\.layers\.(\d+)\._codebook\.embedding_sum")
_ENCODES = re.compile(r"^quantizer\.\w+\.input_proj\.|\._codebook\.")
_LEAST_USE = 1e-5  # of a vector of a codebook, as the tokenizer was trained
Named = Iterator[tuple[str, torch.Tensor]]


def talker(folder: Path, settings: Settings, device: str, dtype: torch.dtype) -> Talker:
    """Load the talker in a precision.

    Raises:
        WeightsUnavailable: the file is not of this model.
    """
    file = folder / "model.safetensors"
    made: Talker = _filled(lambda: Talker(settings.talker), _talker(file), device, dtype)
    made.turn_anew(device)
    return made


def codec(folder: Path, settings: Settings, device: str) -> Codec:
    """Load the decoder of sound, in full precision: it is small, and rounding is heard.

    Raises:
        WeightsUnavailable: the file is not of this model.
    """
    file = folder / "speech_tokenizer/model.safetensors"
    made: Codec = _filled(lambda: Codec(settings.codec), _codec(file), device, torch.float32)
    made.turn_anew(device)
    return made


def _filled(make: Callable[[], Any], named: Named, device: str, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        network = make()
    given = {name: tensor.to(device, dtype) for name, tensor in named}
    try:
        network.load_state_dict(given, assign=True)
    except RuntimeError as error:
        raise WeightsUnavailable(f"The checkpoint is of another model: {error}") from error
    return network.requires_grad_(False).eval()


def _talker(file: Path) -> Named:
    """The tensors of the talker by our names; those of a voice's encoder are not needed."""
    with safe_open(file, framework="pt") as checkpoint:
        for name in checkpoint.keys():  # noqa: SIM118  # it is no dictionary
            for theirs, ours in _TALKER.items():
                if name.startswith(theirs):
                    yield ours + name.removeprefix(theirs), checkpoint.get_tensor(name)
                    break


def _codec(file: Path) -> Named:
    """The tensors of the decoder by our names; those that encode are not needed.

    A vector is stored as the sum of what it stood for in training, and how often that was.
    """
    with safe_open(file, framework="pt") as checkpoint:
        for name in checkpoint.keys():  # noqa: SIM118  # it is no dictionary
            if not name.startswith(_DECODER):
                continue
            ours, tensor = name.removeprefix(_DECODER), checkpoint.get_tensor(name)
            if match := _VECTORS.fullmatch(ours):
                use = checkpoint.get_tensor(name.replace("embedding_sum", "cluster_usage"))
                vectors = tensor.float() / use.float().clamp(min=_LEAST_USE)[:, None]
                yield f"{match[1]}.tables.{match[2]}", vectors
            elif not _ENCODES.search(ours):
                yield ours, tensor
