"""Qwen2.5-VL: a language model that sees, with ChatML and Qwen's marks of a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.tiny.vocabulary import byte_alphabet

_SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for part in m['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PATCH, MERGE = 14, 2
_LAYERS, _HEADS, _WIDTH = 2, 4, 64
_MOST_PIXELS = 112 * 112  # sixteen tokens


def build(into: Path) -> None:
    """Write the checkpoint, its tokenizer and the settings of its pictures."""
    from transformers import (
        GenerationConfig,
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
    )

    tokenizer = tokens(into)
    marks = {name: tokenizer.convert_tokens_to_ids(name) for name in _SPECIALS}
    config = Qwen2_5_VLConfig(
        text_config={
            **language(len(tokenizer)),
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3],
            },
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2,
            "out_hidden_size": _WIDTH, "patch_size": PATCH, "spatial_merge_size": MERGE,
            "window_size": 56, "fullatt_block_indexes": [1],
        },
        **picture_marks(marks),
    )  # fmt: skip
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        bos_token_id=marks["<|endoftext|>"],
        eos_token_id=[marks["<|im_end|>"], marks["<|endoftext|>"]],
    )
    model.save_pretrained(into)


def tokens(into: Path) -> Any:
    """Write the tokenizer and how pictures are cut into patches; returns the tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    vocab = {token: index for index, token in enumerate(byte_alphabet())}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(_SPECIALS))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")  # noqa: S106
    tokenizer.chat_template = _TEMPLATE
    tokenizer.save_pretrained(into)
    processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": (PATCH * MERGE) ** 2, "longest_edge": _MOST_PIXELS}
    )
    processor.save_pretrained(into)
    return tokenizer


def language(vocabulary: int) -> dict[str, Any]:
    """Return the settings of the language model."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": _WIDTH,
        "intermediate_size": 128,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
    }


def picture_marks(marks: dict[str, int]) -> dict[str, int]:
    """Return the tokens that stand for pictures."""
    return {
        "image_token_id": marks["<|image_pad|>"],
        "video_token_id": marks["<|video_pad|>"],
        "vision_start_token_id": marks["<|vision_start|>"],
        "vision_end_token_id": marks["<|vision_end|>"],
    }
