"""LTX2Pipeline with LTX-2.3's options: Gemma 3, an audio-video transformer, two VAEs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.tiny.vocabulary import byte_alphabet

_WIDTH, _LAYERS = 16, 2  # the text encoder's
_LATENTS, _MELS, _RATE_HZ = 8, 16, 16_000
_HEADS, _HEAD = 2, 16


def build(into: Path) -> None:
    """Write the pipeline's folder."""
    from diffusers import FlowMatchEulerDiscreteScheduler, LTX2Pipeline

    pipeline = LTX2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=False),
        **_gemma(),
        connectors=_connectors(),
        transformer=_transformer(),
        vae=_video_vae(),
        audio_vae=_audio_vae(),
        vocoder=_vocoder(),
    )
    pipeline.save_pretrained(into)


def _gemma() -> dict[str, Any]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        PreTrainedTokenizerFast,
    )

    specials = ["<pad>", "<eos>", "<bos>", "<image_soft_token>"]
    pieces = [*specials, *byte_alphabet()]
    backend = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=1024)
    names = ("pad_token", "eos_token", "bos_token")
    tokenizer.add_special_tokens(dict(zip(names, specials, strict=False)))
    text = {
        "vocab_size": len(pieces),
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 1024,
    }
    vision = {
        "hidden_size": _WIDTH,
        "intermediate_size": 2 * _WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_index=specials.index("<image_soft_token>"),
    )
    return {"text_encoder": Gemma3ForConditionalGeneration(config), "tokenizer": tokenizer}


def _connectors() -> Any:
    from diffusers.pipelines.ltx2 import LTX2TextConnectors

    heads = {
        f"{which}_connector_{name}": value
        for which in ("video", "audio")
        for name, value in (
            ("num_attention_heads", _HEADS), ("attention_head_dim", _HEAD), ("num_layers", 1),
            ("num_learnable_registers", 8),
        )
    }  # fmt: skip
    return LTX2TextConnectors(
        caption_channels=_WIDTH,
        text_proj_in_factor=_LAYERS + 1,
        **heads,
        video_gated_attn=True,
        audio_gated_attn=True,
        connector_rope_base_seq_len=32,
        rope_type="split",
        per_modality_projections=True,
        video_hidden_dim=_HEADS * _HEAD,
        audio_hidden_dim=_HEADS * _HEAD,
        proj_bias=True,
    )


def _transformer() -> Any:
    from diffusers import LTX2VideoTransformer3DModel

    return LTX2VideoTransformer3DModel(
        in_channels=_LATENTS,
        out_channels=_LATENTS,
        num_attention_heads=_HEADS,
        attention_head_dim=_HEAD,
        cross_attention_dim=_HEADS * _HEAD,
        gated_attn=True,
        cross_attn_mod=True,
        audio_in_channels=2 * _MELS,
        audio_out_channels=2 * _MELS,
        audio_num_attention_heads=_HEADS,
        audio_attention_head_dim=_HEAD,
        audio_cross_attention_dim=_HEADS * _HEAD,
        audio_gated_attn=True,
        audio_cross_attn_mod=True,
        num_layers=2,
        caption_channels=_WIDTH,
        rope_type="split",
        use_prompt_embeddings=False,
        perturbed_attn=True,
    )


def _video_vae() -> Any:
    from diffusers import AutoencoderKLLTX2Video

    return AutoencoderKLLTX2Video(
        latent_channels=_LATENTS,
        block_out_channels=(8, 16, 32, 32),
        decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )


def _audio_vae() -> Any:
    from diffusers import AutoencoderKLLTX2Audio

    return AutoencoderKLLTX2Audio(
        base_channels=8 * _MELS // 4,
        ch_mult=(1, 2, 4),
        num_res_blocks=1,
        latent_channels=8,
        sample_rate=_RATE_HZ,
        mel_bins=_MELS,
    )


def _vocoder() -> Any:
    from diffusers.pipelines.ltx2 import LTX2VocoderWithBWE

    return LTX2VocoderWithBWE(
        in_channels=2 * _MELS,
        hidden_channels=32,
        upsample_kernel_sizes=[20, 16],
        upsample_factors=[10, 16],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1]],
        bwe_in_channels=2 * _MELS,
        bwe_hidden_channels=32,
        bwe_upsample_kernel_sizes=[24, 20],
        bwe_upsample_factors=[12, 20],
        bwe_resnet_kernel_sizes=[3],
        bwe_resnet_dilations=[[1]],
        num_mel_channels=_MELS,
    )
