"""Qwen3-TTS on a GPU: nine voices, ten languages, and how to speak in words.

Lines of all requests are spoken together, a second of sound at a time; a line that comes joins
those that are under way. Codes become sound at once, which a streamed request gets as it is made.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from models.device.hardware import Device
from models.errors import EngineFailed, InvalidValue
from models.leniency import LeftOut
from models.row import Row
from models.speech.engine import Speaker, Spoken
from models.speech.qwen.line import Voiced, frames_for
from models.speech.qwen.settings import Settings
from models.speech.reading import Phrase
from models.speech.request import SpeakRequest, languages_of
from models.speech.sound.tempo import at_tempo
from models.speech.utterance import Utterance
from models.work import Work

_TOKEN_S = 0.3  # of sound for a token of text, about
_FRAMES, _FIRST_FRAMES = 12, 6  # of a slice, and where a listener waits for the first sound
_MOST_INSTRUCTIONS = 512  # tokens
_SEEDS = 2**63
_NEXT = 0x9E3779B97F4A7C15  # between the seeds of lines: an odd number, so that none repeats


class QwenSpeaker(Speaker):
    """A checkpoint with voices of its own (CustomVoice).

    The row names the languages in English; the first of them is Auto, which is as the text has it.
    """

    libraries: ClassVar = ("torch", "transformers", "safetensors", "av", "numpy")
    rate_hz = 24_000
    capacity = 8

    def __init__(self, row: Row, reader: Any, generation: Any, codec: Any) -> None:
        super().__init__(row)
        self.budget = self.capacity
        self._reader, self._generation, self._codec = reader, generation, codec
        self._names = {language.slug: language.name.lower() for language in languages_of(row)}

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> QwenSpeaker:
        """Load both networks.

        Raises:
            ValueError: the folder holds another kind of Qwen3-TTS.
            WeightsUnavailable: the checkpoint is broken.
        """
        import torch
        from transformers import AutoTokenizer

        from models.quiet import hush
        from models.speech.qwen import weights
        from models.speech.qwen.generation import Generation
        from models.speech.qwen.prompt import Reader

        hush("transformers")
        settings = Settings.read(folder)
        reader = Reader(AutoTokenizer.from_pretrained(folder))
        with torch.inference_mode():
            # Of weights in bfloat16, float16 overflows.
            precise = device.wanted_dtype is None and not device.bf16
            dtype = torch.float32 if precise else getattr(torch, device.dtype)
            talker = weights.talker(folder, settings, device.kind, dtype)
            codec = weights.codec(folder, settings, device.kind)
            return cls(row, reader, Generation(talker, settings, reader.role), codec)

    def prepare(self, request: SpeakRequest) -> Work:
        """Cut the text into lines, and read them.

        Raises:
            InvalidValue: as ``Speaker.prepare``; the instructions are too long.
            UnsupportedParameter: as ``Speaker.prepare``.
        """
        count = len(self._reader.instructions(request.instructions))
        if count > _MOST_INSTRUCTIONS:
            raise InvalidValue(
                f"instructions have {count} tokens, and {self.row.slug} reads at most "
                f"{_MOST_INSTRUCTIONS}.",
                param="instructions",
                code="string_above_max_length",
            )
        return super().prepare(request)

    def kind(self, utterance: Utterance) -> str:
        """All are spoken together."""
        return "any"

    def read(self, text: str, voice: str, language: str) -> Phrase | None:
        """Tokens of the text; only one with letters or digits is said."""
        if not any(map(str.isalnum, text)):
            return None
        tokens = self._reader.tokens(text)
        return Phrase(tokens, len(tokens), len(tokens) * _TOKEN_S)

    def speak(self, batch: Sequence[Utterance]) -> list[Spoken | Exception | None]:
        """Speak a slice of a line of each."""
        import torch

        try:
            with torch.inference_mode():
                self._go_on(batch)
                return [self._piece(item) for item in batch]
        except BaseException:
            for item in batch:  # half of a slice is of no use: who can, begins the line anew
                item.state = None
            raise

    def close(self) -> None:
        """Drop the networks."""
        self._generation = self._codec = None

    def _go_on(self, batch: Sequence[Utterance]) -> None:
        """Make the next frames of each, and their sound."""
        awaited = False
        for item in batch:
            if item.state is None:
                item.state = self._begun(item)
                awaited = awaited or (item.place == 0 and _in_pieces(item))
        lines: list[Voiced] = [item.state for item in batch]
        frames = min(_FIRST_FRAMES if awaited else _FRAMES, *(line.left for line in lines))
        self._generation.go_on([line.generated for line in lines], frames)
        for line in lines:
            for codes in line.generated.taken():
                line.hear(self._codec(codes, line.sounded).cpu().numpy(), len(codes))

    def _begun(self, item: Utterance, attempt: int = 0) -> Voiced:
        from models.speech.qwen.prompt import Said

        request, reading = item.request, item.line.reading
        said = Said(
            text=reading.tokens,
            instructions=self._reader.instructions(request.instructions),
            voice=item.voice.slug,
            language=self._names[item.language.slug],
        )
        seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
        seed = (seed + item.place * _NEXT) % _SEEDS
        generated = self._generation.begin(said, seed)
        most = frames_for(reading.seconds)
        return Voiced(generated, self._codec.begin(), most, request.max_tokens, attempt)

    def _piece(self, item: Utterance) -> Spoken | Exception | None:
        """What a line has for its reader after a slice."""
        line: Voiced = item.state
        if line.runaway is not None:
            return self._again(item, line)
        if line.ended:
            self._note_cut(item, line)
            sound = at_tempo(line.taken(), self.rate_hz, item.request.speed)
            return Spoken(sound, line.count)
        if not _in_pieces(item):
            return None
        return Spoken(line.taken(), 0, ends=False)

    def _again(self, item: Utterance, line: Voiced) -> Exception | None:
        """Say a line once more that has no end, by other chance; or fail it by name."""
        if item.request.seed is None and line.attempt == 0 and not item.sounding:
            item.state = self._begun(item, attempt=1)
            return None
        return EngineFailed(
            f"{self.row.slug} found no end of sentence {item.line.number}: it {line.runaway}; put "
            "it in other words, or send another seed.",
            param="input",
            code="endless_sound",
        )

    def _note_cut(self, item: Utterance, line: Voiced) -> None:
        if line.cut:
            note = f"Sentence {item.line.number} was cut after {line.count} tokens."
            item.left_out = (*item.left_out, LeftOut("max_new_tokens", note))


def _in_pieces(item: Utterance) -> bool:
    """Whether a line's sound leaves as it is made; another speed needs the whole line."""
    return item.request.output.streamed and item.request.speed == 1.0
