"""Adapters that requests bring to vLLM: peft's own are taken, others are refused, none stays on.

vLLM is played; the model and its adapters are real, and tiny.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from models.chat.request import Adapter, Prompt, Sampling
from models.chat.share import lora_bytes
from models.chat.vllm.engine import VllmChat
from models.chat.vllm.start import arguments
from models.errors import DeviceLost, InvalidValue, UnsupportedParameter
from tests.conftest import tiny
from tests.support.chatting import ready
from tests.support.vllm_client import H100, vllm

__all__ = ["vllm"]  # a fixture
ROW = replace(
    tiny("Llama3_8B_Instruct", "llama"),
    memory_bytes=20 * 10**9,
    options={"loras": 2, "lora_rank": 16},
)
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture(scope="module")
def folder(store: Any) -> Path:
    return store.resolve(ROW)


@pytest.fixture(scope="module")
def real(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of every projection, as peft saves it."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = peft.LoraConfig(r=8, target_modules=names, task_type="CAUSAL_LM")
    path = tmp_path_factory.mktemp("adapter")
    with warnings.catch_warnings():  # of an old name of transformers', which peft reads
        warnings.simplefilter("ignore", FutureWarning)
        peft.get_peft_model(model, config).save_pretrained(path)
    return path


@pytest.fixture
def make(real: Path, tmp_path: Path) -> Callable[..., Adapter]:
    """Copies of the adapter, with changes."""

    def made(
        name: str = "me/law",
        tensors: Callable[[dict[str, Any]], Any] = lambda one: one,
        **config: Any,
    ) -> Adapter:
        path = tmp_path / name.replace("/", "--")
        path.mkdir()
        given = json.loads((real / CONFIG).read_text())
        (path / CONFIG).write_text(json.dumps({**given, **config}))
        save_file(tensors(load_file(real / WEIGHTS)), path / WEIGHTS)
        return Adapter(name, path, "lora")

    return made


@pytest.fixture
def engine(vllm: Any, folder: Path) -> Any:
    engine = VllmChat.load(folder, ROW, H100)
    yield engine
    engine.close()


def asked(adapter: Any = None) -> Prompt:
    return Prompt((1, 2, 3), Sampling(max_tokens=4), adapter=adapter)


def test_room_for_them_is_planned(vllm, folder):
    given = arguments(folder, ROW, H100)
    assert (given["enable_lora"], given["max_loras"], given["max_lora_rank"]) == (True, 3, 16)
    plain = arguments(folder, replace(ROW, options={}), H100)
    assert "enable_lora" not in plain
    llama = {
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "hidden_size": 4096, "intermediate_size": 14336,
    }  # fmt: skip
    # What peft counts for Llama 3 8B at rank 16: 41,943,040 parameters.
    assert lora_bytes(llama, 1, 16) == 2 * 41_943_040


def test_an_adapter_is_loaded_once_and_only_for_its_request(vllm, engine, make):
    law = make()
    for key, adapter in enumerate((law, None, law)):
        engine.admit(key, ready(engine, asked(adapter)))
    assert vllm.last.calls == [
        "tasks",
        ("lora", "me/law#1"),
        ("request", "0.0", "me/law#1"),
        ("request", "1.0", None),
        ("request", "2.0", "me/law#1"),
    ]


def test_the_one_used_longest_ago_is_unloaded_but_none_that_is_in_use(vllm, engine, make):
    law, poems, songs = (make(f"me/{name}") for name in ("law", "poems", "songs"))
    engine.admit(0, ready(engine, asked(law)))
    for key, adapter in enumerate((poems, songs), start=1):
        engine.admit(key, ready(engine, asked(adapter)))
    assert not any(call[0] == "unloaded" for call in vllm.last.calls)  # all three are answered
    for key in range(3):
        engine.drop(key)
    vllm.last.calls.clear()
    engine.admit(3, ready(engine, asked(songs)))
    assert vllm.last.calls == [("unloaded", 1), ("request", "3.0", "me/songs#3")]
    engine.drop(3)
    vllm.last.calls.clear()
    engine.admit(4, ready(engine, asked(law)))  # by a new name: prompts are kept by it
    assert vllm.last.calls == [
        ("lora", "me/law#4"),
        ("unloaded", 2),
        ("request", "4.0", "me/law#4"),
    ]


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda tensors: {one: value for one, value in tensors.items() if name not in one}


def with_shape(name: str, *shape: int) -> Callable[[dict[str, Any]], Any]:
    return lambda tensors: {
        one: torch.zeros(shape) if name in one else value for one, value in tensors.items()
    }


LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"r": 32}, "its rank is 32, and at most 16 is held"),
        ({"r": 4}, "is not of rank 4"),
        ({"r": "8"}, "is not that of a LoRA adapter"),
        ({"r": None}, "is not that of a LoRA adapter"),
        ({"peft_type": "IA3"}, "is not that of a LoRA adapter"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"tensors": without("q_proj.lora_B")}, "lacks its other half"),
        ({"tensors": with_shape(f"{LAYER}.lora_A", 8, 7)}, "has the width 7, and the model"),
        ({"tensors": with_shape(f"{LAYER}.lora_B", 9, 8)}, "has the width 9, and the model"),
        ({"tensors": with_shape(f"{LAYER}.lora_A", 8)}, "is not of rank 8"),
        ({"tensors": lambda _: {"x": torch.zeros(1)}}, "x is no part of a LoRA adapter"),
        (
            {"tensors": lambda one: {k.replace("layers.0", "layers.99"): v for k, v in one.items()}},
            "has no module model.layers.99",
        ),
        ({"tensors": lambda _: {}}, "0 tensors"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_it_is_let_in(vllm, engine, make, changes, reason):
    with pytest.raises(InvalidValue, match="lora: the adapter me/law cannot be used") as refused:
        ready(engine, asked(make(**changes)))
    assert reason in refused.value.message
    assert (refused.value.code, refused.value.param) == ("lora_invalid", "lora")
    assert vllm.last.calls == ["tasks"]
    ready(engine, asked())


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"[" * 100_000, b" " * 2_000_000], ids=range(5)
)
def test_hostile_configurations(vllm, engine, make, content):
    adapter = make()
    (adapter.folder / CONFIG).write_bytes(content)
    with pytest.raises(InvalidValue, match="has no adapter_config.json"):
        ready(engine, asked(adapter))


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"\xff" * 100], ids=range(3))
def test_what_is_no_safetensors_file(vllm, engine, make, content):
    adapter = make()
    (adapter.folder / WEIGHTS).write_bytes(content)
    with pytest.raises(InvalidValue, match="is not a complete safetensors file"):
        ready(engine, asked(adapter))


def test_what_vllm_does_not_load_fails_its_request_alone(vllm, engine, make):
    law = make()
    vllm.adapter_fails = ValueError("expected target modules in {...}")
    with pytest.raises(InvalidValue, match="vllm does not load it"):
        engine.admit(0, ready(engine, asked(law)))
    engine.drop(0)
    vllm.adapter_fails = None
    engine.admit(1, ready(engine, asked(law)))
    assert vllm.last.calls[-1] == ("request", "1.0", "me/law#2")

    class EngineDeadError(Exception):
        pass

    vllm.adapter_fails = EngineDeadError()
    with pytest.raises(DeviceLost):
        engine.admit(2, ready(engine, asked(make("me/other"))))


def test_without_room_they_are_refused(vllm, folder, make):
    engine = VllmChat.load(folder, replace(ROW, options={}), H100)
    with pytest.raises(UnsupportedParameter, match="CHAT_LORAS"):
        ready(engine, asked(make()))
    engine.close()
