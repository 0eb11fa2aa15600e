"""Counting tokens without cutting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TokenCounter:
    """Counts the tokens of prompts, special ones included.

    It has a copy of the tokenizer, without truncation: counting must see every token, and the
    model's own tokenizer is left truncating after its first use. One that another thread is
    switching fails besides ("Already borrowed").

    Args:
        tokenizer: of transformers.
        thinks: for its chat template, which is laid around a prompt; None = it is not.
    """

    def __init__(self, tokenizer: Any, thinks: bool | None = None) -> None:
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

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Return the length of each text, in tokens."""
        return [
            self._around + len(one.ids) for one in self._tokenizer.encode_batch_fast(list(texts))
        ]
