"""Transcription: the worker compared with faster-whisper, by speed, by words, and by memory.

    .venv/bin/python -m benchmarks.transcribe speed
    .venv/bin/python -m benchmarks.transcribe words --recordings FOLDER [--greedy]
    .venv/bin/python -m benchmarks.transcribe memory
    .venv/bin/python -m benchmarks.transcribe hard

``speed``: 8 files of a minute with sentences that espeak-ng reads (Debian: ``apt-get install
espeak-ng``), by Whisper_Base. In turns:

- ``sequential``: ``WhisperModel.transcribe``, one file after the other
- ``pipeline``: ``BatchedInferencePipeline``, one file after the other, 8 windows at once
- ``worker``: all at once through ``Worker.answer``, ``mode: batched``
- ``one by one``: the same through the worker in ``mode: sequential``

It also measures the word error rate of each, the time to the first event of a stream, and how much
longer a file takes to decode beside a busy engine.

``words``: the word error rates in ten minutes of such sentences, and in recordings with transcripts
(for example those of Debian's pocketsphinx-testdata, unpacked with ``dpkg -x``: FOLDER is then
``test/data/librivox``).

``hard``: recordings with long silences, noise and music, irregular clocks, low levels and more, in
both modes with default settings: whether the language is right, the word error rate, and by how
many seconds the start or end of a sentence is off (``benchmarks.hard``).

``memory``: a silent recording of ``--hours``, in its own process: its peak of memory relative to
that of one of a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.hard import hard
from benchmarks.report import figures, table
from benchmarks.speech import read_aloud, recordings, seconds, word_error_rate
from handler.assemble import assemble
from handler.entry import Worker
from handler.settings.variables import Settings
from models.transcribe.audio import decoding
from models.transcribe.request import TranscribeRequest
from models.warm.ticket import NEVER

ROOT = Path(__file__).parent.parent
GOALS = {"ratio_sequential": 1.3, "ratio_pipeline": 1.0}


class Ways:
    """Transcribes the same files in several ways, and returns seconds and texts.

    Args:
        worker: our worker.
        library: faster-whisper's model, that of the worker.
        beam: the beam size.
        temperatures: the temperatures to try; None = the default ones.
    """

    def __init__(
        self, worker: Worker, library: Any, beam: int, temperatures: list[float] | None
    ) -> None:
        self.worker = worker
        self._library = library
        self._asked: dict[str, Any] = {"beam_size": beam, "language": "en"}
        if temperatures is not None:
            self._asked["temperature"] = temperatures

    def sequential(self, paths: Sequence[Path]) -> tuple[float, list[str]]:
        """Use the library's own loop, one file after the other."""
        return self._by_library(self._library.transcribe, paths)

    def pipeline(self, paths: Sequence[Path]) -> tuple[float, list[str]]:
        """Use its batched pipeline, one file after the other."""
        from faster_whisper import BatchedInferencePipeline

        pipeline = BatchedInferencePipeline(self._library)
        return self._by_library(pipeline.transcribe, paths, batch_size=8)

    async def by_worker(self, paths: Sequence[Path], mode: str) -> tuple[float, list[str]]:
        """Use the worker, with all files at once, as jobs."""
        asked = {**self._asked, "mode": mode}
        jobs = [{"id": "j", "input": {**asked, "audioUrl": encoded(path)}} for path in paths]
        start = time.perf_counter()
        answers = await asyncio.gather(*map(self.worker.answer, jobs))
        took = time.perf_counter() - start
        return took, [json.loads(answer.content)["text"] for answer in answers]

    async def first_piece(self, path: Path) -> float:
        """Return the seconds to the first event of a stream."""
        body = {**self._asked, "audioUrl": encoded(path), "stream": True}
        start = time.perf_counter()
        async for _ in self.worker.stream({"id": "j", "input": body}):
            return time.perf_counter() - start
        raise RuntimeError("a stream without events")

    async def verbose(self, path: Path, **asked: Any) -> Any:
        """Return a file's transcript with its times, or the error."""
        body = {"audioUrl": encoded(path), "response_format": "verbose_json", **asked}
        answer = await self.worker.answer({"id": "j", "input": body})
        return answer if isinstance(answer, dict) else json.loads(answer.content)

    def _by_library(
        self, transcribe: Any, paths: Sequence[Path], **options: Any
    ) -> tuple[float, list[str]]:
        start, texts = time.perf_counter(), []
        for path in paths:
            segments, _ = transcribe(str(path), **self._asked, **options)
            texts.append("".join(segment.text for segment in segments))
        return time.perf_counter() - start, texts


def encoded(path: Path) -> str:
    """Return a file in base64, as a job contains it."""
    return base64.b64encode(path.read_bytes()).decode()


@asynccontextmanager
async def ways(
    arguments: argparse.Namespace, temperatures: list[float] | None = None
) -> AsyncIterator[Ways]:
    """Return the ways for a loaded model."""
    worker = _worker(arguments.compute_type)
    async with worker.dispatcher.pool.lease(_row(worker), NEVER) as model:
        yield Ways(worker, model.engine._model, arguments.beam, temperatures)


def _worker(compute_type: str) -> Worker:
    env = {"SURFACE": "transcribe", "DEVICE": "cpu", "JOB_TIMEOUT_S": "3600"}
    named = {"MODEL_SLUG": "Whisper_Base", "COMPUTE_TYPE": compute_type}
    return assemble(Settings.from_env({**env, **named}))


