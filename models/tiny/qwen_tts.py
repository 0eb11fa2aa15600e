"""Qwen3-TTS with voices of its own: a talker, and the decoder of its tokenizer of sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.tiny.vocabulary import byte_alphabet

_SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>",
)  # fmt: skip
_ROLE = "assistant"  # one token, as in the published vocabulary
_CODES, _GROUPS = 32, 4
_WIDTH, _SMALL, _TEXT, _LATENT, _BOOK = 32, 16, 24, 16, 8
_SHARP = 3.0  # how much larger attention is than elsewhere: each word of a prompt tells
_QUIET, _STILL = 0.5, 0.02  # what convolutions keep of what they get, and add: codes are heard
_FIRST = 1024 + _CODES  # first codes: sounds, and marks behind them
_VOICES = (
    "serena", "vivian", "uncle_fu", "ryan", "aiden", "ono_anna", "sohee", "eric", "dylan",
)  # fmt: skip
_LANGUAGES = (
    "chinese", "english", "german", "italian", "portuguese", "spanish", "japanese", "korean",
    "french", "russian", "beijing_dialect", "sichuan_dialect",
)  # fmt: skip
_DIALECTS = {"eric": "sichuan_dialect", "dylan": "beijing_dialect"}


def build(into: Path) -> None:
    """Write the repository: the talker's files, and those of the tokenizer of sound."""
    from safetensors.torch import save_file

    texts = _tokens(into)
    config, sound = _config(texts), _sound()
    (into / "speech_tokenizer").mkdir()
    _write(into / "config.json", config)
    _write(into / "generation_config.json", _GENERATION)
    _write(into / "speech_tokenizer/config.json", sound)
    _write(into / "speech_tokenizer/preprocessor_config.json", _EXTRACTION)
    save_file(_talker(config["talker_config"]), into / "model.safetensors")
    decoder = _decoder(sound["decoder_config"])
    save_file(decoder, into / "speech_tokenizer/model.safetensors")


_GENERATION = {
    "do_sample": True, "temperature": 0.9, "top_k": 24, "top_p": 1.0, "repetition_penalty": 1.05,
    "subtalker_dosample": True, "subtalker_temperature": 0.9, "subtalker_top_k": 24,
    "subtalker_top_p": 1.0, "max_new_tokens": 8192,
}  # fmt: skip
_EXTRACTION = {
    "feature_extractor_type": "EncodecFeatureExtractor", "feature_size": 1, "padding_value": 0.0,
    "sampling_rate": 24_000,
}  # fmt: skip


def _tokens(into: Path) -> dict[str, int]:
    """Write the vocabulary: bytes, one word and the marks; returns it."""
    vocab = {token: index for index, token in enumerate(byte_alphabet())}
    merges = [(_ROLE[:end], _ROLE[end]) for end in range(1, len(_ROLE))]
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    specials = {name: len(vocab) + index for index, name in enumerate(_SPECIALS)}
    _write(into / "vocab.json", vocab)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (into / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    plain = ("lstrip", "normalized", "rstrip", "single_word")
    marks = {**dict.fromkeys(plain, False), "special": True}
    decoder = {str(index): {"content": name, **marks} for name, index in specials.items()}
    _write(into / "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": decoder,
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "model_max_length": 131_072,
    })  # fmt: skip
    return {**vocab, **specials}


def _config(texts: dict[str, int]) -> dict[str, Any]:
    marks = _CODES + 16
    names = ("pad_id", "bos_id", "eos_token_id", "think_id", "nothink_id", "think_bos_id",
             "think_eos_id")  # fmt: skip
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
              "head_dim": 8, "hidden_act": "silu", "rms_norm_eps": 1e-6, "attention_bias": False,
              "max_position_embeddings": 4096, "use_sliding_window": False}  # fmt: skip
    talker = {
        **layers, "model_type": "qwen3_tts_talker", "hidden_size": _WIDTH, "intermediate_size": 64,
        "vocab_size": _FIRST, "text_vocab_size": len(texts), "text_hidden_size": _TEXT,
        "num_code_groups": _GROUPS, "rope_theta": 1_000_000,
        "rope_scaling": {"interleaved": True, "mrope_section": [2, 1, 1], "rope_type": "default"},
        **{f"codec_{name}": marks + index for index, name in enumerate(names)},
        "codec_language_id": {name: marks + 20 + i for i, name in enumerate(_LANGUAGES)},
        "spk_id": {name: _FIRST - 1 - index for index, name in enumerate(_VOICES)},
        "spk_is_dialect": {name: _DIALECTS.get(name, False) for name in _VOICES},
        "code_predictor_config": {
            **layers, "model_type": "qwen3_tts_talker_code_predictor", "hidden_size": _SMALL,
            "intermediate_size": 32, "vocab_size": _CODES, "num_code_groups": _GROUPS,
            "rope_theta": 1_000_000,
        },
    }  # fmt: skip
    return {
        "model_type": "qwen3_tts", "architectures": ["Qwen3TTSForConditionalGeneration"],
        "tokenizer_type": "qwen3_tts_tokenizer_12hz", "tts_model_size": "1b7",
        "tts_model_type": "custom_voice", "talker_config": talker,
        "im_start_token_id": texts["<|im_start|>"], "im_end_token_id": texts["<|im_end|>"],
        "tts_pad_token_id": texts["<tts_pad>"], "tts_bos_token_id": texts["<tts_text_bos>"],
        "tts_eos_token_id": texts["<tts_text_eod>"], "assistant_token_id": texts[_ROLE],
    }  # fmt: skip


