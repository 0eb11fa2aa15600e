"""Tokenising texts of any length in bounded memory.

Tokenising takes about a hundred times the memory of the text. So texts are tokenised in groups, and
a long text in pieces. A piece ends before a single space between two words, since no tokenizer
makes one token of both sides; if there is no such space, it ends when it is full.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_AT_ONCE_CHARACTERS = 500_000
_CHARACTERS_A_TOKEN = 64  # characters of a piece, for each token of the limit
_SEAM = re.compile(r"(?<=\S) (?=\S)")


@dataclass(frozen=True)
class Counted:
    """The token ids of one text.

    Attributes:
        ids: all of them, or more than the requested number.
        count: number of ids.
        whole: whether these are all tokens of the text.
    """

    ids: Sequence[int]
    count: int
    whole: bool = True


class Counter:
    """Tokenises texts and counts their tokens.

    Args:
        tokenizer: of the ``tokenizers`` library.
        limit: of the model's tokens; tokens far beyond it are not counted.
    """

    def __init__(self, tokenizer: Any, limit: int) -> None:
        self._tokenizer = tokenizer
        self._piece_characters = _CHARACTERS_A_TOKEN * limit

    def count(self, texts: Sequence[str], most: int) -> Iterator[Counted]:
        """Yield the token ids of each text, without special tokens.

        Args:
            texts: the order is kept.
            most: counting a long text stops after the piece in which it exceeds this.
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
