"""An engine of speech without weights."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from models.device.hardware import Device
from models.row import Row
from models.speech.engine import Speaker, Spoken
from models.speech.reading import Phrase
from models.speech.utterance import Utterance

_TONE = {"slug": "tone", "name": "Tone", "gender": "female"}
LANGUAGES = [{"slug": "en-us", "name": "English", "names": ["en"], "voices": [_TONE]}]


class FakeSpeech(Speaker):
    """A tone of a fortieth of a second for each letter; instructions are of no use to it."""

    rate_hz = 24_000
    budget = 8
    unused: ClassVar = {"instructions": "has one tone"}

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.delay_s = float(row.options.get("delay_s", 0.0))

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> FakeSpeech:
        """Nothing to load."""
        return cls(row)

    def kind(self, utterance: Utterance) -> str:
        """All are spoken together."""
        return "any"

    def read(self, text: str, voice: str, language: str) -> Phrase | None:
        """A letter is a token; other signs are not read."""
        count = sum(map(str.isalnum, text))
        return Phrase(count, count, count / 40) if count else None

    def speak(self, batch: Sequence[Utterance]) -> list[Spoken | Exception]:
        """A tone for each."""
        time.sleep(self.delay_s)
        return [self._tone(item) for item in batch]

    def close(self) -> None:
        """Nothing to free."""

    def _tone(self, item: Utterance) -> Spoken:
        import numpy as np

        count = item.line.reading.tokens
        places = np.arange(int(count * self.rate_hz / 40 / item.request.speed))
        return Spoken((0.5 * np.sin(places * 0.1)).astype(np.float32), count)
