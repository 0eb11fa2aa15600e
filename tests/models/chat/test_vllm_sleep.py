"""vLLM's sleep: with which arguments, when there is room, and in which order. vLLM is played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.chat.vllm.engine import VllmChat
from models.chat.vllm.nap import Nap
from models.device.hardware import available_bytes
from models.errors import DeviceLost
from models.warm.pool import Pool
from tests.conftest import tiny
from tests.support.vllm_client import H100, vllm

__all__ = ["vllm"]  # a fixture
GB = 10**9
PLAIN = replace(tiny("Llama3_8B_Instruct", "llama"), memory_bytes=20 * GB)
SLEEPY = replace(PLAIN, options={"sleeps": True}, weights_bytes=0)


@pytest.fixture
def folder(store: Any) -> Path:
    return store.resolve(PLAIN)


def test_only_one_that_may_sleep_is_started_so(vllm, folder):
    for row, expected in ((SLEEPY, True), (PLAIN, None)):
        engine = VllmChat.load(folder, row, H100)
        assert vllm.started[-1].get("enable_sleep_mode") is expected
        if expected is None:
            assert engine.sleep() is False
            assert vllm.last.calls == ["tasks"]
        engine.close()


def test_it_sleeps_where_its_weights_fit_into_ram(vllm, folder):
    VllmChat.load(folder, SLEEPY, H100).close()
    client, weights = vllm.last, replace(SLEEPY, weights_bytes=16 * GB)
    client.calls.clear()
    assert Nap(client, weights, lambda: 20 * GB - 1).begin() is False
    assert client.calls == []
    nap = Nap(client, weights, lambda: 20 * GB)
    assert nap.begin() is True
    nap.end()
    assert client.calls == ["cache forgotten", ("sleep", 1), "wake up"]


def test_a_process_that_is_no_more_is_a_lost_device(vllm, folder):
    VllmChat.load(folder, SLEEPY, H100).close()

    class EngineDeadError(Exception):
        pass

    vllm.sleep_fails = EngineDeadError()
    with pytest.raises(DeviceLost):
        Nap(vllm.last, SLEEPY, lambda: 100 * GB).begin()


@pytest.mark.anyio
async def test_two_models_take_turns(vllm, folder):
    """Through the pool: the second start is none."""
    rows = [replace(SLEEPY, slug=slug, weights_bytes=1) for slug in ("a", "b")]
    pool = Pool(lambda row: VllmChat.load(folder, row, H100), 20 * GB, 8)
    engines = []
    for row in (*rows, *rows):
        async with pool.lease(row) as model:
            engines.append(model.engine)
    assert len(vllm.started) == 2
    assert engines[:2] == engines[2:]
    for engine in engines[:2]:
        engine.close()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8000),
        ({"memory.max": "max", "memory.current": "1", "memory.stat": ""}, 8000),
        ({"memory.max": "5000000", "memory.current": "4000000", "memory.stat": "file 9\ninactive_file 500000\n"}, 1464),
        ({"memory.max": "1000", "memory.current": "4000", "memory.stat": ""}, 0),
        ({"memory/memory.limit_in_bytes": "3072000", "memory/memory.usage_in_bytes": "1024000",
          "memory/memory.stat": "total_inactive_file 1024\n"}, 2001),
    ],
)  # fmt: skip
def test_the_ram_that_is_free(tmp_path, files, expected):
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    (tmp_path / "memory").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert available_bytes(tmp_path / "meminfo", tmp_path) // 1024 == expected
    assert available_bytes(tmp_path / "none", tmp_path) == 0
