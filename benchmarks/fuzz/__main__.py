"""``python -m benchmarks.fuzz TARGET --runs N``.

    .venv/bin/python -m benchmarks.fuzz chat --runs 100000

With Atheris (``pip install -r builder/requirements/fuzz.txt``) the inputs are guided by the
coverage that they reach, else they are changes of the corpus. An input that breaks something is
written into ``tests/corpus``, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from benchmarks.fuzz.corpus import CORPUS, keep, seeds
from benchmarks.report import figures

try:
    import atheris
except ImportError:
    atheris = None
    from benchmarks.fuzz.targets import TARGETS, fed
else:
    # Before anything of ours is imported: this is how it sees the coverage.
    with atheris.instrument_imports(include=["handler", "models", "local"]):
        from benchmarks.fuzz.targets import TARGETS, fed

_KEPT, _POOL = 0.02, 4000
_FRESH = 0.3  # the share of inputs that are changes of the corpus
_IN_MEMORY = Path("/dev/shm")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz")
    parser.add_argument("target", choices=(*TARGETS, "all"))
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blind", action="store_true", help="without Atheris, if it is there")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if _IN_MEMORY.is_dir():  # to make and remove a file for each input takes longer on a disk
        tempfile.tempdir = str(_IN_MEMORY)
    if not given.blind and given.target != "all" and atheris is not None:
        return guided(given.target, given.runs, given.seed)
    names = list(TARGETS) if given.target == "all" else [given.target]
    return max(blind(name, given.runs, given.seed) for name in names)


def blind(name: str, runs: int, seed: int) -> int:
    """Feed changes of the corpus; return how many inputs broke something, one at most."""
    target, chance = TARGETS[name], random.Random(seed)
    pool, begin = seeds(name), time.perf_counter()
    with fed(target) as feed:
        for _ in range(runs):
            content = target.change(chance.choice(pool), chance)[: target.longest]
            if not _survives(name, feed, content):
                return 1
            if chance.random() < _KEPT and len(pool) < _POOL:  # changes of changes
                pool.append(content)
    seconds = time.perf_counter() - begin
    figures({"target": name, "runs": runs, "per_second": runs / max(seconds, 1e-9)})
    return 0


def _survives(name: str, feed: Callable[[bytes], None], content: bytes) -> bool:
    try:
        feed(content)
    except Exception:  # noqa: BLE001 - whatever it is, it must not be
        traceback.print_exc()
        print(f"{name}: broken by {keep(name, content)}")
        return False
    return True


def guided(name: str, runs: int, seed: int) -> int:
    """Feed what Atheris makes of the corpus; it ends the process itself."""
    target = TARGETS[name]
    found = tempfile.mkdtemp(prefix=f"fuzz-{name}-")
    arguments = [sys.argv[0], f"-runs={runs}", f"-seed={seed}", f"-max_len={target.longest}"]
    arguments += [f"-artifact_prefix={found}/", "-rss_limit_mb=6000", found, str(CORPUS / name)]
    with fed(target) as feed:

        def one(content: bytes) -> None:
            if not _survives(name, feed, content):
                sys.stdout.flush()
                raise RuntimeError("broken")

        atheris.Setup(arguments, one, custom_mutator=_mutator(name))
        atheris.Fuzz()
    return 0


def _mutator(name: str) -> Callable[[bytes, int, int], bytes]:
    """Return what makes the next input, of an earlier one or of the corpus.

    The coverage of decoders in C is not seen: by themselves, earlier inputs become short.
    """
    target, pool = TARGETS[name], seeds(name)

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < _FRESH:
            content = chance.choice(pool)
        return target.change(content, chance)[:most]

    return mutate


if __name__ == "__main__":
    sys.exit(main())
