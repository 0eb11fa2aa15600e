"""The performance of our engines on this machine's GPU: full-size models with random weights.

    .venv/bin/python -m benchmarks.gpu [--only NAME …] [--small]

    embeddings   BGE-M3: tokens per second, packed and padded
    flux, klein  FLUX.1-schnell, FLUX.2-klein-4B: seconds per picture, alone and several at once;
                 unmodified, compiled, and in fp8 (with torchao)
    whisper      large-v3 on ctranslate2: times real time, and the duration of a step
    qwen_tts     Qwen3-TTS 1.7B: times real time and the first sound, alone and eight at once
    llama        Llama-3-8B on our transformers engine: tokens per second at 1, 16 and 64 at once,
                 and of prompts
    llama_vllm   the same on vLLM

Each figure comes with its share of the device's limit, measured in the same run: one large matrix
product for arithmetic, one large copy for bandwidth. Each part has its own process and four
minutes. If a part fails, its error is printed, and the command ends with status 1. A part whose
library is not installed is skipped. Without a GPU nothing is run. ``--small`` runs tiny sizes, on
the CPU if there is no GPU: a test that everything runs, not a measurement.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.gpu.limits import ARITHMETIC, BANDWIDTH
from benchmarks.gpu.outcomes import Failed, Figure, Named, Outcome, named, rows
from benchmarks.gpu.parts import LIMIT_S, LIMITS, PARTS, Part, chosen, line, run
from benchmarks.report import figures, table
from models.device import hardware

_UNITS = {ARITHMETIC: 1e12, BANDWIDTH: 1e9}


def limits_of(outcomes: list[Outcome]) -> list[str]:
    """Return the device's limits as arguments for the other parts."""
    known = {outcome.what: outcome.value for outcome in outcomes if isinstance(outcome, Figure)}
    if not all(known.get(what) for what in _UNITS):
        return []
    return ["--limits", *(repr(known[what] * unit) for what, unit in _UNITS.items())]


def timed(part: Part, arguments: list[str], limit_s: float) -> list[Outcome]:
    """Run a part, and print a line about its result."""
    start = time.monotonic()
    outcomes = run(part, arguments, limit_s)
    print(line(part, outcomes, time.monotonic() - start), flush=True)
    return outcomes


def main() -> int:
    """Run the parts, and print the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--only", nargs="+", default=[], choices=[part.name for part in PARTS])
    parser.add_argument("--small", action="store_true", help="tiny sizes, also on a CPU")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help="seconds for each part")
    given = parser.parse_args()
    if hardware.detect().kind != "cuda" and not given.small:
        print("no NVIDIA GPU answers on this machine; --small runs tiny sizes on the CPU")
        return 0
    arguments = ["--small"] if given.small else []
    measured = {LIMITS.name: timed(LIMITS, arguments, given.limit_s)}
    arguments += limits_of(measured[LIMITS.name])
    for part in chosen(given.only):
        measured[part.name] = timed(part, arguments, given.limit_s)
    return report(measured)


def report(measured: dict[str, list[Outcome]]) -> int:
    """Print the table and the line of figures; return 1 if a part has failed."""
    lines, values = [], {}
    for part, outcomes in measured.items():
        lines += rows(part, outcomes)
        values |= named(part, outcomes)
    names = [outcome.text for outcome in measured[LIMITS.name] if isinstance(outcome, Named)]
    print(f"\non {', '.join(names)}")
    table(("part", "what", "figure", "unit", "share"), lines)
    failed = [
        part
        for part, outcomes in measured.items()
        if any(isinstance(outcome, Failed) for outcome in outcomes)
    ]
    figures(values | ({"failed": " ".join(failed)} if failed else {}))
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
