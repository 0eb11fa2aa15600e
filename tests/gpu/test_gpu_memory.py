"""The GPU's memory: too little of it for a run, and what is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.device.hardware import Device
from models.device.memory import free_memory
from models.embeddings.request import EmbedRequest
from models.images.request import ImageRequest
from models.row import Row
from models.warm.batch import Batcher
from models.warm.loader import Loader
from tests.conftest import row
from tests.gpu.conftest import allocated_bytes, scarce
from tests.models.chatting import alone, letters
from tests.models.driving import run

pytestmark = pytest.mark.gpu

LONG, TEXTS = 2000, 512
CACHED = replace(row("Tiny_Llama"), options={"family": "llama3", "cache_tokens": 8192})


def embed(engine: Any) -> None:
    engine.forward(engine.texts.read(("a", "b" * 20), str).tokens, frozenset({"dense"}))


def paint(engine: Any) -> None:
    run(engine, ImageRequest("a fox", seeds=(1,), width=64, height=64, steps=1))


USED: dict[str, tuple[Row, Callable[[Any], Any]]] = {
    "embeddings": (row("Tiny_BGE_M3"), embed),
    "chat": (CACHED, lambda engine: alone(engine, letters(20), max_tokens=4, ignore_eos=True)),
    "images": (row("Tiny_Flux"), paint),
}


class Limited:
    """An engine whose run is out of memory beyond a size, as torch says it; a CPU's stand-in."""

    packs, capacity = False, 1

    def __init__(self, engine: Any, most: int) -> None:
        self._engine, self._most = engine, most
        self.budget, self.failed = engine.budget, 0

    def run(self, batch: Any) -> Any:
        import torch

        if len(batch) > self._most:
            self.failed += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self._engine.run(batch)

    def close(self) -> None:
        self._engine.close()


def test_a_run_that_is_out_of_memory_is_halved(store: Any, exact: Device, caplog: Any) -> None:
    """Every request has the answer that it has with all the memory."""
    texts, long = (TEXTS, LONG) if exact.kind == "cuda" else (8, 100)
    engine = Loader(store, exact)(row("Tiny_BGE_M3"))
    engine.budget = texts * (long + 8)  # all of them in one run
    asked = [EmbedRequest(("ab"[index % 2] * long,)) for index in range(texts)]
    works = [engine.prepare(one) for one in asked]
    parts = [work.parts[0] for work in works]
    expected = engine.forward(parts[:2], frozenset({"dense"}))["dense"]

    async def answers() -> list[Any]:
        limited = engine if exact.kind == "cuda" else Limited(engine, texts // 2)
        batcher = Batcher(limited, max_jobs=texts)
        done = await asyncio.gather(*(batcher.submit(work) for work in works))
        assert batcher.budget < engine.budget
        await batcher.close()
        return [work.finish(one) for work, one in zip(works, done, strict=True)]

    with scarce(exact, lambda: engine.forward(parts, frozenset({"dense"})), 0.75):
        found = asyncio.run(answers())
    assert "halving it" in caplog.text
    for index, one in enumerate(found):
        assert np.abs(one.vectors[0].dense - expected[index % 2]).max() < 1e-5


@pytest.mark.parametrize("used", USED)
def test_a_closed_engine_gives_its_memory_back(store: Any, gpu: Device, used: str) -> None:
    """The second time: what a library keeps for all engines is there by then."""
    model, use = USED[used]
    held, left = [], []
    for _ in range(2):
        free_memory()
        before = allocated_bytes(gpu)
        engine = Loader(store, gpu)(model)
        use(engine)
        held.append(allocated_bytes(gpu) - before)
        engine.close()
        del engine
        free_memory()
        left.append(allocated_bytes(gpu) - before)
    assert held[1] > 100_000
    assert left[1] < 0.05 * held[1]


def test_what_a_gpu_says_of_itself(gpu: Device) -> None:
    """torch sees the GPU that the worker's own look found, and as much memory."""
    import torch

    if gpu.kind != "cuda":
        pytest.skip("played by the CPU")
    there = torch.cuda.get_device_properties(0)
    assert abs(there.total_memory - gpu.memory_bytes) < 0.1 * gpu.memory_bytes
    assert gpu.bf16 == (there.major >= 8)