def _sound() -> dict[str, Any]:
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8,
             "num_key_value_heads": 2, "intermediate_size": 16}  # fmt: skip
    return {
        "model_type": "qwen3_tts_tokenizer_12hz", "architectures": ["Qwen3TTSTokenizerV2Model"],
        "encoder_config": {**small, "num_filters": 2, "codebook_dim": 8, "codebook_size": _CODES,
                           "num_quantizers": _GROUPS, "upsample_groups": 16,
                           "vector_quantization_hidden_dimension": 8},
        "decoder_config": {
            **small, "num_hidden_layers": 2, "codebook_dim": _BOOK, "codebook_size": _CODES,
            "num_quantizers": _GROUPS, "latent_dim": _LATENT, "decoder_dim": 32,
            "upsample_rates": [8, 5, 4, 3], "upsampling_ratios": [2, 2], "sliding_window": 12,
            "rope_theta": 10_000, "rms_norm_eps": 1e-5, "hidden_act": "silu",
            "attention_bias": False, "layer_scale_initial_scale": 0.01,
            "max_position_embeddings": 8000,
        },
        "encoder_valid_num_quantizers": _GROUPS, "input_sample_rate": 24_000,
        "output_sample_rate": 24_000, "decode_upsample_rate": 1920, "encode_downsample_rate": 1920,
    }  # fmt: skip


def _talker(config: dict[str, Any]) -> dict[str, Any]:
    """The talker's tensors by their published names."""
    codes = config["code_predictor_config"]
    made = {
        **_layers("talker.model", config),
        "talker.model.codec_embedding.weight": _SHARP * _random(_FIRST, _WIDTH),
        "talker.model.text_embedding.weight": _random(config["text_vocab_size"], _TEXT),
        "talker.text_projection.linear_fc1.weight": _SHARP * _random(_TEXT, _TEXT),
        "talker.text_projection.linear_fc1.bias": _random(_TEXT),
        "talker.text_projection.linear_fc2.weight": _SHARP * _random(_WIDTH, _TEXT),
        "talker.text_projection.linear_fc2.bias": _random(_WIDTH),
        "talker.codec_head.weight": _random(_FIRST, _WIDTH),
        "talker.code_predictor.small_to_mtp_projection.weight": _random(_SMALL, _WIDTH),
        "talker.code_predictor.small_to_mtp_projection.bias": _random(_SMALL),
        **_layers("talker.code_predictor.model", codes),
    }
    for index in range(_GROUPS - 1):
        name = f"talker.code_predictor.model.codec_embedding.{index}.weight"
        made[name] = _random(_CODES, _WIDTH)
        made[f"talker.code_predictor.lm_head.{index}.weight"] = _random(_CODES, _SMALL)
    return made


def _layers(prefix: str, config: dict[str, Any], *, scaled: bool = False) -> dict[str, Any]:
    """The tensors of layers of attention, and of the norm behind them."""
    width, wide, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    made = {f"{prefix}.norm.weight": _near_one(width)}
    for index in range(config["num_hidden_layers"]):
        layer = f"{prefix}.layers.{index}"
        made |= {
            f"{layer}.self_attn.q_proj.weight": _random(queries, width),
            f"{layer}.self_attn.k_proj.weight": _random(keys, width),
            f"{layer}.self_attn.v_proj.weight": _random(keys, width),
            f"{layer}.self_attn.o_proj.weight": _SHARP * _random(width, queries),
            f"{layer}.mlp.gate_proj.weight": _random(wide, width),
            f"{layer}.mlp.up_proj.weight": _random(wide, width),
            f"{layer}.mlp.down_proj.weight": _random(width, wide),
            f"{layer}.input_layernorm.weight": _near_one(width),
            f"{layer}.post_attention_layernorm.weight": _near_one(width),
        }
        own = ("self_attn_layer_scale.scale", "mlp_layer_scale.scale") if scaled else (
            "self_attn.q_norm.weight", "self_attn.k_norm.weight")  # fmt: skip
        made |= {f"{layer}.{norm}": _SHARP * _near_one(width if scaled else head) for norm in own}
    return made


