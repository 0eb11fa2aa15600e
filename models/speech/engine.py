"""What engines of speech share: a text becomes lines, and their sound a file.

A request is one part, run in slices of a line each: lines of several requests are spoken together
where the model can, each request's in order. A model may take several slices for a line, and hand
over its sound in pieces. No more than a line's samples are kept of what is encoded.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from models.counts import Counts
from models.engine import BatchEngine, Differences
from models.errors import EngineFailed, InvalidValue
from models.leniency import Leniency
from models.operator import Operator
from models.row import Row
from models.sound.encoding import encoder
from models.sound.formats import FORMATS
from models.speech.choices import choose
from models.speech.delivery import check_size
from models.speech.reading import Phrase, read_lines
from models.speech.request import Begun, SpeakRequest, languages_of
from models.speech.sound.joining import level
from models.speech.text.plain import plain
from models.speech.utterance import Utterance
from models.work import Progress, Ticket, Unfinished, Work

MAX_CHARACTERS = 4096  # of a request, OpenAI's limit


@dataclass(frozen=True)
class Spoken:
    """A line's sound, or the next piece of it.

    Attributes:
        samples: of one channel, float32.
        tokens: the model's, that made them.
        ends: whether it is all of the line, or the last piece.
    """

    samples: Any
    tokens: int
    ends: bool = True


class Speaker(BatchEngine):
    """Speaks texts; emits ``Progress``, and ``Begun`` and ``Sound`` for a stream.

    Row options: ``languages`` (see ``models.speech.request.languages_of``), ``max_characters``.

    Attributes:
        rate_hz: of the samples that the model makes.
        unused: fields of a request that the model has no use for, and why.
    """

    libraries: ClassVar[tuple[str, ...]] = ("av", "numpy")
    rate_hz: int
    unused: ClassVar[Mapping[str, str]] = {}

    def __init__(self, row: Row) -> None:
        self.row = row
        self._counts = Counts(
            "speech",
            "characters",
            "sound_seconds",
            "run_seconds",
            "first_sounds",
            "first_sound_seconds",
        )

    @classmethod
    def configured(cls, row: Row, operator: Operator) -> Row:
        """Return the row with the operator's limit on a text."""
        most = operator.speech_characters
        return replace(row, options={**row.options, "max_characters": most})

    @classmethod
    def honours(cls, row: Row) -> Differences:
        """Return the model's voices and languages, and the fields that it has no use for."""
        languages = languages_of(row)
        voices = [voice.slug for language in languages for voice in language.voices]
        return {
            "voice": {"type": "string", "enum": list(dict.fromkeys(voices))},
            "language": {"type": "string", "enum": [language.slug for language in languages]},
            **dict.fromkeys(cls.unused),
        }

    @property
    def counters(self) -> Mapping[str, float]:
        """Characters and seconds so far; see ``Engine``."""
        return self._counts.values

    @abstractmethod
    def read(self, text: str, voice: str, language: str) -> Phrase | None:
        """Read a line; None if there is nothing in it that the model can say."""

    @abstractmethod
    def speak(self, batch: Sequence[Utterance]) -> Sequence[Spoken | Exception | None]:
        """Speak the next line of each request, each at its speed; None: it takes another slice."""

    def prepare(self, request: SpeakRequest) -> Work:
        """Cut the text into lines, and read them.

        Raises:
            InvalidValue: the text is too long, or holds nothing to say; there is no such voice or
                language; the sound would be larger than an answer can be.
            UnsupportedParameter: a strict request has a field that would change nothing.
        """
        leniency = Leniency(request.strict)
        self._check_length(request.text)
        voice, language = choose(request, self.row, leniency)
        for name, reason in self.unused.items():
            if getattr(request, _ATTRIBUTES.get(name, name)) is not None:
                leniency.leave_out(name, f"{self.row.slug} {reason}")
        text, tagged = plain(request.text)
        if tagged:
            leniency.note("input", "Tags such as <speak> are markup; they were left out")
        readings = read_lines(
            text, lambda line: self.read(line, voice.slug, language.slug), self.row, leniency
        )
        rate_hz = request.output.rate_hz or FORMATS[request.output.format].rate_for(self.rate_hz)
        seconds = sum(line.reading.seconds + line.pause_s for line in readings) / request.speed
        check_size(request, rate_hz, seconds)
        output = request.output
        utterance = Utterance(
            request, voice, language, readings, tuple(leniency.left_out), rate_hz, self.rate_hz,
            encoder(output.format, self.rate_hz, rate_hz, streamed=output.streamed),
        )  # fmt: skip
        return Work((utterance,), kind=self.kind(utterance), total=len(readings), sliced=True)

    def kind(self, utterance: Utterance) -> Any:
        """Return what lines that are spoken together share; None = each is spoken alone."""
        return None

    def run(self, batch: Sequence[Ticket[Utterance]]) -> list[Any]:
        """Speak a line of each request; nothing of one that nobody waits for any more."""
        wanted = [ticket for ticket in batch if not ticket.cancelled]
        start = time.monotonic()
        spoken = iter(self.speak([ticket.item for ticket in wanted]) if wanted else ())
        self._counts.add(run_seconds=time.monotonic() - start)
        return [self._add(ticket, next(spoken)) if ticket in wanted else None for ticket in batch]

    def _add(self, ticket: Ticket[Utterance], spoken: Spoken | Exception | None) -> Any:
        """Take the sound of a request's line; returns the whole once it is the last."""
        if spoken is None:
            return Unfinished()
        if isinstance(spoken, Exception):
            return spoken
        item = ticket.item
        begun, first = item.sounding, not (item.place or item.sounding)
        sound = item.heard(spoken.samples, ends=spoken.ends)
        if spoken.ends and not item.sounding:
            return self._silent(item, level(spoken.samples))
        item.sound_tokens += spoken.tokens
        if item.sounding:
            self._hand_over(ticket, sound, begins=not begun, first=first, ends=spoken.ends)
        return item.finished() if item.place == len(item.lines) else Unfinished()

    def _hand_over(
        self, ticket: Ticket[Utterance], sound: Any, *, begins: bool, first: bool, ends: bool
    ) -> None:
        """Encode sound, count it, and tell of it."""
        item = ticket.item
        streamed = item.request.output.streamed
        if first and streamed:
            ticket.emit(Begun(item.rate_hz, item.left_out))
        characters = item.line.characters
        self._counts.add(sound_seconds=len(sound) / self.rate_hz)
        new = item.add(sound, begins=begins, ends=ends)
        if first:
            self._counts.add(first_sounds=1, first_sound_seconds=time.monotonic() - item.begun)
        if streamed:
            ticket.emit(new)
        if ends:
            self._counts.add(characters=characters)
            progress = Progress(0, item.spoken, item.characters, "characters")
            ticket.emit(progress, lasting=False)

    def _silent(self, item: Utterance, loudness: float) -> Exception:
        return EngineFailed(
            f"{self.row.slug} made no sound of sentence {item.line.number} (its level is "
            f"{loudness:.5f} of full scale); put it in other words, or send another seed.",
            param="input",
            code="silent_sound",
        )

    def _check_length(self, text: str) -> None:
        most = self.row.options.get("max_characters", MAX_CHARACTERS)
        if len(text) > most:
            raise InvalidValue(
                f"input has {len(text)} characters, and at most {most} are spoken at once; send it "
                "in parts (the operator raises the limit by SPEECH_MAX_CHARACTERS).",
                param="input",
                code="string_above_max_length",
            )


_ATTRIBUTES = {"max_new_tokens": "max_tokens"}
