"""The parts of ``AceStepPipeline`` from ACE-Step's own files.

A folder holds a DiT's repository and, in two folders, parts of ACE-Step/Ace-Step1.5:

    config.json, model.safetensors   transformer, condition encoder, audio tokens
    silence_latent.pt                the latents of silence, shape (1, channels, time)
    vae/                             AutoencoderOobleck
    Qwen3-Embedding-0.6B/            text encoder and tokenizer

The checkpoint is split as diffusers' ``scripts/convert_ace_step_to_diffusers.py`` splits it.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import WeightsUnavailable
from models.pipelines.quantized import empty, fill

if TYPE_CHECKING:
    import torch

TEXT_ENCODER = "Qwen3-Embedding-0.6B"
# By prefix in the checkpoint: the pipeline's part and its class.
PARTS = {
    "decoder": ("transformer", "AceStepTransformer1DModel"),
    "encoder": ("condition_encoder", "AceStepConditionEncoder"),
    "tokenizer": ("audio_tokenizer", "AceStepAudioTokenizer"),
    "detokenizer": ("audio_token_detokenizer", "AceStepAudioTokenDetokenizer"),
}
# ACE-Step's names and diffusers'.
NAMES = {
    "proj_in.1.": "proj_in_conv.",
    "proj_out.1.": "proj_out_conv.",
    ".q_proj.": ".to_q.",
    ".k_proj.": ".to_k.",
    ".v_proj.": ".to_v.",
    ".o_proj.": ".to_out.0.",
    ".q_norm.": ".norm_q.",
    ".k_norm.": ".norm_k.",
}
_NULL = "null_condition_emb"
_OF_COVERS = ("tokenizer", "detokenizer")  # a checkpoint without them makes no covers
# Of larger models: the sizes of the parts that are no transformer, where they differ from its own.
_OF_ENCODER = (
    "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
)  # fmt: skip


def pipeline_of(folder: Path, dtype: torch.dtype) -> Any:
    """Load the pipeline from a folder of ACE-Step's files.

    Raises:
        WeightsUnavailable: a file is missing, or of another model.
    """
    from diffusers import AceStepPipeline, FlowMatchEulerDiscreteScheduler
    from transformers import AutoModel, AutoTokenizer

    _check_whole(folder)
    text = folder / TEXT_ENCODER
    return AceStepPipeline(
        vae=_vae(folder / "vae", dtype),
        text_encoder=AutoModel.from_pretrained(text, dtype=dtype, local_files_only=True),
        tokenizer=AutoTokenizer.from_pretrained(text, local_files_only=True),
        # The pipeline computes the sigmas itself.
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
        **_parts(folder, dtype),
    )


def configuration(original: Mapping[str, Any], prefix: str, accepted: frozenset[str]) -> Any:
    """Return the configuration of a part.

    Args:
        original: ACE-Step's ``config.json``.
        prefix: of ``PARTS``.
        accepted: the fields that the part's class has.
    """
    config = {name: original[name] for name in accepted & original.keys()}
    if prefix == "decoder":
        config["is_turbo"] = bool(original.get("is_turbo", False))
        return config
    for name in _OF_ENCODER:
        config[name] = original.get(f"encoder_{name}", original[name])
    kinds = config.pop("layer_types", None)  # of the transformer's layers
    pooled = original.get("num_attention_pooler_hidden_layers", 2)
    if kinds is not None and prefix != "encoder":
        config["layer_types"] = kinds[:pooled]
    return config


def _parts(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Return the parts of the checkpoint, by their names in the pipeline."""
    import diffusers
    from diffusers.pipelines import ace_step

    original = json.loads((folder / "config.json").read_text())
    weights = _split(folder / "model.safetensors")
    weights["encoder"]["silence_latent"] = _silence(folder / "silence_latent.pt")
    parts = {}
    for prefix, (name, class_name) in PARTS.items():
        owner = diffusers if prefix == "decoder" else ace_step
        kind = getattr(owner, class_name)
        if not weights[prefix] and prefix in _OF_COVERS:
            continue
        accepted = frozenset(inspect.signature(kind.__init__).parameters) - {"self"}
        model = empty(kind, "diffusers", configuration(original, prefix, accepted))
        parts[name] = fill(model, weights[prefix], None, dtype)
    return parts


def _split(file: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Return the weights of each part, by diffusers' names."""
    from safetensors.torch import load_file

    weights: dict[str, dict[str, torch.Tensor]] = {prefix: {} for prefix in PARTS}
    for name, value in load_file(file).items():
        prefix, _, own = name.partition(".")
        if name == _NULL:
            weights["encoder"][_NULL] = value
        elif prefix in weights:
            weights[prefix][_renamed(own)] = value
    return weights


def _renamed(name: str) -> str:
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def _silence(file: Path) -> torch.Tensor:
    """Return the latents of silence, shape (1, time, channels).

    Without them the timbre encoder gets zeros, which it never saw, and songs drone.
    """
    import torch

    stored = torch.load(file, map_location="cpu", weights_only=True)
    return stored.transpose(1, 2).contiguous()


def _vae(folder: Path, dtype: torch.dtype) -> Any:
    from diffusers import AutoencoderOobleck

    with warnings.catch_warnings():
        # Its weight norm is torch's older one, as its weights are.
        warnings.simplefilter("ignore", FutureWarning)
        return AutoencoderOobleck.from_pretrained(folder, torch_dtype=dtype, local_files_only=True)


def _check_whole(folder: Path) -> None:
    needed = (
        "config.json", "model.safetensors", "silence_latent.pt", "vae/config.json",
        f"{TEXT_ENCODER}/config.json",
    )  # fmt: skip
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise WeightsUnavailable(
            f"The weights of ACE-Step lack {', '.join(missing)}. The model's repository has the "
            f"first three files; vae and {TEXT_ENCODER} are folders of ACE-Step/Ace-Step1.5."
        )
