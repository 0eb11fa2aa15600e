"""What the talker reads before it speaks: how to speak, who, in which language, and the text.

Two rows of embeddings are added up: of the text, and of first codes, where the marks of language
and voice are. The text stands whole before the first frame, as the published package has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from models.speech.qwen.networks import Talker
from models.speech.qwen.settings import Settings

_ROLE, _END = "<|im_start|>assistant\n", "<|im_end|>\n"


@dataclass(frozen=True)
class Said:
    """What a line is to say.

    Attributes:
        text: its tokens.
        instructions: the tokens of how to say it; empty = as it comes.
        voice: its slug.
        language: its English name in small letters; ``auto`` = as the text has it.
    """

    text: list[int]
    instructions: list[int]
    voice: str
    language: str


class Reader:
    """Texts as tokens; marks of the model's in a text are its letters."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.role: list[int] = tokenizer(_ROLE).input_ids
        self._before: list[int] = tokenizer("<|im_start|>user\n").input_ids
        self._after: list[int] = tokenizer(_END).input_ids

    def tokens(self, text: str) -> list[int]:
        """Return a text's tokens."""
        ids: list[int] = self._tokenizer(text, split_special_tokens=True).input_ids
        return ids

    def instructions(self, text: str | None) -> list[int]:
        """Return the tokens of instructions as the model takes them; none of none."""
        return [*self._before, *self.tokens(text), *self._after] if text else []


def prompt(talker: Talker, settings: Settings, said: Said, role: list[int]) -> torch.Tensor:
    """Return the embeddings, [1, steps, width]."""
    codes, config = settings.talker, settings.config
    bos, end, pad = talker.texts(
        [config["tts_bos_token_id"], config["tts_eos_token_id"], config["tts_pad_token_id"]]
    ).split(1, 1)
    marks = talker.codes(_marks(settings, said))
    silent = talker.codes([codes["codec_pad_id"]])
    speaks = talker.codes([codes["codec_bos_id"]])
    text = torch.cat([talker.texts(said.text), end], 1) + silent
    how = [talker.texts(said.instructions)] if said.instructions else []
    return torch.cat([*how, talker.texts(role), pad + marks, bos + silent, text, pad + speaks], 1)


def _marks(settings: Settings, said: Said) -> list[int]:
    """The marks of language and voice."""
    codes = settings.talker
    language = settings.language(said.language, said.voice)
    thinks = "codec_nothink_id" if language is None else "codec_think_id"
    named = [] if language is None else [language]
    return [
        codes[thinks], codes["codec_think_bos_id"], *named, codes["codec_think_eos_id"],
        settings.speaker(said.voice),
    ]  # fmt: skip
