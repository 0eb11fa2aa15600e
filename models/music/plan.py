"""From a request to the arguments of the pipeline, or to an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models.errors import ContextLengthExceeded, UnsupportedParameter
from models.leniency import Leniency
from models.music import recording
from models.music.delivery import Encoding, chosen
from models.music.request import MusicRequest
from models.row import Row

_LIMITED = (("caption", "text_tokens"), ("lyrics", "lyric_tokens"))
MOST_S = 600.0  # of a recording


@dataclass(frozen=True)
class SongItem:
    """One song of a checked request.

    Attributes:
        seed: of its noise.
        part, parts: index among the request's songs, and their number.
        arguments: of the pipeline.
        sounds: recordings among them, float32 of shape (channels, samples).
        steps: number of them.
        samples: the length of the song.
        encoding: of its file.
    """

    seed: int
    part: int
    parts: int
    arguments: dict[str, Any]
    steps: int
    samples: int
    encoding: Encoding
    sounds: dict[str, Any] = field(default_factory=dict)

    @property
    def work(self) -> int:
        """How much there is to do: samples times steps."""
        return self.samples * self.steps


@dataclass(frozen=True)
class Model:
    """What a plan needs to know of a loaded model.

    Attributes:
        rate_hz: of its samples.
        hop: samples of a latent.
        texts: returns the two texts that the encoder reads, by the arguments of the pipeline.
        count: counts the tokens of texts.
        covers: whether it has the parts that covers need.
    """

    rate_hz: int
    hop: int
    texts: Callable[[dict[str, Any]], Sequence[str]]
    count: Callable[[Sequence[str]], Sequence[int]]
    covers: bool


@dataclass(frozen=True)
class Plan:
    """The songs of a request.

    Attributes:
        items: one for each song.
        task: ``text2music`` or ``cover``.
        tokens: that the text encoder reads.
    """

    items: Sequence[SongItem]
    task: str
    tokens: int


async def planned(request: MusicRequest, row: Row, model: Model, leniency: Leniency) -> Plan:
    """Check a request, decode its recordings, and return an item for each song to be made.

    Raises:
        InvalidValue: the songs would be larger than an answer can be.
        UnsupportedParameter: the model has no parts for covers; of a strict request, also a field
            that would change nothing.
        ContextLengthExceeded: the text encoder would cut the caption or the lyrics.
        MediaUndecodable: a recording cannot be read.
    """
    if row.options.get("distilled") and request.guidance not in (None, 1, 0):
        leniency.leave_out(
            "guidance_scale", f"{row.slug} is distilled, and guidance_scale changes nothing"
        )
    if request.source is not None and not model.covers:
        raise UnsupportedParameter(
            f"{request.source_param}: the weights of {row.slug} lack the parts that make covers; "
            "leave it out.",
            param=request.source_param,
        )
    sounds, seconds = await _sounds(request, row, model, leniency)
    task = "text2music" if request.source is None else "cover"
    language = _language(request, row, leniency)
    arguments = _arguments(request, row, seconds, task, language)
    tokens = _counted(arguments, row, model)
    encoding = chosen(request.output, model.rate_hz, seconds, len(request.seeds), leniency)
    first = SongItem(
        seed=request.seeds[0],
        part=0,
        parts=len(request.seeds),
        arguments=arguments,
        steps=arguments["num_inference_steps"],
        samples=round(seconds * model.rate_hz),
        encoding=encoding,
        sounds=sounds,
    )
    items = [replace(first, seed=seed, part=part) for part, seed in enumerate(request.seeds)]
    return Plan(items, task, tokens)


async def _sounds(
    request: MusicRequest, row: Row, model: Model, leniency: Leniency
) -> tuple[dict[str, Any], float]:
    """Return the pipeline's recordings by their argument, and the length of a song in seconds."""
    sounds: dict[str, Any] = {}
    seconds = request.duration_s
    if request.reference is not None:
        sounds["reference_audio"] = await recording.decode(
            request.reference, "reference_audio", model.rate_hz, MOST_S
        )
    if request.source is None:
        if request.cover_strength is not None:
            leniency.leave_out(
                "audio_cover_strength", "audio_cover_strength is of covers, and nothing is covered"
            )
        return sounds, float(row.defaults["duration"]) if seconds is None else seconds
    source = await recording.decode(request.source, request.source_param, model.rate_hz, MOST_S)
    own_s = float(source.shape[1] / model.rate_hz)
    if seconds is not None and round(seconds, 2) != round(own_s, 2):
        leniency.leave_out("duration", f"A cover has the length of its source, {own_s:.2f} s")
    sounds["src_audio"] = _padded(source, model.hop)
    return sounds, own_s


def _padded(sound: Any, hop: int) -> Any:
    """Return a recording with silence at its end, so that its latents are as long as it is."""
    import numpy as np

    return np.pad(sound, ((0, 0), (0, -sound.shape[1] % hop)))


def _language(request: MusicRequest, row: Row, leniency: Leniency) -> str:
    """Return the language of the lyrics; the model knows no regions."""
    if request.language is None:
        return str(row.defaults["vocal_language"])
    language = re.split("[-_]", request.language)[0].lower()
    if language != request.language.lower():
        leniency.note("vocal_language", f"{request.language} is read as {language}")
    return language


def _arguments(
    request: MusicRequest, row: Row, seconds: float, task: str, language: str
) -> dict[str, Any]:
    """Return the pipeline's arguments; texts are lists, for the cache of prompts."""
    defaults = row.defaults
    lyrics = defaults["lyrics"] if request.lyrics is None else request.lyrics
    arguments: dict[str, Any] = {
        "prompt": [request.caption],
        "lyrics": [lyrics],
        "vocal_language": [language],
        "audio_duration": seconds,
        "num_inference_steps": request.steps or int(defaults["inference_steps"]),
        "shift": request.shift or float(defaults["shift"]),
        "guidance_scale": 1.0,
        "bpm": request.bpm,
        "keyscale": request.keyscale,
        "timesignature": request.timesignature,
        "task_type": task,
        "max_text_length": row.options["text_tokens"],
        "max_lyric_length": row.options["lyric_tokens"],
    }
    if not row.options.get("distilled"):
        guidance = request.guidance
        arguments["guidance_scale"] = defaults["guidance_scale"] if guidance is None else guidance
    if task == "cover" and request.cover_strength is not None:
        arguments["audio_cover_strength"] = request.cover_strength
    return arguments


def _counted(arguments: dict[str, Any], row: Row, model: Model) -> int:
    """Return the tokens of both texts.

    Raises:
        ContextLengthExceeded: the pipeline would cut one of them.
    """
    counts = model.count(model.texts(arguments))
    for count, (param, name) in zip(counts, _LIMITED, strict=True):
        limit = row.options[name]
        if count > limit:
            raise ContextLengthExceeded(
                f"{param} has {count} tokens with what the model adds to it; {row.slug} reads at "
                f"most {limit}. Shorten it.",
                param=param,
            )
    return sum(counts)
