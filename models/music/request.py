"""Requests to engines of music, and their answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.leniency import LeftOut


@dataclass(frozen=True)
class Output:
    """How songs are delivered.

    Attributes:
        format: of ``models.sound.formats.FORMATS``.
        is_chosen: whether the client names the format. If not, the bit rate is lowered for
            ``inline_limit_bytes``, too.
        as_base64: whether the limits count base64.
        inline_limit_bytes: of all songs of an answer, where it should be small; None = unlimited.
        limit_bytes: of all songs; an answer beyond it would be lost. None = unlimited.
    """

    format: str = "mp3"
    is_chosen: bool = False
    as_base64: bool = False
    inline_limit_bytes: int | None = None
    limit_bytes: int | None = None


@dataclass(frozen=True)
class MusicRequest:
    """One request for songs.

    Attributes:
        caption: style, instruments, mood.
        lyrics: with marks such as ``[verse]``; None = the model's default.
        seeds: one for each song.
        duration_s: None = the model's default, or the length of ``source``.
        bpm, keyscale, timesignature: None = the model chooses.
        language: of the lyrics.
        steps, guidance, shift: None = the model's default.
        reference: a recording whose timbre the song gets.
        source: a recording that the song covers.
        source_param: the client's name for ``source``, for errors.
        cover_strength: how far a cover keeps to its source, 0 to 1; None = the model's default.
        output: how the songs are delivered.
        strict: whether a field that would change nothing fails the request.
    """

    caption: str
    lyrics: str | None = None
    seeds: tuple[int, ...] = (0,)
    duration_s: float | None = None
    bpm: int | None = None
    keyscale: str | None = None
    timesignature: str | None = None
    language: str | None = None
    steps: int | None = None
    guidance: float | None = None
    shift: float | None = None
    reference: Path | None = None
    source: Path | None = None
    source_param: str = "src_audio"
    cover_strength: float | None = None
    output: Output = Output()
    strict: bool = False


@dataclass(frozen=True, repr=False)
class Song:
    """One encoded song."""

    content: bytes
    seed: int


@dataclass(frozen=True, repr=False)
class Songs:
    """The answer to one request.

    Attributes:
        songs: in the order of the request's seeds.
        format: of ``models.sound.formats.FORMATS``.
        rate_hz: of the samples.
        duration_s: of each song.
        task: ``text2music`` or ``cover``.
        text_tokens: number that the text encoder read.
        sound_tokens: number of latents that all songs have inside the model.
        left_out: warnings about fields that were ignored or adapted.
    """

    songs: tuple[Song, ...]
    format: str
    rate_hz: int
    duration_s: float
    task: str
    text_tokens: int
    sound_tokens: int
    left_out: tuple[LeftOut, ...] = ()
