"""The process of one part: ``python -m benchmarks.gpu.part MODULE:FUNCTION FOLDER …``."""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.made import Run
from benchmarks.gpu.outcomes import Failed, Outcome, line
from benchmarks.gpu.work import Limits
from models.device import hardware


def outcomes_of(measure: str, run: Run) -> Iterator[Outcome]:
    """Yield a part's figures, and its failure if it raises."""
    try:
        module, _, name = measure.partition(":")
        yield from getattr(import_module(module), name)(run)
    except Exception as error:  # noqa: BLE001  # the boundary to engines' libraries
        traceback.print_exc()
        words = " ".join(str(error).split())
        yield Failed(f"{type(error).__name__}: {words}"[:300])


def main() -> int:
    """Measure, and write each figure as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.part")
    parser.add_argument("measure")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--limits", nargs=2, type=float, metavar=("FLOPS", "BANDWIDTH"))
    given = parser.parse_args()
    limits = Limits(*given.limits) if given.limits else None
    run = Run(hardware.detect(), given.small, limits, given.folder)
    failed = False
    with (given.folder / "outcomes").open("w") as file:
        for outcome in outcomes_of(given.measure, run):
            file.write(line(outcome))
            file.flush()
            failed = failed or isinstance(outcome, Failed)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
