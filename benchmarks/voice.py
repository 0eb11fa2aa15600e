"""Speech: what the default says, heard back, and how fast it is.

    .venv/bin/python -m benchmarks.voice [--sentences 50] [--listener Whisper_Base]

``heard``: sentences that the default speaks and ``--listener`` writes down: words that are wrong,
missing or too many. Two fifths of them have numbers, dates and abbreviations.
``speeds``: the same at other speeds: how long they are beside those at speed 1, and wrong words.
``pace``: a text of 4,096 characters: seconds of sound in a second, to the first sound, and the
memory of a text eight times as long.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks.report import figures, table
from benchmarks.speech import WITH_NUMBERS, distance, sentence, words_and_numbers
from handler.assemble import assemble
from handler.entry import Worker
from handler.settings.variables import Settings

GOALS = {"word_error_rate": 0.08}
_SPEEDS = (0.25, 0.5, 1.0, 1.5, 2.0, 4.0)
_LONG = 4096


def texts(count: int) -> list[str]:
    """Sentences, two fifths of them with numbers."""
    chance = random.Random(34)
    numbered = [WITH_NUMBERS[index % len(WITH_NUMBERS)] for index in range(count * 2 // 5)]
    return [*numbered, *(sentence(chance) for _ in range(count - len(numbered)))]


async def speak(worker: Worker, text: str, **fields: Any) -> dict[str, Any]:
    """The worker's answer."""
    body = {"surface": "speech", "input": text, "response_format": "wav", "seed": 1, **fields}
    output: Any = await worker.answer({"id": "j", "input": body})
    answer: dict[str, Any] = orjson.loads(output.content)
    return answer


async def heard(worker: Worker, listener: str, sound: str) -> str:
    """What is written down of a sound."""
    body = {"model": listener, "audio_base64": sound, "language": "en", "temperature": 0}
    output: Any = await worker.answer({"id": "j", "input": body})
    text: str = orjson.loads(output.content)["text"]
    return text


@dataclass(frozen=True)
class Heard:
    """Words that are wrong, of how many, in how many seconds of sound."""

    wrong: int = 0
    total: int = 0
    seconds: float = 0.0

    def __add__(self, other: Heard) -> Heard:
        """Both together."""
        sums = self.wrong + other.wrong, self.total + other.total, self.seconds + other.seconds
        return Heard(*sums)

    @property
    def rate(self) -> float:
        """The share of words that are wrong."""
        return self.wrong / self.total


async def hear(
    worker: Worker, listener: str, said: Sequence[str], *, show: bool = False, **fields: Any
) -> Heard:
    """Speak texts, and count the words that are heard wrongly."""
    all_of_it = Heard()
    for text in said:
        answer = await speak(worker, text, **fields)
        written = await heard(worker, listener, answer["b64_json"])
        right = words_and_numbers(text)
        off = distance(right, words_and_numbers(written))
        all_of_it += Heard(off, len(right), answer["duration"])
        if off and show:
            print(f"  {off} wrong: {text} / {written}")
    return all_of_it


async def _pace(worker: Worker) -> dict[str, float]:
    text = " ".join(texts(60))[:_LONG]
    await speak(worker, "Ready.")
    start = time.perf_counter()
    answer = await speak(worker, text, response_format="mp3")
    took_s = time.perf_counter() - start
    body = {"input": text, "voice": "alloy", "stream": True, "response_format": "pcm"}
    start = time.perf_counter()
    events = worker.stream({"id": "j", "input": body})
    await anext(events)
    first_s = time.perf_counter() - start
    await events.aclose()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    long = " ".join([text] * 8)
    size = len(base64.b64decode((await speak(worker, long, response_format="opus"))["b64_json"]))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "sound_s": answer["duration"],
        "times_real_time": answer["duration"] / took_s,
        "first_sound_ms": 1000 * first_s,
        "long_memory_mb": (after - before) / 1000,
        "long_file_mb": size / 1e6,
    }


async def run(count: int, listener: str) -> None:
    """Measure, and print."""
    limits = {"SPEECH_MAX_CHARACTERS": "200000", "OUTPUT_LIMIT_BYTES": "1000000000"}
    worker = assemble(Settings.from_env({"SURFACE": "speech,transcribe", **limits}))
    pace = await _pace(worker)
    said = texts(count)
    numbered = count * 2 // 5
    with_numbers = await hear(worker, listener, said[:numbered], show=True)
    without = await hear(worker, listener, said[numbered:], show=True)
    both = with_numbers + without
    table(("sentences", "wrong words"), [
        (f"{numbered} with numbers", f"{100 * with_numbers.rate:.1f} %"),
        (f"{count - numbered} without", f"{100 * without.rate:.1f} %"),
        (f"all, {both.seconds:.0f} s", f"{100 * both.rate:.1f} % (goal: at most 8 %)"),
    ])  # fmt: skip
    sample = said[:: max(1, count // 6)]
    at = {speed: await hear(worker, listener, sample, speed=speed) for speed in _SPEEDS}
    rows = [
        (speed, f"{at[1.0].seconds / measured.seconds:.2f}", f"{100 * measured.rate:.1f} %")
        for speed, measured in at.items()
    ]
    table(("speed", "as fast as", "wrong words"), rows)
    figures({"word_error_rate": both.rate, **pace})


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=50)
    parser.add_argument("--listener", default="Whisper_Base")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.sentences, arguments.listener))


if __name__ == "__main__":
    main()
