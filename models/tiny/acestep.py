"""ACE-Step 1.5: a checkpoint with ACE-Step's own names, the VAE, and a Qwen3 text encoder."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from models.tiny.vocabulary import byte_alphabet

_LATENTS = 8
_RATE_HZ = 8000  # of the real model: 48,000; both have 25 latents a second
_SILENCE_LATENTS = 15_000
_CONFIG: dict[str, Any] = {
    "architectures": ["AceStepConditionGenerationModel"],
    "model_type": "acestep",
    "model_version": "turbo",
    "is_turbo": True,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "in_channels": 3 * _LATENTS,
    "audio_acoustic_hidden_dim": _LATENTS,
    "timbre_hidden_dim": _LATENTS,
    "text_hidden_dim": 16,
    "patch_size": 2,
    "rope_theta": 1_000_000.0,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "rms_norm_eps": 1e-6,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"],
    "num_lyric_encoder_hidden_layers": 2,
    "num_timbre_encoder_hidden_layers": 2,
    "num_attention_pooler_hidden_layers": 2,
    "pool_window_size": 5,
    "fsq_dim": 16,
    "fsq_input_levels": [8, 8, 8, 5, 5, 5],
    "fsq_input_num_quantizers": 1,
    "max_position_embeddings": 32_768,
    "use_sliding_window": True,
}
_OF_LAYERS = ("rope_theta", "attention_bias", "attention_dropout", "rms_norm_eps", "sliding_window")
_SIZES = (
    "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim",
    *_OF_LAYERS,
)  # fmt: skip
_POOLED = (
    *_SIZES, "audio_acoustic_hidden_dim", "pool_window_size", "num_attention_pooler_hidden_layers",
)  # fmt: skip
# diffusers' names and ACE-Step's.
_NAMES = {
    "proj_in_conv.": "proj_in.1.",
    "proj_out_conv.": "proj_out.1.",
    ".to_q.": ".q_proj.",
    ".to_k.": ".k_proj.",
    ".to_v.": ".v_proj.",
    ".to_out.0.": ".o_proj.",
    ".norm_q.": ".q_norm.",
    ".norm_k.": ".k_norm.",
}


def build(into: Path) -> None:
    """Write the checkpoint, the latents of silence, the VAE and the text encoder."""
    import torch
    from safetensors.torch import save_file

    (into / "config.json").write_text(json.dumps(_CONFIG))
    save_file(_checkpoint(), into / "model.safetensors")
    torch.save(torch.randn(1, _LATENTS, _SILENCE_LATENTS), into / "silence_latent.pt")
    _vae().save_pretrained(into / "vae")
    for part in _text_encoder():
        part.save_pretrained(into / "Qwen3-Embedding-0.6B")


def _checkpoint() -> dict[str, Any]:
    from diffusers import AceStepTransformer1DModel
    from diffusers.pipelines.ace_step import (
        AceStepAudioTokenDetokenizer,
        AceStepAudioTokenizer,
        AceStepConditionEncoder,
    )

    of_transformer = (*_SIZES, "num_hidden_layers", "in_channels", "audio_acoustic_hidden_dim",
                      "patch_size", "layer_types")  # fmt: skip
    of_encoder = (
        *_SIZES, "text_hidden_dim", "timbre_hidden_dim", "num_lyric_encoder_hidden_layers",
        "num_timbre_encoder_hidden_layers",
    )  # fmt: skip
    of_tokenizer = (*_POOLED, "fsq_dim", "fsq_input_levels", "fsq_input_num_quantizers")
    parts = {
        "decoder": AceStepTransformer1DModel(**_chosen(of_transformer)),
        "encoder": AceStepConditionEncoder(**_chosen(of_encoder)),
        "tokenizer": AceStepAudioTokenizer(**_chosen(of_tokenizer)),
        "detokenizer": AceStepAudioTokenDetokenizer(**_chosen(_POOLED)),
    }
    weights = {
        f"{prefix}.{_theirs(name)}": value.contiguous()
        for prefix, part in parts.items()
        for name, value in part.state_dict().items()
        if name != "silence_latent"
    }
    weights["null_condition_emb"] = weights.pop("encoder.null_condition_emb")
    return weights


def _chosen(names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _CONFIG[name] for name in names}


def _theirs(name: str) -> str:
    for ours, theirs in _NAMES.items():
        name = name.replace(ours, theirs)
    return name


def _vae() -> Any:
    from diffusers import AutoencoderOobleck

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its weight norm is torch's older one
        return AutoencoderOobleck(
            encoder_hidden_size=2 * _LATENTS,  # of a latent its mean and its deviation
            downsampling_ratios=[2, 4, 4, 10],
            channel_multiples=[1, 1, 1, 1],
            decoder_channels=2,
            decoder_input_channels=_LATENTS,
            audio_channels=2,
            sampling_rate=_RATE_HZ,
        )


def _text_encoder() -> tuple[Any, Any]:
    from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3Model

    pieces = [*byte_alphabet(), "<|endoftext|>"]
    tokenizer = Qwen2TokenizerFast(
        vocab={piece: index for index, piece in enumerate(pieces)}, merges=[]
    )
    config = Qwen3Config(
        vocab_size=len(pieces),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=4096,
    )
    return Qwen3Model(config), tokenizer
