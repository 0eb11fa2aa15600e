"""Counting tokens without truncation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TokenCounter:
    """Counts the tokens of prompts, special ones included.

    It works on a copy of the tokenizer without truncation, because the model's own truncates after
    its first use. Also, a tokenizer fails ("Already borrowed") while another thread changes it.

    Args:
        tokenizer: of transformers.
        thinks: ``enable_thinking`` of the chat template around a prompt; None = no template.
        around: a text with ``{}`` for the prompt, None = nothing stands around it.
        dropped: tokens of ``around`` that the model does not get.
    """

    def __init__(
        self,
        tokenizer: Any,
        thinks: bool | None = None,
        around: str | None = None,
        dropped: int = 0,
    ) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._around = 0
        if thinks is not None:
            empty = tokenizer.apply_chat_template(
                [{"role": "user", "content": ""}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=thinks,
            )
            self._around = len(self._tokenizer.encode(empty).ids)
        elif around is not None:
            self._around = len(self._tokenizer.encode(around.format("")).ids) - dropped

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Return the length of each text, in tokens."""
        return [
            self._around + len(encoding.ids)
            for encoding in self._tokenizer.encode_batch_fast(list(texts))
        ]
