"""The lines of a text, read by a model: what it cannot say is left out, and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.errors import InvalidValue
from models.leniency import Leniency
from models.row import Row
from models.speech.request import languages_of
from models.speech.text.sentences import Sentence, split
from models.speech.utterance import Line


@dataclass(frozen=True)
class Phrase:
    """A line as a model reads it.

    Attributes:
        tokens: the model's own.
        count: of them.
        seconds: that it will take to say, about, at the voice's own speed.
        unread: how many letters the model cannot read and leaves out.
    """

    tokens: Any
    count: int
    seconds: float
    unread: int = 0


def read_lines(
    text: str, read: Callable[[str], Phrase | None], row: Row, leniency: Leniency
) -> list[Line]:
    """Read every line of a text.

    Args:
        text: plain.
        read: reads a line; None if there is nothing in it that the model can say.
        row: of the model.
        leniency: is told of what is left out.

    Raises:
        InvalidValue: nothing can be said, or a sentence cannot be read.
    """
    lines: list[Line] = []
    skipped: list[int] = []
    unread = 0
    for sentence in split(text):
        reading = _reading(sentence, read, row)
        if reading is None:
            skipped += [sentence.number] if any(map(str.isalnum, sentence.text)) else []
            continue
        unread += reading.unread
        lines.append(
            Line(reading, len(sentence.text), reading.count, sentence.number, sentence.pause_s)
        )
    if not lines:
        spoken = [language.name for language in languages_of(row) if language.slug != "auto"]
        raise InvalidValue(
            f"input holds nothing that {row.slug} can say; it speaks {', '.join(spoken)}.",
            param="input",
            code="nothing_to_speak",
        )
    if skipped:
        told = ", ".join(map(str, dict.fromkeys(skipped[:10])))
        leniency.adapt("input", f"{row.slug} cannot read sentence {told}; it was left out")
    if unread:
        leniency.adapt("input", f"{row.slug} cannot read {unread} letters; it left them out")
    return lines


def _reading(sentence: Sentence, read: Callable[[str], Phrase | None], row: Row) -> Phrase | None:
    """Read a sentence.

    Raises:
        InvalidValue: what reads it fails; names the sentence.
    """
    try:
        return read(sentence.text)
    except Exception as error:  # the boundary to a library of rules, which fail in any way
        raise InvalidValue(
            f"{row.slug} fails to read sentence {sentence.number} of the input; put it in other "
            "words.",
            param="input",
            code="unreadable_text",
        ) from error
