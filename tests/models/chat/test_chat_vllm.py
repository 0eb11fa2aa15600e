"""What is vLLM's alone: its process can die. Skipped where vllm is not installed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from models.chat.admission import Limits
from models.chat.request import Adapter, Prompt, Sampling, Tokens
from models.device.hardware import Device
from models.errors import DeviceLost, ModelLoadFailed
from models.stages import recording
from models.warm.steps import Steps
from models.warm.ticket import Deadline
from tests.conftest import ROOT, row
from tests.support.chat_folders import folder
from tests.support.chatting import Reference, letters, together
from tests.support.connections import noted, noting, outgoing

pytest.importorskip("vllm", reason="vllm has an environment of its own: -m vllm")
pytestmark = pytest.mark.anyio

__all__ = ["folder"]  # a fixture


@pytest.mark.timeout(300)
async def test_the_death_of_its_process_is_a_lost_device(folder):
    from models.chat.vllm.engine import VllmChat

    small = replace(row("Tiny_Llama"), options={"family": "llama3", "cache_tokens": 8192})
    engine = await asyncio.to_thread(
        VllmChat.load, folder, small, Device("cpu", 8 * 10**9, bf16=False)
    )
    lost: list[DeviceLost] = []
    steps = Steps(engine, on_lost=lost.append)
    started = asyncio.Event()

    async def ask(seed: int) -> Any:
        rules = Sampling(max_tokens=900, seed=seed, ignore_eos=True)
        item = await engine.prepare(Prompt(tuple(letters(20, seed)), rules))
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
    import models.chat.vllm.engine as module

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
        item = await engine.prepare(Prompt((1, 2, 3), Sampling(max_tokens=5)))
        with pytest.raises(DeviceLost, match="no sign of life"):
            async with aclosing(steps.stream(item)) as events:
                await anext(events)
    finally:
        for core in cores:
            os.kill(core.pid, signal.SIGKILL)


CPU = Device("cpu", 8 * 10**9, bf16=False)
H100 = Device("cuda", 80 * 2**30, bf16=True, capability=(9, 0), name="NVIDIA H100")
B200 = Device("cuda", 180 * 2**30, bf16=True, capability=(10, 0), name="NVIDIA B200")


@pytest.mark.timeout(300)
def test_every_setting_arrives(folder):
    """What vllm made of each argument, on its build for a CPU."""
    from models.chat.vllm.engine import VllmChat
    from models.chat.vllm.start import arguments

    small = replace(row("Tiny_Llama"), options={"family": "llama3", "cache_tokens": 8192})
    given = arguments(folder, small, CPU)
    with recording() as stages, stages.stage("load"):
        engine = VllmChat.load(folder, small, CPU)
    try:
        config = engine._engine.vllm_config
        found = {
            "model": config.model_config.model,
            "trust_remote_code": config.model_config.trust_remote_code,
            "dtype": str(config.model_config.dtype).removeprefix("torch."),
            "tensor_parallel_size": config.parallel_config.tensor_parallel_size,
            "enable_prefix_caching": config.cache_config.enable_prefix_caching,
            "structured_outputs_config": {"backend": config.structured_outputs_config.backend},
            "enforce_eager": config.model_config.enforce_eager,
            "disable_log_stats": not engine._engine.log_stats,
            "load_format": config.load_config.load_format,
            "worker_extension_cls": config.parallel_config.worker_extension_cls,
            "gpu_memory_utilization": config.cache_config.gpu_memory_utilization,
            "max_model_len": config.model_config.max_model_len,
            "block_size": config.cache_config.block_size,
            "num_gpu_blocks_override": config.cache_config.num_gpu_blocks,
        }
        assert {**given, "num_gpu_blocks_override": found["num_gpu_blocks_override"]} == found
        # vllm itself takes one of the blocks away, and rounds.
        assert abs(found["num_gpu_blocks_override"] - given["num_gpu_blocks_override"]) <= 1
        assert config.scheduler_config.max_num_batched_tokens == 2048
        assert config.scheduler_config.max_num_seqs == 128
        assert engine._entrance._limits == Limits(config.model_config.get_vocab_size(), 1024, 20)
        assert stages.seconds["compile"] == 0.0  # asked of its process: on a CPU nothing is
        assert stages.seconds["load"] > 0
    finally:
        engine.close()


@pytest.mark.parametrize("device", [H100, B200])
@pytest.mark.parametrize("share", [0.9, 0.3])
def test_vllm_knows_every_argument_for_a_gpu(folder, device, share):
    """Each is a field of its arguments, and the attention one that it has."""
    from vllm import EngineArgs
    from vllm.config import AttentionConfig
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    from models.chat.vllm.start import arguments

    options = {"family": "llama3", "gpus": 2, "cache_tokens": 4096}
    small = replace(
        row("Tiny_Llama"), options=options, memory_bytes=int(share * device.memory_bytes)
    )
    given = arguments(folder, small, device)
    made = EngineArgs(**given)
    assert {name: getattr(made, name) for name in given} == given
    backend = AttentionConfig.validate_backend_before(given.get("attention_backend"))
    assert backend == (AttentionBackendEnum.FLASH_ATTN if device is B200 else None)


def test_the_limits_of_its_worker_are_those_that_are_checked():
    from vllm.v1.worker.gpu.sample import logit_bias

    from models.chat.vllm import sampling

    assert logit_bias.MAX_NUM_LOGIT_BIAS_TOKENS == sampling._MOST_BIASES
    assert logit_bias.MAX_NUM_STOP_TOKEN_IDS == sampling._MOST_ENDS


def test_its_servers_batches_are_the_larger_ones(monkeypatch):
    """On an H100 8,192 tokens and 1,024 requests; for a client as ours it takes neither by itself."""
    from vllm import EngineArgs
    from vllm.engine import arg_utils
    from vllm.usage.usage_lib import UsageContext

    from models.chat.vllm.start import _USUAL_STEPS, _USUAL_STEPS_BELOW

    monkeypatch.setattr(arg_utils.current_platform, "is_cpu", lambda: False)
    name = lambda *_: "NVIDIA H100"  # noqa: E731
    monkeypatch.setattr(arg_utils.current_platform, "get_device_name", name, raising=False)
    for gib, steps in (
        (180, _USUAL_STEPS[0][1]),
        (80, _USUAL_STEPS[1][1]),
        (24, _USUAL_STEPS_BELOW),
    ):
        total = lambda *_, gib=gib: gib * 2**30  # noqa: E731
        monkeypatch.setattr(arg_utils.current_platform, "get_device_total_memory", total)
        tokens, requests = EngineArgs.get_batch_defaults(1)
        server = UsageContext.OPENAI_API_SERVER
        assert (tokens[server], requests[server]) == (steps.tokens, steps.requests)
        assert UsageContext.ENGINE_CONTEXT not in tokens


REPORTER = """
import sys, time
from dataclasses import replace
from pathlib import Path

