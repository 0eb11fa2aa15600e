"""vLLM, played: its client, and the modules of it that are imported."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import pytest

from models.chat.vllm.start import environment
from models.device.hardware import Device
from tests.conftest import row

H100 = Device("cuda", 80 * 2**30, bf16=True, capability=(9, 0), name="NVIDIA H100 80GB HBM3")
LLAMA = row("Llama3_8B_Instruct")


class LoraRequest(NamedTuple):
    """Of an adapter."""

    name: str
    lora_int_id: int
    path: str


class Client:
    """vLLM's, as far as it is used here."""

    started: list[dict[str, Any]]
    ends: ClassVar = [257, 999]
    vocabulary = 260
    fails: Exception | None = None
    adapter_fails: Exception | None = None
    sleep_fails: Exception | None = None

    def __init__(self, args: Any) -> None:
        model = SimpleNamespace(
            max_model_len=2048, max_logprobs=20, get_vocab_size=lambda: self.vocabulary,
            try_get_generation_config=lambda: {"eos_token_id": self.ends},
        )  # fmt: skip
        cache = SimpleNamespace(num_gpu_blocks=100, block_size=32)
        scheduler = SimpleNamespace(max_num_seqs=64)
        self.vllm_config = SimpleNamespace(
            model_config=model, cache_config=cache, scheduler_config=scheduler
        )
        self.engine_core = SimpleNamespace(shutdown=lambda: self.calls.append("shutdown"))
        self.calls: list[Any] = []

    @classmethod
    def from_engine_args(cls, args: Any, **kwargs: Any) -> Client:
        cls.started.append({**vars(args), **kwargs, "environment": dict(os.environ)})
        if cls.fails is not None:
            raise cls.fails
        cls.last = cls(args)
        return cls.last

    def get_supported_tasks(self) -> None:
        self.calls.append("tasks")

    def collective_rpc(self, name: str) -> list[float]:
        assert name == "compile_seconds"
        return [1.5, 2.5]

    def add_lora(self, request: Any) -> None:
        self.calls.append(("lora", request.name))
        if self.adapter_fails is not None:
            raise self.adapter_fails

    def reset_prefix_cache(self) -> bool:
        self.calls.append("cache forgotten")
        return True

    def sleep(self, level: int) -> None:
        self.calls.append(("sleep", level))
        if self.sleep_fails is not None:
            raise self.sleep_fails

    def wake_up(self) -> None:
        self.calls.append("wake up")

    def remove_lora(self, number: int) -> None:
        self.calls.append(("unloaded", number))

    def add_request(self, name: str, prompt: Any, params: Any, *, lora_request: Any) -> str:
        adapter = None if lora_request is None else lora_request.name
        self.calls.append(("request", name, adapter))
        return name

    def abort_request(self, names: list[str], *, internal: bool = False) -> None:
        self.calls.append(("abort", *names))


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    """A vllm whose client is played; what its start changes in the environment is undone."""
    client = type("Client", (Client,), {"started": []})
    context = SimpleNamespace(OPENAI_API_SERVER="the server's")
    for name, content in {
        "vllm": {"EngineArgs": SimpleNamespace, "SamplingParams": SimpleNamespace},
        "vllm.exceptions": {"VLLMClientError": RuntimeError},
        "vllm.sampling_params": {"RequestOutputKind": SimpleNamespace(DELTA="delta")},
        "vllm.usage": {},
        "vllm.usage.usage_lib": {"UsageContext": context},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.llm_engine": {"LLMEngine": client},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": LoraRequest},
    }.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for name in environment(LLAMA, H100):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return client
