"""The GPU's memory: too little of it for a run, and what is given back."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.chat.request import Prompt, Sampling
from models.device.hardware import Device
from models.device.memory import free_memory, settle
from models.embeddings.request import EmbedRequest
from models.engine import BatchEngine
from models.images.request import ImageRequest
from models.row import Row
from models.warm.batch import Batcher
from models.warm.loader import Loader
from models.warm.pool import Pool
from tests.conftest import row
from tests.gpu.conftest import allocated_bytes, need, scarce
from tests.support.chat_folders import folder
from tests.support.chatting import alone, letters
from tests.support.driving import run

__all__ = ["folder"]  # a fixture
pytestmark = pytest.mark.gpu

LONG, TEXTS = 2000, 512
CACHED = replace(
    row("Tiny_Llama"),
    options={"family": "llama3", "cache_tokens": 8192},
    memory_bytes=6 * 10**9,  # of a GPU, whose libraries alone take a part of it
)


def embed(engine: Any) -> None:
    engine.forward(engine.texts.read(("a", "b" * 20), str).tokens, frozenset({"dense"}))


def paint(engine: Any) -> None:
    run(engine, ImageRequest("a fox", seeds=(1,), width=64, height=64, steps=1))


USED: dict[str, tuple[Row, Callable[[Any], Any]]] = {
    "embeddings": (row("Tiny_BGE_M3"), embed),
    "chat": (CACHED, lambda engine: alone(engine, letters(20), max_tokens=4, ignore_eos=True)),
    "images": (row("Tiny_Flux"), paint),
}


class Limited(BatchEngine):
    """An engine whose run is out of memory beyond a size, as torch says it; a CPU's stand-in."""

    def __init__(self, engine: Any, most: int) -> None:
        self._engine, self._most = engine, most
        self.budget, self.failed = engine.budget, 0

    @classmethod
    def load(cls, folder: Any, row: Row, device: Device) -> Any:
        raise NotImplementedError

    def prepare(self, request: Any) -> Any:
        return self._engine.prepare(request)

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
    need(used)
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


@pytest.mark.parametrize("used", USED)
def test_what_was_settled_is_given_back_too(store: Any, gpu: Device, used: str) -> None:
    """As a preloaded model that is evicted."""
    need(used)
    model, use = USED[used]
    use(Loader(store, gpu)(model))  # what a library keeps for all engines is there by then
    free_memory()
    before = allocated_bytes(gpu)
    engine = Loader(store, gpu)(model)
    use(engine)
    held = allocated_bytes(gpu) - before
    settle()
    try:
        engine.close()
        del engine
        free_memory()
        assert held > 100_000
        assert allocated_bytes(gpu) - before < 0.05 * held
    finally:
        gc.unfreeze()


def test_two_chat_models_take_turns(store: Any, gpu: Device) -> None:
    """Each counts for all there is: the second is loaded when the first has left the memory."""
    need("chat")
    models = [replace(CACHED, slug=slug, memory_bytes=gpu.budget_bytes) for slug in ("a", "b")]
    if gpu.kind == "cuda":  # as much as there is, planned by the share
        models = [replace(one, options={"family": "llama3"}) for one in models]
    pool = Pool(Loader(store, gpu), gpu.budget_bytes, 8)

    async def turns() -> None:
        for number in (0, 1, 0, 1):
            async with pool.lease(models[number]) as warm:
                rules = Sampling(max_tokens=4, ignore_eos=True, temperature=0.0)
                async for _ in warm.stream(Prompt(tuple(letters(20)), rules)):
                    pass
                assert pool.warm == [models[number].slug]

    asyncio.run(turns())


def test_vllm_leaves_the_gpus_memory(gpu: Device, folder: Path) -> None:
    """Its process ends with it."""
    pytest.importorskip("vllm", reason="vllm is not installed")
    import torch

    from models.chat.vllm.engine import VllmChat

    def free() -> int:
        return int(torch.cuda.mem_get_info()[0]) if gpu.kind == "cuda" else 0

    before = free()
    for _ in range(2):  # the second starts on what the first has left
        part = replace(CACHED, options={"family": "llama3"}, memory_bytes=gpu.budget_bytes // 2)
        engine = VllmChat.load(folder, part, gpu)
        alone(engine, letters(20), max_tokens=4, ignore_eos=True)
        engine.close()
        free_memory()
        deadline = time.monotonic() + 30
        while before - free() > 10**9 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert before - free() < 10**9


def test_a_full_size_models_runs_are_large(gpu: Device, tmp_path: Path) -> None:
    """BGE-M3 with random weights: a run of some thousand tokens is what fills a GPU."""
    if gpu.kind != "cuda":
        pytest.skip("played by the CPU")
    import torch

    from benchmarks.gpu.embeddings import FULL
    from models.embeddings.torch import TorchEmbeddings
    from models.tiny import bge_m3

    with torch.random.fork_rng():
        torch.manual_seed(1)
        bge_m3.write(tmp_path / "m3", *bge_m3.parts(**FULL))
    engine = TorchEmbeddings.load(tmp_path / "m3", row("BGE_M3"), gpu)
    assert engine.budget is not None
    assert engine.budget > 4096
    engine.close()


def test_what_a_gpu_says_of_itself(gpu: Device) -> None:
    """torch sees the GPU that the worker's own look found, and as much memory."""
    import torch

    if gpu.kind != "cuda":
        pytest.skip("played by the CPU")
    there = torch.cuda.get_device_properties(0)
    assert abs(there.total_memory - gpu.memory_bytes) < 0.1 * gpu.memory_bytes
    assert gpu.bf16 == (there.major >= 8)
    assert gpu.capability == (there.major, there.minor)
    assert gpu.name == there.name
