"""What is vLLM's alone: its process can die. Skipped where vllm is not installed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from models.chat.request import Prompt, Sampling, Tokens
from models.device.hardware import Device
from models.errors import DeviceLost
from models.warm.steps import Steps
from models.warm.ticket import Deadline
from tests.conftest import row
from tests.models.chatting import Reference, letters, ready, together
from tests.models.test_chat_engines import folder

pytest.importorskip("vllm", reason="vllm has an environment of its own: -m vllm")
pytestmark = pytest.mark.anyio

__all__ = ["folder"]  # a fixture


@pytest.mark.timeout(300)
async def test_the_death_of_its_process_is_a_lost_device(folder):
    from models.chat.vllm import VllmChat

    small = replace(row("Tiny_Llama"), options={"family": "llama3", "cache_tokens": 8192})
    engine = await asyncio.to_thread(
        VllmChat.load, folder, small, Device("cpu", 8 * 10**9, bf16=False)
    )
    lost: list[DeviceLost] = []
    steps = Steps(engine, on_lost=lost.append)
    started = asyncio.Event()

    async def ask(seed: int) -> Any:
        rules = Sampling(max_tokens=900, seed=seed, ignore_eos=True)
        item = ready(engine, Prompt(tuple(letters(20, seed)), rules))
        async with aclosing(steps.stream(item, Deadline(time.monotonic() + 60, 5))) as events:
            async for event in events:
                if isinstance(event, Tokens):
                    started.set()

    asked = [asyncio.create_task(ask(seed)) for seed in range(8)]
    await started.wait()
    [core] = engine._engine.engine_core.resources.engine_manager.processes
    os.kill(core.pid, signal.SIGKILL)
    asked.pop().cancel()  # what is to be let go of by a process that is no more
    start = time.monotonic()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert time.monotonic() - start < 30
    assert {type(one) for one in outcomes} == {DeviceLost}
    assert {one.code for one in outcomes} == {"device_lost"}
    assert len(lost) == 1
    with pytest.raises(DeviceLost):
        async with aclosing(steps.stream(None)) as events:
            await anext(events)


@pytest.mark.timeout(300)
async def test_a_process_that_hangs_is_a_lost_device(folder, monkeypatch):
    import models.chat.vllm as module

    small = replace(row("Tiny_Llama"), options={"family": "llama3", "cache_tokens": 8192})
    engine = await asyncio.to_thread(
        module.VllmChat.load, folder, small, Device("cpu", 8 * 10**9, bf16=False)
    )
    monkeypatch.setattr(module, "SILENT_S", 2.0)
    steps = Steps(engine)
    cores = engine._engine.engine_core.resources.engine_manager.processes
    for core in cores:
        os.kill(core.pid, signal.SIGSTOP)
    try:
        item = ready(engine, Prompt((1, 2, 3), Sampling(max_tokens=5)))
        with pytest.raises(DeviceLost, match="no sign of life"):
            async with aclosing(steps.stream(item)) as events:
                await anext(events)
    finally:
        for core in cores:
            os.kill(core.pid, signal.SIGKILL)


@pytest.fixture
def adapter(folder, tmp_path):
    """A LoRA of every attention's queries and values, as peft writes it, and what it adds."""
    import json

    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rank, scale, weights = 4, 8, {}
    torch.manual_seed(9)
    for index, layer in enumerate(model.model.layers):
        for name in ("q_proj", "v_proj"):
            linear = getattr(layer.self_attn, name)
            a = torch.randn(rank, linear.in_features) * 0.2
            b = torch.randn(linear.out_features, rank) * 0.2
            path = f"base_model.model.model.layers.{index}.self_attn.{name}"
            weights |= {f"{path}.lora_A.weight": a, f"{path}.lora_B.weight": b}
            with torch.no_grad():
                linear.weight += scale / rank * (b @ a)
    save_file(weights, tmp_path / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "r": rank, "lora_alpha": scale, "target_modules": ["q_proj", "v_proj"],
        "task_type": "CAUSAL_LM", "bias": "none", "base_model_name_or_path": "x",
    }  # fmt: skip
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    return tmp_path, Reference(model.eval())


@pytest.mark.timeout(300)
def test_adapters_are_chosen_per_request_and_leak_nowhere(folder, adapter):
    from models.chat.vllm import VllmChat

    where, adapted = adapter
    options = {"family": "llama3", "cache_tokens": 8192, "adapters": {"mine": where}}
    small = replace(row("Tiny_Llama"), options=options)
    engine = VllmChat.load(folder, small, Device("cpu", 8 * 10**9, bf16=False))
    try:
        rules = {"temperature": 0.0, "max_tokens": 16}
        same = tuple(letters(40, 3))
        prompts = [
            Prompt(same, Sampling(**rules), adapter=name) for name in (None, "mine", None, "mine")
        ]
        plain, mine, *again = together(engine, prompts)
        assert mine.tokens[0] == adapted.answer(list(same), **rules)[0]
        assert plain.tokens != mine.tokens
        assert [one.tokens for one in again] == [plain.tokens, mine.tokens]
    finally:
        engine.close()
