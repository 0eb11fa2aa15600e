"""What is fed. A target raises ``Broken``, or anything else, only where something is broken."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from benchmarks.fuzz import files, front, requests, weights
from benchmarks.fuzz.mutation import change_bytes, change_json
from benchmarks.fuzz.tensors import change_peft, change_tensors

Feed = Callable[[bytes], None]
_LOOKED_AT_S = 0.02  # what takes less has not filled hundreds of megabytes


@dataclass(frozen=True)
class Target:
    """A target.

    Attributes:
        lend: lends the function that is fed; it may be dear to make.
        change: changes an input.
        seconds: how long one input may take.
        megabytes: how much further the process may grow for one input.
        longest: bytes of the longest input.
    """

    lend: Callable[[], AbstractContextManager[Feed]]
    change: Callable[[bytes, random.Random], bytes] = change_bytes
    seconds: float = 5.0
    megabytes: float = 500.0
    longest: int = 200_000


TARGETS = {
    "job": Target(partial(nullcontext, requests.read_job), change_json),
    **{
        surface: Target(partial(requests.contract, surface), change_json)
        for surface in ("images", "transcribe", "speech", "embeddings")
    },
    # The engine without weights repeats what it is sent, however long.
    "chat": Target(partial(requests.contract, "chat"), change_json, longest=4_000),
    "form": Target(requests.form),
    "uri": Target(requests.uri, longest=4_000),
    "front": Target(front.front, change_json, longest=20_000),
    "settings": Target(partial(nullcontext, requests.settings)),
    "picture": Target(partial(nullcontext, files.picture)),
    "audio": Target(files.audio, longest=20_000),
    "pdf": Target(files.pdf, longest=20_000),
    "safetensors": Target(weights.safetensors, change_tensors, longest=4_000),
    "adapter": Target(weights.adapter, change_tensors, longest=4_000),
    "peft": Target(weights.peft, change_peft, longest=4_000),
}


class TooSlow(Exception):
    """An input took longer than its target allows."""


class TooLarge(Exception):
    """An input took more memory than its target allows."""


@contextmanager
def fed(target: Target) -> Iterator[Feed]:
    """Lend a target's function, which also raises where it takes too long or too much memory."""
    with target.lend() as function:
        most_mb = _most_mb()

        def feed(content: bytes) -> None:
            nonlocal most_mb
            start = time.perf_counter()
            function(content)
            took = time.perf_counter() - start
            if took > target.seconds:
                raise TooSlow(f"{took:.1f} s")
            if took > _LOOKED_AT_S:
                before_mb, most_mb = most_mb, _most_mb()
                if most_mb - before_mb > target.megabytes:
                    raise TooLarge(f"{most_mb - before_mb:.0f} MB")

        yield feed


def _most_mb() -> float:
    """Return the most memory that the process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
