"""A request as it is spoken, sentence by sentence: what is to come, and the sound so far."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from models.leniency import LeftOut
from models.sound.encoding import Encoder
from models.speech.request import Language, Output, Sound, SpeakRequest, Speech, Voice
from models.speech.sound.joining import Edges, silence, trimmed

_LEAD_S = 0.05  # of silence before the first sentence, and behind the last: players cut them short


@dataclass(frozen=True)
class Line:
    """A piece of the text that is spoken at once.

    Attributes:
        reading: as the engine reads it.
        characters: of the text.
        tokens: as the model counts it.
        number: of the sentence that it is of, from 1.
        pause_s: of silence behind it.
    """

    reading: Any
    characters: int
    tokens: int
    number: int
    pause_s: float


@dataclass
class Utterance:
    """A request while it is spoken; a line that failed can be spoken again.

    Attributes:
        request: as it came.
        voice, language: what it means.
        lines: what is spoken.
        left_out: what the client is to know.
        rate_hz: of the file.
        source_hz: of the samples that the model makes.
        encoder: takes the sound.
        place: of the next line.
        spoken: characters so far.
        characters: of all lines.
        sound_tokens: made so far.
        begun: by ``time.monotonic``, when it was understood.
        content: the bytes so far.
        sounding: whether something was heard of the next line.
        state: what an engine keeps of the next line, once it has begun it.
    """

    request: SpeakRequest
    voice: Voice
    language: Language
    lines: Sequence[Line]
    left_out: tuple[LeftOut, ...]
    rate_hz: int
    source_hz: int
    encoder: Encoder
    place: int = 0
    spoken: int = 0
    sound_tokens: int = 0
    begun: float = field(default_factory=time.monotonic)
    content: bytearray = field(default_factory=bytearray)
    sounding: bool = False
    state: Any = None
    characters: int = field(init=False)
    _edges: Edges | None = None

    def __post_init__(self) -> None:
        """Count the characters, once."""
        self.characters = sum(line.characters for line in self.lines)

    @property
    def line(self) -> Line:
        """The line that is next."""
        return self.lines[self.place]

    def heard(self, samples: Any, *, ends: bool) -> Any:
        """Return the next line's sound without the silence around it, as far as that is known.

        Args:
            samples: the next piece of the line, or all of it.
            ends: whether it is the last.
        """
        speed = self.request.speed
        if ends and self._edges is None:
            sound = trimmed(samples, self.source_hz, speed)
        else:
            self._edges = self._edges or Edges(self.source_hz, speed)
            sound = self._edges.push(samples, ends=ends)
        if ends:
            self._edges = None
        self.sounding = self.sounding or bool(len(sound))
        return sound

    def add(self, samples: Any, *, begins: bool = True, ends: bool = True) -> Sound:
        """Take sound of the next line; returns what of the file is new.

        Args:
            samples: without silence around the line, at ``source_hz``.
            begins: whether they are the line's first.
            ends: whether they are its last.
        """
        import numpy as np

        line, last = self.line, self.place == len(self.lines) - 1
        speed = self.request.speed
        before_s = _LEAD_S / speed if begins and not self.place else 0.0
        after_s = (_LEAD_S if last else line.pause_s) / speed if ends else 0.0
        around = silence(before_s, self.source_hz), silence(after_s, self.source_hz)
        new = self.encoder.push(np.concatenate([around[0], samples, around[1]]))
        if ends:
            new += self.encoder.close() if last else b""
            self.place += 1
            self.spoken += line.characters
            self.sounding, self.state = False, None
        self.content += new
        return Sound(new)

    def finished(self) -> Speech:
        """Return the whole."""
        output: Output = self.request.output
        return Speech(
            content=bytes(self.content),
            format=output.format,
            rate_hz=self.rate_hz,
            duration_s=self.encoder.duration_s,
            voice=self.voice.slug,
            text_tokens=sum(line.tokens for line in self.lines),
            sound_tokens=self.sound_tokens,
            left_out=self.left_out,
        )
