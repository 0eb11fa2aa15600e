"""Token ids of texts of any length, in bounded memory.

Tokenising takes some hundred times the memory of its text. So texts are tokenised some at a time,
and a long text in pieces, which end before a single blank between two words: no tokenizer makes one
token of what stands on both sides of it. Where a piece has no such place, it ends where it is full.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_AT_ONCE_CHARACTERS = 500_000
_CHARACTERS_A_TOKEN = 64  # a text with fewer characters for each token of the limit is one piece
_SEAM = re.compile(r"(?<=\S) (?=\S)")


@dataclass(frozen=True)
class Counted:
    """The token ids of one text.

    Attributes:
        ids: all of them, or at least as many as were asked for.
        count: how many were counted.
        whole: whether the text has no more than those.
    """

    ids: Sequence[int]
    count: int
    whole: bool = True


class Counter:
    """Tokenises, and counts.

    Args:
        tokenizer: of the ``tokenizers`` library.
        limit: the most tokens that the model reads: what lies far beyond is not counted.
    """

    def __init__(self, tokenizer: Any, limit: int) -> None:
        self._tokenizer = tokenizer
        self._piece_characters = _CHARACTERS_A_TOKEN * limit

    def count(self, texts: Sequence[str], most: int) -> Iterator[Counted]:
        """Yield the token ids of each text, without special tokens.

        Args:
            texts: in their order.
            most: how many tokens are of interest. A text with more is read to the end of a piece.
        """
        start = 0
        while start < len(texts):
            if len(texts[start]) > self._piece_characters:
                yield self._long(texts[start], most)
                start += 1
                continue
            end, characters = start, 0
            while end < len(texts) and (end == start or characters < _AT_ONCE_CHARACTERS):
                if len(texts[end]) > self._piece_characters:
                    break
                characters += len(texts[end])
                end += 1
            for ids in self._ids(texts[start:end]):
                yield Counted(ids, len(ids))
            start = end

    def _long(self, text: str, most: int) -> Counted:
        ids: list[int] = []
        for piece, is_last in pieces(text, self._piece_characters):
            [more] = self._ids([piece])
            ids += more
            if len(ids) > most:
                return Counted(ids, len(ids), is_last)
        return Counted(ids, len(ids))

    def _ids(self, texts: Sequence[str]) -> list[Sequence[int]]:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]


def pieces(text: str, characters: int) -> Iterator[tuple[str, bool]]:
    """Yield a text in pieces of at most so many characters, and whether each is the last."""
    start = 0
    while len(text) - start > characters:
        end = start + characters
        for seam in _SEAM.finditer(text, start + characters // 2, end):
            end = seam.start()
        yield text[start:end], False
        start = end
    yield text[start:], True
