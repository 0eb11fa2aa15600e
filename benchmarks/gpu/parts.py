"""The parts of the benchmark, each run in its own process.

If a part is out of memory, crashes or hangs, the others still run, and the figures that it has
written count.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.gpu.outcomes import Failed, Figure, Outcome, Skipped, read

ROOT = Path(__file__).parents[2]
LIMIT_S = 240.0
_SAID = 2000  # how many characters of a failed part's output are shown


@dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Attributes:
        measure: ``module:function``; the function takes a ``Run`` and yields figures.
        needs: the libraries that it imports.
    """

    name: str
    measure: str
    needs: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        """The libraries that are not installed."""
        return [module for module in self.needs if find_spec(module) is None]


LIMITS = Part("limits", "benchmarks.gpu.limits:measure", ("torch",))
_HERE = "benchmarks.gpu"
_IMAGES = ("torch", "diffusers", "transformers")
PARTS = (
    Part("embeddings", f"{_HERE}.embeddings:measure", ("torch", "sentence_transformers")),
    Part("flux", f"{_HERE}.images:schnell", _IMAGES),
    Part("klein", f"{_HERE}.images:klein", _IMAGES),
    Part("whisper", f"{_HERE}.whisper:measure", ("ctranslate2", "faster_whisper", "transformers")),
    Part("qwen_tts", f"{_HERE}.qwen_tts:measure", ("torch", "transformers", "av")),
    Part("llama", f"{_HERE}.llama:on_transformers", ("torch", "transformers")),
    Part("llama_vllm", f"{_HERE}.llama:on_vllm", ("vllm",)),
)


def chosen(names: Sequence[str]) -> list[Part]:
    """Return the parts with these names, in their own order; all parts without names.

    Raises:
        KeyError: there is no such part.
    """
    known = {part.name: part for part in PARTS}
    for name in names:
        known[name]
    return [part for part in PARTS if not names or part.name in names]


def run(part: Part, arguments: Sequence[str] = (), limit_s: float = LIMIT_S) -> list[Outcome]:
    """Run a part; return what it has written, and its failure if it failed."""
    if part.missing:
        return [Skipped("", f"{' and '.join(part.missing)} not installed")]
    with TemporaryDirectory(prefix="quartet-gpu-") as scratch:
        folder = Path(scratch)
        command = [sys.executable, "-m", "benchmarks.gpu.part", part.measure, scratch, *arguments]
        with (folder / "log").open("w") as log:
            # In its own session, so that its child processes can be killed with it.
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process)
        outcomes = read(folder / "outcomes")
        if code and not any(isinstance(outcome, Failed) for outcome in outcomes):
            outcomes.append(Failed(_ending(code)))
        if code is None:
            outcomes.append(Failed(f"not done after {limit_s:g} s"))
        if any(isinstance(outcome, Failed) for outcome in outcomes):
            print((folder / "log").read_text(errors="replace")[-_SAID:], file=sys.stderr)
        return outcomes


def line(part: Part, outcomes: Sequence[Outcome], took_s: float) -> str:
    """Return a line about the result of a part."""
    count = sum(isinstance(outcome, Figure) for outcome in outcomes)
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            kept = f" ({count} figures before that)" if count else ""
            return f"{part.name}: failed: {outcome.reason}{kept}"
        if isinstance(outcome, Skipped) and not count and not outcome.what:
            return f"{part.name}: skipped: {outcome.reason}"
    return f"{part.name}: {count} figures in {took_s:.0f} s"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process, and all other processes of its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ending(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
