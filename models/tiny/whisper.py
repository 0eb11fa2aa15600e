"""Whisper large-v3's architecture and token layout, in ctranslate2's format."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from models.tiny.vocabulary import byte_alphabet, filler_words

_TEXT_TOKENS = 50257  # before <|endoftext|>, as in the real vocabulary
_MELS = 128
_FORMAT = {"num_mel_bins": _MELS, "max_source_positions": 1500, "max_target_positions": 448}


def build(into: Path) -> None:
    """Write ``model.bin``, its vocabulary, ``tokenizer.json`` and ``preprocessor_config.json``."""
    from ctranslate2.converters import TransformersConverter

    with TemporaryDirectory() as scratch:
        save(Path(scratch))
        converter = TransformersConverter(
            scratch, copy_files=["tokenizer.json", "preprocessor_config.json"]
        )
        converter.convert(str(into), quantization="float16", force=True)


def save(into: Path) -> None:
    """Write the model in transformers' format."""
    import torch
    from transformers import WhisperForConditionalGeneration

    words = tokenizer()
    model = WhisperForConditionalGeneration(config(words))
    tell(model, words)
    with torch.no_grad():
        _make_talkative(model.model.decoder, words.convert_tokens_to_ids("<|endoftext|>"))
    model.save_pretrained(into)
    words.save_pretrained(into)
    kwargs = {"feature_size": _MELS, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400}
    (into / "preprocessor_config.json").write_text(json.dumps(kwargs, indent=2))


def tell(model: Any, tokenizer: Any) -> None:
    """Set what the converter reads: the heads that align words, and the language tokens."""
    model.generation_config._from_model_config = False  # else the load replaces it
    model.generation_config.alignment_heads = [[1, 0], [1, 1]]
    model.generation_config.lang_to_id = {
        f"<|{code}|>": tokenizer.convert_tokens_to_ids(f"<|{code}|>") for code in _languages()
    }


def _make_talkative(decoder: Any, end: int) -> None:
    """Scale the embeddings so that greedy decoding yields a few words with confidence, and ends.

    Random logits are nearly flat and favour repeating the last token. Whisper's fallback would then
    decode 448 tokens at each of six temperatures. Large position embeddings choose a new word at
    each step, and every twelfth one chooses the end token.
    """
    tokens, positions = decoder.embed_tokens.weight, decoder.embed_positions.weight
    tokens.mul_(60.0)
    positions.mul_(3000.0)
    positions[11::12] = tokens[end] * 40.0


def _languages() -> list[str]:
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    return list(_LANGUAGE_CODES)


def tokenizer() -> Any:
    """Return a tokenizer: bytes, filler words up to the real size, the special tokens in order."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import WhisperTokenizerFast

    pieces = byte_alphabet()
    words = filler_words()
    pieces += [next(words) for _ in range(_TEXT_TOKENS - 1 - len(pieces))]
    # The real multilingual vocabulary has an empty token here, by which ctranslate2 recognises it.
    pieces.append("")
    backend = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    control = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    specials = ["endoftext", "startoftranscript", *_languages(), *control]
    backend.add_special_tokens([f"<|{name}|>" for name in specials])
    times = [f"<|{step * 0.02:.2f}|>" for step in range(1501)]
    backend.add_tokens([AddedToken(time, normalized=False) for time in times])
    return WhisperTokenizerFast(tokenizer_object=backend)


def config(tokenizer: Any, **changes: int) -> Any:
    """Return a configuration of the architecture; ``changes`` override its fields."""
    from transformers import WhisperConfig

    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    tiny = {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
    }
    return WhisperConfig(
        vocab_size=len(tokenizer),
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end + 1,
        **{**tiny, **changes, **_FORMAT},
    )
