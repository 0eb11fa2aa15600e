"""Counting tokens without cutting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TokenCounter:
    """Counts the tokens of texts, special ones included.

    It has a copy of the tokenizer, without truncation: counting must see every token, and the
    model's own tokenizer is left truncating after its first use. One that another thread is
    switching fails besides ("Already borrowed").
    """

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Return the length of each text, in tokens."""
        return [len(one.ids) for one in self._tokenizer.encode_batch_fast(list(texts))]
