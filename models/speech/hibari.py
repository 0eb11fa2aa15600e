"""Hibari: a small English voice, distilled from Kokoro, on onnxruntime.

The package's own rules read the text (numbers, dates, abbreviations, words that no dictionary has),
and its own signal processing makes the sound; the graph comes from the row's weights. One voice is
in the package, and none is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from models.device.hardware import Device
from models.row import Row
from models.speech.engine import Speaker, Spoken
from models.speech.english import phrase
from models.speech.reading import Phrase
from models.speech.sound.tempo import at_tempo
from models.speech.utterance import Utterance

_SLOWEST, _FASTEST = (
    0.5,
    1.0,
)  # that the graph does itself; faster, it slurs
_HOP = 300  # samples that the model makes at once, 12.5 ms


class HibariSpeaker(Speaker):
    """Hibari's graph; row option ``file``: the graph in the folder of weights."""

    libraries: ClassVar = ("hibari", "onnxruntime", "av", "numpy")
    rate_hz = 24_000
    budget = 1  # a line at a time: requests take turns
    express = True
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
        engine = cls(Hibari(model=str(folder / row.options["file"]), threads=1), row)
        engine.read("Ready.", "", "")  # the dictionaries are read at first use
        return engine

    def read(self, text: str, voice: str, language: str) -> Phrase | None:
        """Phonemes as the model's ids."""
        return phrase(text, self._model.g2p, self._model.vocab)

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
        seed = None if item.request.seed is None else [item.request.seed, item.place]
        rng = np.random.default_rng(seed)
        pieces = [self._model.from_ids(ids, own, rng) for ids in item.line.reading.tokens]
        samples = np.concatenate(pieces)
        return Spoken(at_tempo(samples, self.rate_hz, speed / own), len(samples) // _HOP)
