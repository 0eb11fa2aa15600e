"""Run the examples in one process, and write their results to out/.

.venv/bin/python -m scripts.answers
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from benchmarks.report import table
from handler.assemble import assemble
from handler.entry import Worker
from handler.settings.variables import Settings
from handler.wire import Encoded
from scripts.page import drawn

ROOT = Path(__file__).parent.parent
OUT = Path("out")
_SHOWN = 48  # how many characters of a text the table shows
LOG = OUT / "answers.log"
Kept = tuple[str, str]  # a summary of the result, and its path


@dataclass(frozen=True)
class Example:
    """A job, and the function that stores its result."""

    name: str
    file: str
    keep: Callable[[str, Any], Kept]
    changes: tuple[tuple[str, Any], ...] = ()
    hears: str | None = None  # the example whose sound it is given
    reads: bool = False  # whether it is given a page that is drawn here


def sound(name: str, answer: Any) -> Kept:
    """What was spoken."""
    path = _written(f"{name}.{answer['format']}", base64.b64decode(answer["b64_json"]))
    return f"{answer['duration']:.1f} s by {answer['voice']}", path


def song(name: str, answer: Any) -> Kept:
    """Store a song."""
    path = _written(f"{name}.{answer['format']}", base64.b64decode(answer["b64_json"]))
    return f"{answer['duration']:.1f} s of {answer['format']}", path


def text(name: str, answer: Any) -> Kept:
    """Store the text of a chat answer."""
    content = answer["choices"][0]["message"]["content"]
    return _short(content), _written(f"{name}.txt", content.encode())


def page(name: str, answer: Any) -> Kept:
    """Store what a page says."""
    content = answer["choices"][0]["message"]["content"]
    lines = content.splitlines()
    kept = _written(f"{name}.txt", content.encode())
    return _short(f"{len(lines)} lines: {' / '.join(lines)}"), kept


def picture(name: str, answer: Any) -> Kept:
    """Store the first picture."""
    first = answer["data"][0]
    path = _written(f"{name}.{answer['output_format']}", base64.b64decode(first["b64_json"]))
    return f"{first['width']}x{first['height']}", path


def transcript(name: str, answer: Any) -> Kept:
    """Store the text of a recording."""
    content = answer["text"].strip()
    return _short(content), _written(f"{name}.txt", content.encode())


def subtitles(name: str, answer: Any) -> Kept:
    """Store the subtitles of a recording."""
    text = answer["text"]
    return f"{text.count(' --> ')} subtitle(s)", _written(f"{name}.srt", text.encode())


def vectors(name: str, answer: Any) -> Kept:
    """Store two embeddings, and show their cosine similarity."""
    first, second = (entry["embedding"] for entry in answer["data"])
    cosine = sum(left * right for left, right in zip(first, second, strict=True))
    path = _written(f"{name}.json", json.dumps(answer).encode())
    return f"2 vectors of {len(first)}, cosine {cosine:.2f}", path


EXAMPLES = (
    Example("chat", "test_input.json", text),
    Example("ocr", "examples/ocr.json", page, reads=True),
    Example("images", "examples/images.json", picture),
    Example("transcribe", "examples/transcribe.json", transcript),
    Example("subtitles", "examples/transcribe.json", subtitles, (("response_format", "srt"),)),
    Example("speech", "examples/speech.json", sound),
    Example(
        "heard", "examples/transcribe.json", transcript, (("response_format", "json"),), "speech"
    ),
    Example("music", "examples/music.json", song),
    Example("embeddings", "examples/embeddings.json", vectors),
    Example("upscale", "examples/upscale.json", picture),
    Example("background", "examples/background.json", picture),
)


def _short(content: str) -> str:
    return content if len(content) <= _SHOWN else f"{content[:_SHOWN]}…"


def _written(name: str, content: bytes) -> str:
    path = OUT / name
    path.write_bytes(content)
    return str(path)


async def _answer(worker: Worker, example: Example, spoken: str | None) -> Any:
    """The answer; exits with the error object where it is one."""
    job = json.loads((ROOT / example.file).read_text(encoding="utf-8"))
    job["input"] |= dict(example.changes)
    if spoken is not None:
        job["input"]["audioUrl"] = f"data:audio/mpeg;base64,{spoken}"
    if example.reads:
        content = drawn()
        _written(f"{example.name}.png", content)
        encoded = base64.b64encode(content).decode()
        job["input"]["image"] = f"data:image/png;base64,{encoded}"
    output = await worker.answer({"id": example.name, **job})
    if not isinstance(output, Encoded):
        sys.exit(f"{example.name}: {output['error']}\nthe libraries' output is in {LOG}")
    return json.loads(output.content)


async def _all(worker: Worker, screen: TextIO) -> list[list[object]]:
    rows: list[list[object]] = []
    sounds: dict[str | None, str] = {}
    for example in EXAMPLES:
        start = time.monotonic()
        answer = await _answer(worker, example, sounds.get(example.hears))
        if isinstance(answer, dict) and "b64_json" in answer:
            sounds[example.name] = answer["b64_json"]
        took = f"{time.monotonic() - start:.1f}"
        model = answer["model"] if isinstance(answer, dict) else rows[-1][1]
        rows.append([example.name, model, took, *example.keep(example.name, answer)])
        print(f"== {example.name}: {took} s", file=screen)
    return rows


@contextmanager
def _libraries_to(log: Path) -> Iterator[TextIO]:
    """Redirect stdout and stderr to a file; yield a stream that writes to the terminal."""
    kept = [os.dup(1), os.dup(2)]
    with log.open("w") as file, os.fdopen(os.dup(2), "w", buffering=1) as screen:
        sys.stdout.flush()
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        try:
            yield screen
        finally:
            sys.stdout.flush()
            for descriptor, before in zip((1, 2), kept, strict=True):
                os.dup2(before, descriptor)
                os.close(before)


def main() -> None:
    """Run all examples, and print a table."""
    OUT.mkdir(exist_ok=True)
    settings = Settings.from_env(os.environ)
    with _libraries_to(LOG) as screen:
        rows = asyncio.run(_all(assemble(settings), screen))
    print()
    table(["example", "model", "seconds", "result", "file"], rows)
    if any(str(row[1]).startswith("Tiny_") for row in rows):
        print("\nTiny_ models have random weights: they test the code path, their output is noise.")


if __name__ == "__main__":
    main()
