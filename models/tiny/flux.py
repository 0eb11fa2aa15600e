"""FluxPipeline: CLIP and T5 encoders, a flow transformer, a 16-channel VAE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.tiny.vocabulary import byte_alphabet, unigram_characters

WIDTH = 32


def build(into: Path) -> None:
    """Write the pipeline's folder."""
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        FluxPipeline,
        FluxTransformer2DModel,
    )
    from transformers import CLIPTextModel

    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=vae(),
        text_encoder=CLIPTextModel(clip_config()),
        tokenizer=clip_tokenizer(),
        **_t5(),
        transformer=FluxTransformer2DModel(
            in_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            axes_dims_rope=(4, 4, 8),
        ),
    )
    pipeline.save_pretrained(into)


def vae() -> Any:
    """Return a VAE with 16 latent channels, which Z-Image uses, too."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 16, 16, 16),
        norm_num_groups=4,
        latent_channels=16,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
        sample_size=1024,
    )


def clip_config() -> Any:
    """Return the configuration of a CLIP text encoder; SDXL has two of them."""
    from transformers import CLIPTextConfig

    words = len(_clip_pieces())
    return CLIPTextConfig(
        vocab_size=words,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=WIDTH,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
        pad_token_id=words - 1,
    )


def clip_tokenizer() -> Any:
    """Return the tokenizer of the CLIP text encoder."""
    from transformers import CLIPTokenizer

    vocab = {piece: index for index, piece in enumerate(_clip_pieces())}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def _clip_pieces() -> list[str]:
    alphabet = byte_alphabet()
    return [*alphabet, *(f"{char}</w>" for char in alphabet), "<|startoftext|>", "<|endoftext|>"]


def _t5() -> dict[str, Any]:
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    vocab = unigram_characters(["<pad>", "</s>", "<unk>"])
    tokenizer = T5TokenizerFast(vocab=vocab, extra_ids=0, model_max_length=512)
    config = T5Config(
        vocab_size=len(vocab),
        d_model=WIDTH,
        d_ff=2 * WIDTH,
        d_kv=8,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    return {"text_encoder_2": T5EncoderModel(config), "tokenizer_2": tokenizer}