def _decoder(config: dict[str, Any]) -> dict[str, Any]:
    """The decoder's tensors by their published names; the encoder has none."""
    hidden, width = config["hidden_size"], config["decoder_dim"]
    made = {
        **_layers("pre_transformer", config, scaled=True),
        "pre_transformer.input_proj.weight": _random(hidden, _LATENT),
        "pre_transformer.input_proj.bias": _random(hidden),
        "pre_transformer.output_proj.weight": _random(_LATENT, hidden),
        "pre_transformer.output_proj.bias": _random(_LATENT),
        **_convolution("pre_conv", _LATENT, _BOOK, 3),
    }
    for name, count in (("rvq_first", 1), ("rvq_rest", _GROUPS - 1)):
        for projection in ("input_proj", "output_proj"):
            shape = (_BOOK // 2, _BOOK) if projection == "input_proj" else (_BOOK, _BOOK // 2)
            made[f"quantizer.{name}.{projection}.weight"] = _random(*shape, 1)
        for index in range(count):
            book = f"quantizer.{name}.vq.layers.{index}._codebook"
            made[f"{book}.embedding_sum"] = 4 * _random(_CODES, _BOOK // 2)
            made[f"{book}.cluster_usage"] = _near_one(_CODES)
    for index, factor in enumerate(config["upsampling_ratios"]):
        block = f"upsample.{index}"
        made |= {
            **_convolution(f"{block}.0", _LATENT, _LATENT, factor),
            **_convolution(f"{block}.1.dwconv", _LATENT, 1, 7),
            f"{block}.1.norm.weight": _near_one(_LATENT),
            f"{block}.1.norm.bias": _random(_LATENT),
            f"{block}.1.pwconv1.weight": _random(4 * _LATENT, _LATENT),
            f"{block}.1.pwconv1.bias": _random(4 * _LATENT),
            f"{block}.1.pwconv2.weight": _random(_LATENT, 4 * _LATENT),
            f"{block}.1.pwconv2.bias": _random(_LATENT),
            f"{block}.1.gamma": _near_one(_LATENT),
        }
    made |= _convolution("decoder.0", width, _LATENT, 7)
    for index, factor in enumerate(config["upsample_rates"]):
        made |= _stage(f"decoder.{index + 1}.block", width >> index, factor)
    last, end = width >> len(config["upsample_rates"]), len(config["upsample_rates"])
    made |= _snake(f"decoder.{end + 1}", last)
    samples = _convolution(f"decoder.{end + 2}", 1, last, 7)
    made |= {name: _QUIET * tensor for name, tensor in samples.items()}
    return {f"decoder.{name}": tensor for name, tensor in made.items()}


def _stage(block: str, width: int, factor: int) -> dict[str, Any]:
    half = width // 2
    up = {
        f"{block}.1.conv.weight": _random(width, half, 2 * factor),
        f"{block}.1.conv.bias": _STILL * _random(half),
    }
    made = {**_snake(f"{block}.0", width), **up}
    for unit in (2, 3, 4):
        made |= _snake(f"{block}.{unit}.act1", half) | _snake(f"{block}.{unit}.act2", half)
        made |= _convolution(f"{block}.{unit}.conv1", half, half, 7)
        made |= _convolution(f"{block}.{unit}.conv2", half, half, 1)
    return made


def _snake(name: str, width: int) -> dict[str, Any]:
    return {f"{name}.alpha": _near_one(width) - 1, f"{name}.beta": _near_one(width) - 1}


def _convolution(name: str, channels_out: int, channels_in: int, kernel: int) -> dict[str, Any]:
    return {
        f"{name}.conv.weight": _QUIET * _random(channels_out, channels_in, kernel),
        f"{name}.conv.bias": _STILL * _random(channels_out),
    }


def _random(*shape: int) -> Any:
    """Values that keep the size of what they are multiplied with, about."""
    import torch

    return torch.randn(shape) / max(1, torch.Size(shape[1:]).numel()) ** 0.5


def _near_one(width: int) -> Any:
    return 1 + 0.1 * _random(width)


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
