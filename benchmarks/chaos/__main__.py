"""``python -m benchmarks.chaos``: jobs under a seeded schedule of faults, and what broke.

    .venv/bin/python -m benchmarks.chaos --seed 1 --jobs 1000
    .venv/bin/python -m benchmarks.chaos --seed 1 --save faults.json
    .venv/bin/python -m benchmarks.chaos --faults faults.json

The exit status is 1 if a promise is broken. The schedule and the load are functions of the seed;
the times at which processes react are not.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.chaos.checker import check
from benchmarks.chaos.network import enter, may_drop
from benchmarks.chaos.plans import MEAN_PAUSE_S, plans, read, schedule, write
from benchmarks.chaos.processes import may_mount
from benchmarks.chaos.report import keep, report
from benchmarks.chaos.stage import Options, play

# Of two cores: jobs a second, and the mean time between two faults. A worker takes some ten seconds
# to load all small models.
_PACE = {"fake": (15, MEAN_PAUSE_S), "small": (5, 5.0)}


def main() -> int:
    given = _parser().parse_args()
    rate, pause_s = _PACE[given.models]
    seconds = given.jobs / rate if given.seconds is None else given.seconds
    if given.faults:
        faults = read(given.faults)
    else:
        faults = schedule(given.seed, seconds, given.workers, pause_s)
    if given.save:
        write(given.save, faults)
        return 0
    enter("benchmarks.chaos", sys.argv[1:])
    if not may_drop():
        print("a network of its own is not allowed here, or iptables is missing: no partitions")
        faults = [fault for fault in faults if fault.kind != "partition"]
    if not may_mount():
        print("no file system may be mounted here: no disk is filled")
        faults = [fault for fault in faults if fault.kind != "disk"]
    for name in ("werkzeug", "httpx", "httpx2", "runpod"):
        logging.getLogger(name).setLevel(logging.ERROR)
    folder = given.logs or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        print(f"{folder} has files of another run: choose another one with --logs")
        return 2
    print(
        f"seed {given.seed}, {given.jobs} jobs, {len(faults)} faults; logs in {folder}", flush=True
    )
    options = Options(given.seed, given.workers, given.at_once, given.models == "fake", folder)
    begin = time.monotonic()
    record = asyncio.run(play(options, plans(given.seed, given.jobs), faults))
    violations = check(record)
    keep(folder / "violations.json", record, violations)
    report(record, violations, given.seed, time.monotonic() - begin)
    return bool(violations)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=32, help="how many jobs clients have open")
    parser.add_argument("--seconds", type=float, help="how long there are faults")
    parser.add_argument(
        "--models", choices=tuple(_PACE), default="fake",
        help="engines without weights, or small models with them",
    )  # fmt: skip
    parser.add_argument("--faults", type=Path, help="a schedule to replay, instead of the seed's")
    parser.add_argument("--save", type=Path, help="write the schedule to a file, and end")
    parser.add_argument("--logs", type=Path, help="the folder for logs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
