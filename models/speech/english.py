"""English text as Kokoro's phonemes, by the rules of ``hibari``: misaki's, without espeak."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

from models.speech.reading import Phrase

_LONGEST = 400  # phonemes that are spoken at once; Kokoro takes 510
_PHONEME_S = 0.075
_DIGITS = re.compile(r"\d{13,}")  # longer than any number has a name
_RUN = re.compile(r"([^\w\s])\1{3,}")  # of punctuation: one says as much
_PUNCTUATION = frozenset(';:,.!?—…"“”() ')


def phrase(text: str, rules: Callable[[str], str], vocabulary: Mapping[str, int]) -> Phrase | None:
    """Read a line: the model's ids, in pieces that it can take; None if there is nothing to say.

    Args:
        text: the line.
        rules: from a line to phonemes.
        vocabulary: the ids of phonemes; 0 stands at both ends of a piece.
    """
    readable, unread = readable_letters(text)
    pieces = bounded(rules(readable))
    if not any(set(piece) - _PUNCTUATION for piece in pieces):
        return None
    ids = [
        [0, *(vocabulary[letter] for letter in piece if letter in vocabulary), 0]
        for piece in pieces
    ]
    count = sum(len(piece) - 2 for piece in ids)
    return Phrase(ids, count, count * _PHONEME_S, unread)


def readable_letters(text: str) -> tuple[str, int]:
    """A text without letters that English has no reading for, and how many those are."""
    text = _RUN.sub(r"\1", _DIGITS.sub(lambda run: " ".join(run[0]), text))
    text = unicodedata.normalize("NFKC", text)
    kept = [letter for letter in text if not letter.isalnum() or _is_readable(letter)]
    return "".join(kept), len(text) - len(kept)


def _is_readable(character: str) -> bool:
    if character.isdigit():
        return character.isascii()
    return character.isascii() or unicodedata.name(character, "").startswith("LATIN")


def bounded(phonemes: str) -> list[str]:
    """Phonemes in pieces of at most 400, cut between words where there are any."""
    pieces = []
    while len(phonemes) > _LONGEST:
        cut = phonemes.rfind(" ", 0, _LONGEST)
        cut = cut if cut > 0 else _LONGEST
        pieces.append(phonemes[:cut].strip())
        phonemes = phonemes[cut:].strip()
    return [piece for piece in (*pieces, phonemes) if piece]
