"""The report of a run, as tables."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from benchmarks.chaos.history import History, Record, Violation
from benchmarks.report import figures, table


def report(record: Record, violations: list[Violation], seed: int, seconds: float) -> None:
    """Print the faults, the jobs and the violations."""
    spans = Counter(
        (span.fault.kind, span.fault.target.split()[0]) for span in record.spans
    ).most_common()
    table(["fault", "of", "times"], [[kind, target, count] for (kind, target), count in spans])
    print()
    ways = Counter(history.plan.way for history in record.histories)
    ends: Counter[tuple[str, str]] = Counter()
    for history in record.histories:
        ends[history.plan.way, _end(history)] += 1
    kinds = sorted({kind for _, kind in ends})
    rows = [[way, ways[way], *(ends[way, kind] for kind in kinds)] for way in sorted(ways)]
    table(["client", "jobs", *kinds], rows)
    print()
    freed = (
        None if slot.free_s is None else slot.free_s - slot.cancelled_s for slot in record.slots
    )
    print("cancelled jobs freed their slots after", *(f"{after or -1:.2f} s" for after in freed))
    rules = Counter(violation.rule for violation in violations)
    table(["violation", "times"], [[rule, count] for rule, count in rules.items()] or [["none", 0]])
    for violation in violations[:40]:
        job = "" if violation.job is None else f"job {violation.job}: "
        print(f"  {violation.rule}: {job}{violation.seen}")
    figures(
        {
            "seed": seed,
            "jobs": len(record.histories),
            "faults": len(record.spans),
            "seconds": round(seconds, 1),
            "violations": len(violations),
        }
    )


def keep(path: Path, record: Record, violations: list[Violation]) -> None:
    """Write the histories of jobs with violations, and all faults, to a file."""
    jobs = {violation.job for violation in violations}
    histories = [asdict(each) for each in record.histories if each.plan.number in jobs]
    spans = [asdict(span) for span in record.spans]
    path.write_text(json.dumps({"jobs": histories, "faults": spans}, indent=1, default=str))


def _end(history: History) -> str:
    """Return how a job ended, in a word."""
    if ended := history.of("ended"):
        return str(ended[-1].value["status"])
    if history.of("text"):
        return "COMPLETED"
    return "unknown to the platform" if history.of("gone") else "no end"
