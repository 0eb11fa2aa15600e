"""What is fed. A target raises ``Broken``, or anything else, only where something is broken."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from benchmarks.fuzz import files, requests
from benchmarks.fuzz.mutation import change_bytes, change_json

Feed = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """A target.

    Attributes:
        lend: lends the function that is fed; it may be dear to make.
        change: changes an input.
        seconds: how long one input may take.
    """

    lend: Callable[[], AbstractContextManager[Feed]]
    change: Callable[[bytes, random.Random], bytes] = change_bytes
    seconds: float = 5.0


TARGETS = {
    "job": Target(partial(nullcontext, requests.read_job), change_json),
    **{
        surface: Target(partial(requests.contract, surface), change_json)
        for surface in ("chat", "images", "transcribe", "speech", "embeddings")
    },
    "form": Target(partial(nullcontext, requests.form)),
    "uri": Target(partial(nullcontext, requests.uri)),
    "settings": Target(partial(nullcontext, requests.settings)),
    "picture": Target(partial(nullcontext, files.picture)),
    "audio": Target(files.audio, seconds=30),
    "safetensors": Target(files.safetensors),
    "adapter": Target(files.adapter, seconds=30),
}


class TooSlow(Exception):
    """An input took longer than its target allows."""


@contextmanager
def fed(target: Target) -> Iterator[Feed]:
    """Lend a target's function, which also raises where it takes too long."""
    with target.lend() as function:

        def feed(content: bytes) -> None:
            start = time.perf_counter()
            function(content)
            took = time.perf_counter() - start
            if took > target.seconds:
                raise TooSlow(f"{took:.1f} s")

        yield feed
