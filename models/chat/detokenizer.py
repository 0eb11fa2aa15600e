"""Token ids to text as an answer grows, whole characters only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SEEN_BEFORE = 6  # tokens of the prompt: whole characters, whatever their bytes


class Detokenizer:
    """Turns a growing list of token ids into text, whole characters only.

    A character whose bytes are spread over tokens comes out with the last of them; one that never
    becomes whole does not come out.

    Args:
        backend: of tokenizers.
        hidden: tokens that have no text.
        before: what the answer goes on from; at the beginning of a text, some vocabularies lose
            the space before a word.
    """

    def __init__(
        self, backend: Any, hidden: frozenset[int] = frozenset(), before: Sequence[int] = ()
    ) -> None:
        self._backend = backend
        self._hidden = hidden
        self._stream = self._begin(before[-_SEEN_BEFORE:])

    def push(self, token: int) -> str:
        """Return the text that ``token`` completes, perhaps none."""
        if token in self._hidden:
            return ""
        try:
            return self._stream.step(self._backend, token) or ""
        except Exception:  # noqa: BLE001 - of no other type where what was read changes by a token
            self._stream = self._begin(())
            return self._stream.step(self._backend, token) or ""

    def _begin(self, before: Sequence[int]) -> Any:
        from tokenizers.decoders import DecodeStream

        seen = [token for token in before if token not in self._hidden]
        return DecodeStream(ids=seen, skip_special_tokens=False)
