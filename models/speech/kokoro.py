"""Kokoro-82M: 28 English voices, American and British, on onnxruntime.

The text is read by the rules of ``hibari``, which are those of Kokoro's own English. A voice is a
table of styles, one for each number of phonemes; the graph takes phonemes, a style and a speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from models.device.graph import session
from models.device.hardware import Device
from models.row import Row
from models.speech.engine import Speaker, Spoken
from models.speech.english import phrase
from models.speech.reading import Phrase
from models.speech.request import languages_of
from models.speech.sound.tempo import at_tempo
from models.speech.utterance import Utterance

_SLOWEST, _FASTEST = (
    0.5,
    1.0,
)  # that the graph does itself; faster, it slurs
_STYLE = 256  # numbers of a style
_HOP = 600  # samples that the model makes at once, 25 ms


class KokoroSpeaker(Speaker):
    """Kokoro's graph.

    Row options: ``file`` (the graph) and ``voices`` (the folder of their tables), in the folder of
    weights.
    """

    libraries: ClassVar = ("hibari", "onnxruntime", "av", "numpy")
    rate_hz = 24_000
    budget = 1  # a line at a time: requests take turns
    express = True
    unused: ClassVar = {
        "instructions": "speaks in its voice's style, whatever the instructions",
        "max_new_tokens": "makes sound without tokens to count",
    }

    def __init__(self, session: Any, styles: dict[str, Any], rules: Any, row: Row) -> None:
        super().__init__(row)
        self._session = session
        self._styles = styles
        self._american, self._british, self._vocabulary = rules
        # Exports call them input_ids or tokens.
        self._ids = next(
            tensor.name for tensor in session.get_inputs() if tensor.type == "tensor(int64)"
        )

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> KokoroSpeaker:
        """Load the graph, the voices and the dictionaries."""
        import json

        import numpy as np
        from hibari.g2p import ASSETS, G2P

        names = [voice.slug for language in languages_of(row) for voice in language.voices]
        tables = (folder / row.options["voices"] / f"{name}.bin" for name in names)
        styles = [np.fromfile(table, np.float32).reshape(-1, _STYLE) for table in tables]
        vocabulary = json.loads((Path(ASSETS) / "vocab.json").read_text(encoding="utf-8"))
        rules = (G2P(), G2P(british=True), vocabulary)
        graph = session(folder / row.options["file"])
        return cls(graph, dict(zip(names, styles, strict=True)), rules, row)

    def read(self, text: str, voice: str, language: str) -> Phrase | None:
        """Phonemes as the model's ids, as the language has them."""
        rules = self._british if language == "en-gb" else self._american
        return phrase(text, rules, self._vocabulary)

    def speak(self, batch: Sequence[Utterance]) -> list[Spoken | Exception]:
        """Speak a line of each, one after another."""
        return [self._line(item) for item in batch]

    def close(self) -> None:
        """Drop the graph and the voices."""
        self._session = None
        self._styles = {}

    def _line(self, item: Utterance) -> Spoken:
        import numpy as np

        speed = item.request.speed
        own = min(max(speed, _SLOWEST), _FASTEST)
        table = self._styles[item.voice.slug]
        pieces = []
        for ids in item.line.reading.tokens:
            style = table[min(len(ids) - 3, len(table) - 1)]  # by the phonemes, from one on
            feeds = {
                self._ids: np.array([ids], np.int64),
                "style": style[None],
                "speed": np.array([own], np.float32),
            }
            pieces.append(self._session.run(None, feeds)[0].reshape(-1))
        samples = np.concatenate(pieces)
        return Spoken(at_tempo(samples, self.rate_hz, speed / own), len(samples) // _HOP)
