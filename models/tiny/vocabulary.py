"""Vocabularies that need no training: bytes, characters and filler words."""

from __future__ import annotations

import string
from collections.abc import Iterator
from itertools import product


def byte_alphabet() -> list[str]:
    """Return the 256 printable characters that stand for bytes in byte-level BPE, sorted."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def unigram_characters(specials: list[str]) -> list[tuple[str, float]]:
    """Return a Unigram vocabulary of single characters, as (piece, log probability)."""
    pieces = ["▁", *string.ascii_letters, *string.digits, *string.punctuation]
    return [(piece, 0.0) for piece in specials] + [(piece, -3.0) for piece in pieces]


def filler_words() -> Iterator[str]:
    """Yield pronounceable words, so that random output is readable: ``Ġbaba``, ``Ġbabe``."""
    syllables = [c + v for c, v in product("bdfgklmnprstvz", "aeiou")]
    for count in (2, 3, 4):
        for parts in product(syllables, repeat=count):
            yield "Ġ" + "".join(parts)
