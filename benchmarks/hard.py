"""Recordings that are hard to transcribe, with their texts and times."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.report import figures, table
from benchmarks.sounds import GERMAN, SECOND, Track, music, muxed, noise, silence
from benchmarks.speech import Speech, word_error_rate, write
from models.transcribe.audio.rate import RATE_HZ
from models.transcribe.whisper.selftest import CLIP

MODES = ("sequential", "batched")


@dataclass(frozen=True)
class Clip:
    """A sentence as samples, and when its speech begins and ends, by its envelope."""

    samples: Any
    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Case:
    """A recording.

    Attributes:
        name: what is hard about it.
        path: its file.
        text: the spoken text.
        said: when each sentence begins and ends.
        language: the spoken language.
        asked: fields of the request.
    """

    name: str
    path: Path
    text: str
    said: Sequence[tuple[float, float]]
    language: str = "en"
    asked: Mapping[str, Any] = field(default_factory=dict)


def clips() -> tuple[Clip, Clip, Clip]:
    """Return two English sentences and some German ones."""
    dashwood = (
        "And Mr. John Dashwood had then leisure to consider how much there might be prudently in "
        "his power to do for them."
    )
    german = (
        "Guten Morgen, meine Damen und Herren. Ich heiße Peter und komme aus Berlin. Heute ist "
        "Montag."
    )
    return (
        Clip(decoded(CLIP), dashwood, 0.2, 6.9),
        Clip(decoded(SECOND), "He might even have been made amiable himself.", 0.2, 3.1),
        Clip(decoded(GERMAN), german, 0.1, 7.8),
    )


def cases(folder: Path) -> Iterator[Case]:
    """Make the recordings; they need only files of the repository."""
    first, second, german = clips()
    before = {
        "silence": silence(35),
        "white noise": noise(35, 0.05),
        "pink noise": noise(35, 0.1, 0.5),
        "brown noise": noise(35, 0.1, 1),
        "music": music(35),
    }
    for name, sound in before.items():
        yield joined(folder, f"35 s of {name} first", [sound, german], language="de")
    yield joined(folder, "4 minutes of noise first", [noise(240, 0.03, 1), first])
    yield joined(folder, "13 s of silence between", [first, silence(13), second])
    yield joined(folder, "25 s of silence between", [first, silence(25), second])
    yield joined(folder, "silences of 4 s", [second, silence(4), first, silence(4), second])
    prompt = "A glossary: Dashwood, Willoughby, Barton Cottage, Norland Park, Colonel Brandon."
    asked = {"prompt": prompt}
    yield joined(folder, "a prompt, and 50 s of silence", [first, silence(50)], asked=asked)
    yield from uneven(folder, first, second)
    for name, gains in (("80 dB below full scale", [1e-4]), ("channels that cancel", [1, -1])):
        path = folder / f"{name}.wav"
        floats(path, np.stack([first.samples.astype(np.float32) / 32768 * gain for gain in gains]))
        yield case(name, path, [(first, 0.0)])


def uneven(folder: Path, first: Clip, second: Clip) -> Iterator[Case]:
    """Make files with irregular clocks, tracks or links."""
    length = len(first.samples) / RATE_HZ
    both = np.concatenate([first.samples, second.samples])
    path = muxed(folder / "hole.webm", [Track(both, hole=(length, 5.0))])
    yield case("a hole of 5 s in the clock", path, [(first, 0.0), (second, length + 5)])
    path = muxed(folder / "late.mp4", [Track(second.samples, "aac", starts_s=5.0)], picture_s=20)
    yield case("sound 5 s behind the picture", path, [(second, 5.0)])
    path = muxed(folder / "tracks.mkv", [Track(silence(length)), Track(first.samples)])
    yield case("a silent track first", path, [(first, 0.0)])
    links = [
        muxed(folder / f"{codec}.ogg", [Track(clip.samples, codec, rate)]).read_bytes()
        for clip, codec, rate in ((first, "libopus", 48000), (second, "flac", 44100))
    ]
    path = folder / "chained.ogg"
    path.write_bytes(b"".join(links))
    yield case("Ogg whose links differ", path, [(first, 0.0), (second, length)])


def joined(folder: Path, name: str, parts: Sequence[Any], **more: Any) -> Case:
    """Return a recording of clips and other sounds, one after the other."""
    sounds = [part.samples if isinstance(part, Clip) else part for part in parts]
    starts = np.cumsum([0, *map(len, sounds)])[:-1] / RATE_HZ
    path = write(folder / f"{name}.wav", np.concatenate(sounds))
    said = zip(parts, starts.tolist(), strict=True)
    return case(name, path, [pair for pair in said if isinstance(pair[0], Clip)], **more)


def case(name: str, path: Path, said: Sequence[tuple[Clip, float]], **more: Any) -> Case:
    """Return a recording with clips that begin at the given seconds."""
    times = [(at + clip.start_s, at + clip.end_s) for clip, at in said]
    return Case(name, path, " ".join(clip.text for clip, _ in said), times, **more)


def decoded(path: Path) -> Any:
    """Return a file's samples: int16, 16 kHz, mono."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", RATE_HZ)
        frames = [
            out for frame in container.decode(audio=0) for out in resampler.resample(frame)
        ] + resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def floats(path: Path, channels: Any) -> None:
    """Write a WAV of 32-bit floats, shape (channels, samples)."""
    layout = "mono" if len(channels) == 1 else "stereo"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE_HZ, layout=layout)
        content = np.ascontiguousarray(channels.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(content, "flt", layout)
        frame.sample_rate = RATE_HZ
        container.mux([*stream.encode(frame), *stream.encode(None)])


@dataclass(frozen=True)
class Outcome:
    """The transcription of a recording, compared with its text and times.

    Attributes:
        language: the detected language.
        wrong: the word error rate.
        start_s, end_s: the largest errors of a sentence's start and end.
        seconds: the duration of the transcription.
    """

    language: str
    wrong: float
    start_s: float
    end_s: float
    seconds: float


def outcome(case: Case, answer: Mapping[str, Any], seconds: float) -> Outcome:
    """Compare an answer with the spoken text."""
    segments = answer.get("segments") or [{"start": 1e3, "end": 1e3}]
    starts = [segment["start"] for segment in segments]
    ends = [segment["end"] for segment in segments]
    return Outcome(
        answer.get("language_code", str(answer.get("error"))[:20]),
        word_error_rate([Speech(case.path, case.text)], [answer.get("text", "")]),
        max(min(abs(start - at) for at in starts) for start, _ in case.said),
        max(min(abs(end - at) for at in ends) for _, end in case.said),
        seconds,
    )


async def hard(way: Any, folder: Path) -> None:
    """Transcribe every recording in both modes, and print the results."""
    rows, right = [], dict[str, list[bool]]()
    for case in cases(folder):
        for mode in MODES:
            start = time.perf_counter()
            answer = await way.verbose(case.path, mode=mode, **case.asked)
            result = outcome(case, answer, time.perf_counter() - start)
            good = (
                result.language == case.language
                and result.wrong < 0.2
                and max(result.start_s, result.end_s) < 1
            )
            right.setdefault(mode, []).append(good)
            figure = (f"{result.wrong:.3f}", f"{result.start_s:.2f}", f"{result.end_s:.2f}")
            took = f"{result.seconds:.1f}"
            rows.append((case.name, mode, result.language, *figure, took, "yes" if good else "no"))
    head = ("recording", "mode", "language", "words wrong", "start off", "end off", "s", "right")
    table(head, rows)
    figures({f"right_{mode}": sum(flags) / len(flags) for mode, flags in right.items()})
