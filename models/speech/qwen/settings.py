"""What a repository of Qwen3-TTS says about its model: tokens, voices, languages, sampling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FRAMES_PER_S = 12.5
# What the published package samples by where a repository says nothing.
_SAMPLING: Mapping[str, Any] = {
    "do_sample": True, "temperature": 0.9, "top_k": 50, "top_p": 1.0, "repetition_penalty": 1.05,
    "subtalker_dosample": True, "subtalker_temperature": 0.9, "subtalker_top_k": 50,
    "subtalker_top_p": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """How a code is chosen.

    Attributes:
        sampled: at random; else the likeliest.
        temperature, top_k, top_p: as in transformers.
    """

    sampled: bool
    temperature: float
    top_k: int
    top_p: float


@dataclass(frozen=True)
class Settings:
    """A model as its files describe it.

    Attributes:
        config: ``config.json``.
        codec: the part of ``speech_tokenizer/config.json`` about the decoder.
        first: how a frame's first code is chosen.
        others: how its other codes are.
        repetition_penalty: of first codes that the line has already.
    """

    config: Mapping[str, Any]
    codec: Mapping[str, Any]
    first: Choice
    others: Choice
    repetition_penalty: float

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Read the files of a repository.

        Raises:
            ValueError: the model speaks in no voices of its own, or has another tokenizer of sound.
        """
        config = _json(folder / "config.json")
        codec = _json(folder / "speech_tokenizer/config.json")
        kind, tokenizer = config.get("tts_model_type"), codec.get("model_type")
        if kind != "custom_voice" or tokenizer != "qwen3_tts_tokenizer_12hz":
            raise ValueError(f"a model of kind {kind} with {tokenizer} is not served here")
        file = folder / "generation_config.json"
        given = {**_SAMPLING, **(_json(file) if file.is_file() else {})}
        first = (given["do_sample"], given["temperature"], given["top_k"], given["top_p"])
        others = tuple(
            given[f"subtalker_{name}"] for name in ("dosample", "temperature", "top_k", "top_p")
        )
        return cls(
            config, codec["decoder_config"], Choice(*first), Choice(*others),
            given["repetition_penalty"],
        )  # fmt: skip

    @property
    def talker(self) -> Mapping[str, Any]:
        """The part of the configuration about the talker."""
        part: Mapping[str, Any] = self.config["talker_config"]
        return part

    @property
    def end(self) -> int:
        """The first code that ends a line."""
        return int(self.talker["codec_eos_token_id"])

    def speaker(self, voice: str) -> int:
        """Return the token of a voice."""
        token = self.talker["spk_id"][voice.lower()]
        return int(token[0] if isinstance(token, list) else token)

    def language(self, name: str, voice: str) -> int | None:
        """Return the token of a language by its English name; None for ``auto``.

        A voice of a dialect speaks it where Chinese or nothing is asked for.
        """
        tokens = self.talker["codec_language_id"]
        dialect = self.talker["spk_is_dialect"].get(voice.lower())
        if dialect and name in {"auto", "chinese"}:
            name = dialect
        return None if name == "auto" else int(tokens[name])


def _json(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return read
