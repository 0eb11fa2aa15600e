"""Transcription: our worker beside faster-whisper, and the memory that a long recording takes.

    .venv/bin/python -m benchmarks.transcribe

8 files of a minute, in which the example's sentence is read six times with pauses, by Whisper_Base
in float32, beam 5. By turns

- ``sequential``: ``WhisperModel.transcribe``, one file after the other
- ``pipeline``: ``BatchedInferencePipeline``, one file after the other, 8 windows at once
- ``worker``: all at once through ``Worker.answer``, ``mode: batched``
- ``one by one``: the same through the worker in ``mode: sequential``

with the words that are wrong in each, and the time to the first piece of a stream. Then a silent
recording of ``--hours``, in a process of its own: its peak of memory over that of a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import figures, table
from handler.assemble import assemble
from handler.entry import Worker
from handler.settings.variables import Settings
from models.transcribe import audio
from models.transcribe.audio import RATE_HZ
from models.transcribe.request import TranscribeRequest
from models.warm.ticket import NEVER

ROOT = Path(__file__).parent.parent
SENTENCE = (
    "And Mr. John Dashwood had then leisure to consider how much there might be prudently in his "
    "power to do for them."
)
FILES, READINGS, BEAM = 8, 6, 5
GOALS = {"ratio_sequential": 1.3, "ratio_pipeline": 1.0}


def files(folder: Path) -> list[Path]:
    """The recordings; pauses differ, so that no two are cut alike."""
    example = json.loads((ROOT / "examples/transcribe.json").read_text())["input"]["audioUrl"]
    source = folder / "sentence.ogg"
    source.write_bytes(base64.b64decode(example.partition(",")[2]))
    sentence = np.array(asyncio.run(audio.decode(source, 60, 60)).samples)
    made = []
    for number in range(FILES):
        pauses = [
            np.zeros(int((1.5 + 0.2 * (number + n) % 3) * RATE_HZ), np.int16)
            for n in range(READINGS)
        ]
        parts = [part for pause in pauses for part in (sentence, pause)]
        made.append(write(folder / f"{number}.wav", np.concatenate(parts)[: 60 * RATE_HZ]))
    return made


def write(path: Path, samples: Any) -> Path:
    """16 kHz mono, signed 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())
    return path


def wrong(said: Sequence[str]) -> float:
    """Words that are wrong, of those that are read (edit distance over words)."""
    total = errors = 0
    for text in said:
        read = words(" ".join([SENTENCE] * READINGS))
        heard = words(text)
        row = list(range(len(heard) + 1))
        for index, word in enumerate(read, start=1):
            before, row[0] = row[0], index
            for at, other in enumerate(heard, start=1):
                before, row[at] = (
                    row[at],
                    min(row[at] + 1, row[at - 1] + 1, before + (word != other)),
                )
        errors, total = errors + row[-1], total + len(read)
    return errors / total


def words(text: str) -> list[str]:
    """Lower case, without punctuation."""
    return re.sub(r"[^a-z ]", "", text.lower()).split()


def encoded(path: Path) -> str:
    """A file as a job brings it."""
    return base64.b64encode(path.read_bytes()).decode()


async def by_worker(worker: Worker, paths: Sequence[Path], mode: str) -> tuple[float, list[str]]:
    """All files at once: seconds, and the texts."""
    sent = [encoded(path) for path in paths]
    asked = {"mode": mode, "beam_size": BEAM, "language": "en"}
    start = time.perf_counter()
    answers = await asyncio.gather(
        *(worker.answer({"id": "j", "input": {**asked, "audioUrl": one}}) for one in sent)
    )
    took = time.perf_counter() - start
    return took, [json.loads(one.content)["text"] for one in answers]


def by_library(transcribe: Any, paths: Sequence[Path], **options: Any) -> tuple[float, list[str]]:
    """One file after the other: seconds, and the texts."""
    start, texts = time.perf_counter(), []
    for path in paths:
        segments, _ = transcribe(str(path), beam_size=BEAM, language="en", **options)
        texts.append("".join(one.text for one in segments))
    return time.perf_counter() - start, texts


async def first_piece(worker: Worker, path: Path) -> float:
    """Seconds to the first event of a stream."""
    body = {"audioUrl": encoded(path), "stream": True}
    start = time.perf_counter()
    async for _ in worker.stream({"id": "j", "input": body}):
        return time.perf_counter() - start
    raise RuntimeError("a stream without events")


def peak(hours: float) -> int:
    """The peak of memory of a process that writes down a silent recording, in bytes."""
    command = [sys.executable, "-m", "benchmarks.transcribe", "--silent", str(hours)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def silent(hours: float) -> None:
    """Write down silence, and print this process's peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "silent.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            for _ in range(max(1, round(hours * 60))):
                file.writeframes(bytes(2 * 8000 * 60))
        asyncio.run(_written(path))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


async def _written(path: Path) -> None:
    worker = _worker()
    async with worker.dispatcher.pool.lease(_row(worker), NEVER) as model:
        await model.run(TranscribeRequest(path))


def _worker() -> Worker:
    env = {
        "SURFACE": "transcribe",
        "DEVICE": "cpu",
        "COMPUTE_TYPE": "float32",
        "JOB_TIMEOUT_S": "3600",
    }
    return assemble(Settings.from_env({**env, "MODEL_SLUG": "Whisper_Base"}))


def _row(worker: Worker) -> Any:
    return worker.dispatcher.endpoint.pick("transcribe", None)


async def measure(paths: Sequence[Path], hours: float) -> None:
    """Run everything and print."""
    from faster_whisper import BatchedInferencePipeline

    worker = _worker()
    async with worker.dispatcher.pool.lease(_row(worker), NEVER) as model:
        library = model.engine._model
        pipeline = BatchedInferencePipeline(library)
        found = {
            "sequential": by_library(library.transcribe, paths),
            "pipeline": by_library(pipeline.transcribe, paths, batch_size=8),
            "worker": await by_worker(worker, paths, "batched"),
            "one by one": await by_worker(worker, paths, "sequential"),
        }
        first_s = await first_piece(worker, paths[0])
    table(
        ("way", "seconds", "times real time", "words wrong"),
        [
            (name, f"{took:.1f}", f"{60 * len(paths) / took:.1f}", f"{wrong(said):.4f}")
            for name, (took, said) in found.items()
        ],
    )
    took = {name: one[0] for name, one in found.items()}
    ratios = {
        "ratio_sequential": took["sequential"] / took["worker"],
        "ratio_pipeline": took["pipeline"] / took["worker"],
    }
    memory = {"peak_minute_mb": peak(1 / 60) / 1e6, "peak_long_mb": peak(hours) / 1e6}
    table(
        ("figure", "measured", "goal", "met"),
        [
            (name, f"{one:.2f}", f"≥ {GOALS[name]}", one >= GOALS[name])
            for name, one in ratios.items()
        ],
    )
    figures({**ratios, **memory, "hours": hours, "first_piece_s": first_s})


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transcribe")
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--silent", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.silent is not None:
        silent(arguments.silent)
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = files(Path(folder))[: arguments.files]
        asyncio.run(measure(paths, arguments.hours))


if __name__ == "__main__":
    main()
