"""Hibari: a small English voice, distilled from Kokoro, on onnxruntime.

The package's own rules read the text (numbers, dates, abbreviations, words that no dictionary has),
and its own signal processing makes the sound; the graph comes from the row's weights. One voice is
in the package, and none is ever downloaded.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from models.device.hardware import Device
from models.row import Row
from models.speech.engine import Phrase, Speaker, Spoken
from models.speech.sound.tempo import at_tempo
from models.speech.utterance import Utterance

_SLOWEST, _FASTEST = 0.5, 1.4  # that the model does itself; faster, its sounds run together
_HOP = 300  # samples that the model makes at once, 12.5 ms
_LONGEST = 400  # phonemes that are spoken at once; twice as many are beyond what it has learnt
_PHONEME_S = 0.075
_DIGITS = re.compile(r"\d{13,}")  # longer than any number has a name
_RUN = re.compile(r"([^\w\s])\1{3,}")  # of punctuation: one says as much
_PUNCTUATION = frozenset(';:,.!?—…"“”() ')


class HibariSpeaker(Speaker):
    """Hibari's graph; row option ``file``: the graph in the folder of weights."""

    libraries: ClassVar = ("hibari", "onnxruntime", "av", "numpy")
    rate_hz = 24_000
    budget = 1  # a line at a time: requests take turns
    unused: ClassVar = {
        "instructions": "speaks in one style, whatever the instructions",
        "max_new_tokens": "makes sound without tokens to count",
    }

    def __init__(self, model: Any, row: Row) -> None:
        super().__init__(row)
        self._model = model

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> HibariSpeaker:
        """Load the graph and the dictionaries."""
        from hibari import Hibari

        # One thread makes 120 seconds of sound in one; two spin and make fewer.
        model = Hibari(model=str(folder / row.options["file"]), threads=1)
        engine = cls(model, row)
        engine.read("Ready.", "", "")  # the dictionaries are read at first use
        return engine

    def read(self, text: str, voice: str, language: str) -> Phrase | None:
        """Phonemes as the model's ids, in pieces that it can take."""
        readable, unread = readable_letters(text)
        phonemes = [piece for one in self._model.phonemize(readable) for piece in bounded(one)]
        if not any(set(piece) - _PUNCTUATION for piece in phonemes):
            return None
        ids = [self._model.ids(piece) for piece in phonemes]
        count = sum(len(one) - 2 for one in ids)
        return Phrase(ids, count, count * _PHONEME_S, unread)

    def speak(self, batch: Sequence[Utterance]) -> list[Spoken | Exception]:
        """Speak a line of each, one after another."""
        return [self._line(item) for item in batch]

    def close(self) -> None:
        """Drop the graph."""
        self._model = None

    def _line(self, item: Utterance) -> Spoken:
        import numpy as np

        speed = item.request.speed
        own = min(max(speed, _SLOWEST), _FASTEST)
        seed = None if item.request.seed is None else [item.request.seed % 2**63, item.place]
        rng = np.random.default_rng(seed)
        pieces = [self._model.from_ids(ids, own, rng) for ids in item.line.reading.tokens]
        samples = np.concatenate(pieces)
        return Spoken(at_tempo(samples, self.rate_hz, speed / own), len(samples) // _HOP)


def readable_letters(text: str) -> tuple[str, int]:
    """A text without letters that English has no reading for, and how many those are."""
    text = _RUN.sub(r"\1", _DIGITS.sub(lambda run: " ".join(run[0]), text))
    text = unicodedata.normalize("NFKC", text)
    kept = [one for one in text if not one.isalnum() or _is_readable(one)]
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