def _row(worker: Worker) -> Any:
    return worker.endpoint.pick("transcribe", None)


# Speed -------------------------------------------------------------------------------------------


async def speed(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure every way, and print the results."""
    speech = read_aloud(folder, arguments.files)
    paths = [item.path for item in speech]
    async with ways(arguments) as way:
        await way.by_worker(paths[:1], "batched")  # warm-up, not counted
        found = {
            "sequential": way.sequential(paths),
            "pipeline": way.pipeline(paths),
            "worker": await way.by_worker(paths, "batched"),
            "one by one": await way.by_worker(paths, "sequential"),
        }
        first_s = await way.first_piece(paths[0])
        decoding = await decoding_beside(way, paths)
    total = seconds(speech)
    table(
        ("way", "seconds", "times real time", "words wrong"),
        [
            (name, f"{took:.1f}", f"{total / took:.1f}", f"{word_error_rate(speech, heard):.4f}")
            for name, (took, heard) in found.items()
        ],
    )
    worker_s = found["worker"][0]
    ratios = {f"ratio_{name}": found[name][0] / worker_s for name in ("sequential", "pipeline")}
    table(
        ("figure", "measured", "goal", "met"),
        [
            (name, f"{ratio:.2f}", f"≥ {GOALS[name]}", ratio >= GOALS[name])
            for name, ratio in ratios.items()
        ]
        + [("decoding_beside", f"{decoding:.2f}", "≤ 2", decoding <= 2)],
    )
    figures({**ratios, "decoding_beside": decoding, "first_piece_s": first_s})


async def decoding_beside(way: Ways, paths: Sequence[Path]) -> float:
    """Return how many times as long a file takes to decode while the engine runs."""

    async def decoded() -> float:
        took = []
        for _ in range(5):
            start = time.perf_counter()
            await decoding.decode(paths[0], 60, 120)
            took.append(time.perf_counter() - start)
        return statistics.median(took)

    alone_s = await decoded()
    busy = asyncio.create_task(way.by_worker(paths, "batched"))
    await asyncio.sleep(2)  # until the engine is busy
    beside_s = await decoded()
    await busy
    return beside_s / alone_s


# Words -------------------------------------------------------------------------------------------


async def wrong_words(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure the word error rate for each kind of speech, and print the results."""
    kinds = {"read aloud": read_aloud(folder, arguments.minutes)}
    if arguments.recordings is not None:
        kinds["recordings"] = recordings(arguments.recordings)
    rates: dict[str, float] = {}
    async with ways(arguments, [0.0] if arguments.greedy else None) as way:
        for kind, speech in kinds.items():
            paths = [item.path for item in speech]
            heard = {
                "library": way.sequential(paths)[1],
                "sequential": (await way.by_worker(paths, "sequential"))[1],
                "batched": (await way.by_worker(paths, "batched"))[1],
            }
            said = f"{kind}, {seconds(speech) / 60:.1f} min"
            for name, texts in heard.items():
                rates[f"{said}: {name}"] = word_error_rate(speech, texts)
            plain = [text.strip() for text in heard["library"]]
            rates[f"{said}: texts equal to the library's"] = statistics.mean(
                text == other for text, other in zip(plain, heard["sequential"], strict=True)
            )
    table(("speech", "words wrong"), [(name, f"{rate:.4f}") for name, rate in rates.items()])
    figures(rates)


# Hard recordings ---------------------------------------------------------------------------------


async def hard_recordings(arguments: argparse.Namespace, folder: Path) -> None:
    """Transcribe the hard recordings, and print the results."""
    async with ways(arguments) as way:
        await hard(way, folder)


# Memory ------------------------------------------------------------------------------------------


async def memory(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure the peak memory of two processes, and print the results."""
    peaks = {"peak_minute_mb": peak(1 / 60) / 1e6, "peak_long_mb": peak(arguments.hours) / 1e6}
    figures({**peaks, "hours": arguments.hours})


def peak(hours: float) -> int:
    """Return the peak memory of a process that transcribes a silent recording, in bytes."""
    command = [sys.executable, "-m", "benchmarks.transcribe", "memory", "--silent", str(hours)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


async def silent(arguments: argparse.Namespace, folder: Path) -> None:
    """Transcribe silence, and print this process's peak memory."""
    path = folder / "silent.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        for _ in range(max(1, round(arguments.silent * 60))):
            file.writeframes(bytes(2 * 8000 * 60))
    worker = _worker(arguments.compute_type)
    async with worker.dispatcher.pool.lease(_row(worker), NEVER) as model:
        await model.run(TranscribeRequest(path))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> None:
    """Run a benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transcribe")
    parser.add_argument("what", choices=["speed", "words", "memory", "hard"])
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--compute-type", default="float32")
    parser.add_argument(
        "--greedy", action="store_true", help="no fallback: what it samples differs between runs"
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of sentences read aloud")
    parser.add_argument("--recordings", type=Path, help="a folder with a transcription")
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--silent", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    parts = {"speed": speed, "words": wrong_words, "memory": memory, "hard": hard_recordings}
    measure = parts[arguments.what]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run((silent if arguments.silent else measure)(arguments, Path(folder)))


if __name__ == "__main__":
    main()