def main():
    from models.chat.vllm.engine import VllmChat
    from models.device.hardware import Device
    from tests.conftest import row
    from tests.support.chatting import alone

    small = replace(row("Tiny_Llama"), options={"family": "llama3", "cache_tokens": 4096})
    engine = VllmChat.load(Path(sys.argv[1]), small, Device("cpu", 8 * 10**9, bf16=False))
    assert alone(engine, [1, 2, 3], max_tokens=2, ignore_eos=True)[1] == "length"
    time.sleep(3)
    engine.close()

if __name__ == "__main__":
    main()
"""


@pytest.mark.timeout(300)
def test_it_reports_to_nobody(folder, tmp_path):
    """vllm's own report is sent from a thread as soon as it is up."""
    (tmp_path / "reporter.py").write_text(REPORTER)
    names = ("PATH", "HOME", "QUARTET_CACHE")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    env = {**kept, **noting(tmp_path)}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
    program = [sys.executable, str(tmp_path / "reporter.py"), str(folder)]
    done = subprocess.run(program, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert noted(tmp_path)  # its processes talk to each other
    assert outgoing(tmp_path) == []


@pytest.mark.timeout(300)
def test_an_adapter_that_its_worker_refuses_fails_the_load(folder, adapter):
    """At a request it would end the process; here it is named, and the process is gone."""
    import json

    from models.chat.vllm.engine import VllmChat

    where, _ = adapter
    config = json.loads((where / "adapter_config.json").read_text())
    (where / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    options = {"family": "llama3", "cache_tokens": 8192, "adapters": {"mine": where}}
    small = replace(row("Tiny_Llama"), options=options)
    before = {process.pid for process in multiprocessing.active_children()}
    with pytest.raises(ModelLoadFailed, match="the adapter mine cannot be loaded"):
        VllmChat.load(folder, small, CPU)
    deadline = time.monotonic() + 30
    while left := {one.pid for one in multiprocessing.active_children()} - before:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


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
    from models.chat.vllm.engine import VllmChat

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


@pytest.mark.timeout(300)
def test_adapters_that_requests_bring_are_loaded_and_leak_nowhere(folder, adapter):
    """There is room for one: the second takes the place of the first, which is loaded again."""
    from models.chat.vllm.engine import VllmChat

    where, adapted = adapter
    copied = where.parent / f"{where.name}-copied"
    shutil.copytree(where, copied)
    options = {"family": "llama3", "cache_tokens": 8192, "loras": 1, "lora_rank": 8}
    small = replace(row("Tiny_Llama"), options=options)
    engine = VllmChat.load(folder, small, Device("cpu", 8 * 10**9, bf16=False))
    try:
        rules = {"temperature": 0.0, "max_tokens": 16}
        same = tuple(letters(40, 3))
        wanted = adapted.answer(list(same), **rules)[0]
        made = []
        for folder_ in (None, where, copied, None, where):
            brought = None if folder_ is None else Adapter("me/mine", folder_)
            [answer] = together(engine, [Prompt(same, Sampling(**rules), adapter=brought)])
            made.append(answer.tokens)
        plain, first, second, plain_again, again = made
        assert first[0] == second[0] == again[0] == wanted
        assert plain == plain_again
        assert plain[0] != wanted
    finally:
        engine.close()
