"""Models that are loaded at the same time in one worker."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.device.hardware import Device
from models.loading import alone
from models.row import Row
from models.warm import loader
from models.warm.loader import Loader
from tests.conftest import CPU, row
from tests.support.running import run_local

JOBS = {
    "chat": {
        "model": "Tiny_Llama",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 2,
    },
    "images": {"model": "Tiny_Flux", "prompt": "A fox", "size": "64x64", "steps": 1},
    "music": {"model": "Tiny_AceStep", "caption": "Calm", "duration": 10, "inference_steps": 1},
    "embeddings": {"model": "Tiny_BGE_M3", "input": "A text"},
}


def test_the_first_jobs_of_all_surfaces_at_once():
    """Their libraries import each other's modules, and replace what the others use meanwhile."""
    with run_local(surfaces=tuple(JOBS), FAKE_ENGINES="") as local:
        jobs = [(surface, local.run(surface, {"input": body})) for surface, body in JOBS.items()]
        ends = [local.end(surface, job_id) for surface, job_id in jobs]
    assert [end["status"] for end in ends] == ["COMPLETED"] * len(JOBS), ends


def test_one_model_is_loaded_at_a_time_and_weights_are_fetched_beside(monkeypatch):
    fetching, loading, most = threading.Barrier(3, timeout=10), [0], [0]

    class Store:
        def resolve(self, row: Row) -> Path:
            fetching.wait()  # all three at once
            return Path()

    class Slow:
        @classmethod
        def load(cls, folder: Path, row: Row, device: Device) -> Any:
            loading[0] += 1
            most[0] = max(most[0], loading[0])
            time.sleep(0.05)
            loading[0] -= 1
            return row.slug

    monkeypatch.setattr(loader, "engine_class", lambda row: Slow)
    rows = [replace(row("Tiny_BGE_M3"), slug=f"model {number}") for number in range(3)]
    store: Any = Store()
    with ThreadPoolExecutor(3) as threads:
        engines: list[Any] = list(threads.map(Loader(store, CPU), rows))
    assert engines == ["model 0", "model 1", "model 2"]
    assert most == [1]


def test_a_load_that_fails_lets_the_next_one_begin():
    with pytest.raises(ValueError, match="broken"), alone():
        raise ValueError("broken")
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(entered).result(5)


def entered() -> bool:
    with alone(), alone():  # a model's load may load others
        return True
