"""Which voice and which language of a model a request means."""

from __future__ import annotations

from models.errors import InvalidValue, shorten
from models.leniency import Leniency
from models.row import Row
from models.speech.request import Language, SpeakRequest, Voice, languages_of

# OpenAI's voices: its clients send one whatever the server.
_OPENAI = frozenset({
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage",
    "shimmer", "verse",
})  # fmt: skip
_ANY = frozenset({"auto", "default", "none"})
_TOLD = 20  # voices named in an error


def choose(request: SpeakRequest, row: Row, leniency: Leniency) -> tuple[Voice, Language]:
    """Return the voice that speaks, and the language that it speaks.

    Raises:
        InvalidValue: the model has no such voice, or does not speak the language.
    """
    wanted = _language(request.language, row, leniency)
    return _voice(request.voice, row, wanted, leniency)


def _language(name: str | None, row: Row, leniency: Leniency) -> Language | None:
    """The language that a request names; None where it names none."""
    if name is None or name.strip().lower() in _ANY:
        return None
    tag = name.strip().lower().replace("_", "-")
    spoken = languages_of(row)
    for language in spoken:
        if tag in {language.slug, language.name.lower(), *language.names}:
            return language
    for language in spoken:
        if tag.partition("-")[0] == language.slug.partition("-")[0]:
            leniency.adapt("language", f"{row.slug} speaks {language.name} for {shorten(name, 20)}")
            return language
    known = ", ".join(f"{language.slug} ({language.name})" for language in spoken)
    raise InvalidValue(
        f"language is {shorten(name, 20)!r}; {row.slug} speaks {known}.",
        param="language",
        code="language_not_supported",
    )


def _voice(
    name: str | None, row: Row, wanted: Language | None, leniency: Leniency
) -> tuple[Voice, Language]:
    spoken = languages_of(row) if wanted is None else (wanted,)
    first = spoken[0].voices[0], spoken[0]
    if name is None or name.strip().lower() in _ANY:
        return first
    for language in (*spoken, *languages_of(row)):
        for voice in language.voices:
            if name.strip().lower() in {voice.slug.lower(), voice.name.lower(), *voice.names}:
                if wanted not in {None, language}:
                    leniency.adapt("language", f"{voice.slug} speaks {language.name}")
                return voice, language
    if name.strip().lower() in _OPENAI:
        leniency.adapt("voice", f"{name.strip()} is a voice of OpenAI's; {first[0].slug} speaks")
        return first
    voices = list(dict.fromkeys(v.slug for language in languages_of(row) for v in language.voices))
    more = f" and {len(voices) - _TOLD} more" if len(voices) > _TOLD else ""
    raise InvalidValue(
        f"{row.slug} has no voice {shorten(name, 40)!r}; it has {', '.join(voices[:_TOLD])}{more}.",
        param="voice",
        code="voice_not_found",
    )
