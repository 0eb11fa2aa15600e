"""How vLLM is started: what it is handed, where its caches lie, what becomes of a start that fails.

vLLM itself is played: it is no part of this environment, and its settings for a GPU are those of one.
``tests/models/chat/test_chat_vllm.py`` looks at what the real one makes of them.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from models.chat.request import Prompt, Sampling
from models.chat.share import Model, Share, Steps, token_bytes, working_bytes
from models.chat.vllm.engine import VllmChat
from models.chat.vllm.start import arguments, environment
from models.device import kept as kept_module
from models.device.hardware import Device
from models.errors import DeviceLost, InvalidValue, ModelDoesNotFit, ModelLoadFailed
from models.pictures.request import InputPicture, PictureLimits
from models.row import Row
from models.stages import recording
from tests.conftest import CPU, row, tiny
from tests.support.chatting import ready
from tests.support.vllm_client import H100, LLAMA, vllm

GB, GIB = 10**9, 2**30
B200 = Device("cuda", 180 * GIB, bf16=True, capability=(10, 0), name="NVIDIA B200")
L4 = Device("cuda", 22 * GIB, bf16=True, capability=(8, 9), name="NVIDIA L4")

# As the repositories have them.
CONFIGS: dict[str, dict[str, int]] = {
    "Llama3_8B_Instruct": {
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 128256,
        "max_position_embeddings": 8192,
    },
    "Llama3_2_1B_Instruct": {
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
        "hidden_size": 2048, "intermediate_size": 8192, "vocab_size": 128256, "head_dim": 64,
        "max_position_embeddings": 131072,
    },
    "Qwen3_4B_Instruct": {
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
        "hidden_size": 2560, "intermediate_size": 9728, "vocab_size": 151936, "head_dim": 128,
        "max_position_embeddings": 262144,
    },
    "Mixtral_8x7B_Instruct": {
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 32000,
        "max_position_embeddings": 32768,
    },
}  # fmt: skip
STEPS = Steps(2048, 128)
__all__ = ["vllm"]  # a fixture


@pytest.fixture
def weights(tmp_path: Path) -> Callable[[str], Path]:
    """A folder with a model's configuration; its weights are said by the row."""

    def make(slug: str = LLAMA.slug) -> Path:
        (tmp_path / "config.json").write_text(json.dumps(CONFIGS[slug]))
        return tmp_path

    return make


def taking(share: float, device: Device, **options: Any) -> Row:
    """Llama with a share of the device."""
    bytes_ = int(share * device.memory_bytes)
    return replace(LLAMA, memory_bytes=bytes_, options={**LLAMA.options, **options})


# What it takes of a GPU -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slug", "kilobytes"),
    [
        ("Llama3_8B_Instruct", 128), ("Llama3_2_1B_Instruct", 32), ("Qwen3_4B_Instruct", 144),
        ("Mixtral_8x7B_Instruct", 128),
    ],
)  # fmt: skip
def test_the_cache_of_a_token(slug, kilobytes):
    """2 * layers * heads of keys * width * 2 bytes."""
    assert token_bytes(CONFIGS[slug], 2) == kilobytes * 1024
    assert token_bytes(CONFIGS[slug], 2, gpus=2) == kilobytes * 512
    assert token_bytes(CONFIGS[slug], 2, gpus=16) == kilobytes * 128  # a head is on two of them
    assert token_bytes({"model_type": "mamba"}, 2) is None


@pytest.mark.parametrize("slug", CONFIGS)
def test_what_the_catalog_says_holds_weights_a_step_and_the_longest_conversation(slug):
    model = row(slug)
    gpus = 2 if slug.startswith("Mixtral") else 1
    share = Share.of(
        replace(model, memory_bytes=model.memory_bytes // gpus),
        Model(CONFIGS[slug], model.weights_bytes, 2),
        STEPS,
        gpus,
    )
    longest = model.options.get("context", CONFIGS[slug]["max_position_embeddings"])
    assert share.cache_tokens is not None
    assert share.cache_tokens >= longest


def test_no_room_is_said_with_what_is_needed():
    small = replace(LLAMA, memory_bytes=16 * GB)
    with pytest.raises(ModelDoesNotFit, match=r"needs 17\.\d GB and this worker's budget is 16\.0"):
        Share.of(small, Model(CONFIGS[LLAMA.slug], LLAMA.weights_bytes, 2), STEPS)


@pytest.mark.parametrize("device", [H100, B200, L4])
@pytest.mark.parametrize("share", [0.9, 0.6, 20 * GB / H100.memory_bytes])
def test_vllm_gets_the_share_that_the_pool_counts(weights, device, share):
    model = taking(max(share, 20 * GB / device.memory_bytes), device)
    given = arguments(weights(), model, device)
    assert given["gpu_memory_utilization"] == pytest.approx(
        model.memory_bytes / device.memory_bytes
    )
    assert given["max_model_len"] == 8192
    assert "num_gpu_blocks_override" not in given


def test_a_share_of_several_gpus_is_of_each(weights):
    mixtral = row("Mixtral_8x7B_Instruct")
    half = replace(mixtral, memory_bytes=mixtral.memory_bytes // 2, options={"gpus": 2})
    given = arguments(weights(mixtral.slug), half, H100)
    assert given["tensor_parallel_size"] == 2
    assert given["gpu_memory_utilization"] == pytest.approx(55 * GB / H100.memory_bytes)
    with pytest.raises(ModelDoesNotFit):
        arguments(weights(mixtral.slug), replace(half, options={"gpus": 1}), H100)


def test_a_share_is_never_all_of_a_gpu(weights):
    """An operator's budget may be; vLLM wants its share free, and its context comes on top."""
    assert arguments(weights(), taking(1.2, H100), H100)["gpu_memory_utilization"] == 0.95


def test_batches_are_the_servers_where_there_is_room_for_their_steps(weights):
    sizes = ("max_num_batched_tokens", "max_num_seqs")
    alone = arguments(weights(), taking(0.9, H100), H100)
    assert not any(size in alone for size in sizes)  # vLLM's own for this GPU: 8,192 and 1,024
    shared = arguments(weights(), replace(LLAMA, memory_bytes=20 * GB), H100)
    assert [shared[size] for size in sizes] == [2048, 128]
    assert working_bytes(CONFIGS[LLAMA.slug], Steps(8192, 1024)) > 4 * GB  # of the 4 that are left


def test_a_conversation_is_no_longer_than_what_fits(weights, caplog):
    """vLLM does not start with a cache that is smaller than the longest request."""
    qwen = replace(row("Qwen3_4B_Instruct"), memory_bytes=int(11.5 * GB))
    given = arguments(weights(qwen.slug), qwen, H100)
    assert 8_000 < given["max_model_len"] < 16_000
    assert "Qwen3_4B_Instruct reads 32768 tokens, and its part of the memory holds" in caplog.text
    whole = replace(qwen, memory_bytes=16 * GB)
    assert arguments(weights(qwen.slug), whole, H100)["max_model_len"] == 32_768


@pytest.mark.parametrize(("asked", "tokens"), [(10_000, 10_000), (10**7, None)])
def test_an_operators_cache_is_bounded_by_the_share(weights, asked, tokens):
    model = taking(0.5, H100, cache_tokens=asked)
    given = arguments(weights(), model, H100)
    known = Model(CONFIGS[LLAMA.slug], LLAMA.weights_bytes, 2)
    fits = Share.of(model, known, Steps(8192, 1024)).cache_tokens
    expected = tokens or fits
    assert given["block_size"] == 32
    assert given["num_gpu_blocks_override"] == -(-expected // 32) + 1


def test_transformers_plans_its_cache_by_the_same_share(store):
    """The weights are those that are loaded; on a CPU nothing changes."""
    from models.chat.in_process.engine import CPU_CACHE_TOKENS, TransformersChat, cache_tokens

    llama = tiny("Llama3_8B_Instruct", "llama")
    engine = TransformersChat.load(store.resolve(llama), llama, CPU)
    net = engine._model
    config = net.config.to_dict()
    loaded_bytes = sum(one.nbytes for one in net.parameters())
    part = replace(llama, memory_bytes=4 * GB)
    left = 4 * GB - loaded_bytes - working_bytes(config, Steps(2048, 256))
    expected = left / token_bytes(config, net.dtype.itemsize)
    assert cache_tokens(net, part, H100) == pytest.approx(expected, rel=1e-3)
    few = replace(part, options={**part.options, "cache_tokens": 5000})
    assert cache_tokens(net, few, H100) == 5000
    assert cache_tokens(net, part, CPU) == CPU_CACHE_TOKENS
    with pytest.raises(ModelDoesNotFit):
        cache_tokens(net, replace(part, memory_bytes=GB), H100)
    engine.close()


# What it is told besides ----------------------------------------------------------------------------


def test_nothing_is_compiled_for_the_sampler(weights):
    """FlashInfer's needs nvcc and cuRAND's headers at each cold start; an operator can have it."""
    assert environment(LLAMA, H100)["VLLM_USE_FLASHINFER_SAMPLER"] == "0"


@pytest.mark.parametrize(("device", "backend"), [(H100, None), (L4, None), (B200, "FLASH_ATTN")])
def test_attention_needs_no_download(weights, device, backend):
    """On B200 vLLM would take FlashInfer's, whose kernels come from the network at the start."""
    assert arguments(weights(), taking(0.9, device), device).get("attention_backend") == backend


def test_what_is_compiled_is_kept_by_gpu_and_versions(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_module, "version", {"vllm": "0.32.0", "torch": "2.13.0"}.__getitem__)
    shelved = replace(LLAMA, options={**LLAMA.options, "compiled": tmp_path})
    made = environment(shelved, H100)
    folder = tmp_path / "vllm-0.32.0-torch-2.13.0-nvidia-h100-80gb-hbm3"
    assert {name: Path(one) for name, one in made.items() if "/" in one} == {
        "VLLM_CACHE_ROOT": folder / "vllm",
        "FLASHINFER_WORKSPACE_BASE": folder,
        "TRITON_CACHE_DIR": folder / "triton",
        "TORCHINDUCTOR_CACHE_DIR": folder / "inductor",
        "CUDA_CACHE_PATH": folder / "cuda",
    }
    assert (folder / "cuda").is_dir()  # the driver makes none
    assert environment(shelved, B200)["VLLM_CACHE_ROOT"] != made["VLLM_CACHE_ROOT"]
    assert "VLLM_CACHE_ROOT" not in environment(shelved, CPU)


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    shelved = replace(LLAMA, options={**LLAMA.options, "compiled": tmp_path / "file"})
    for _ in range(3):
        assert "VLLM_CACHE_ROOT" not in environment(shelved, H100)
    [said] = [one.getMessage() for one in caplog.records]
    assert said.startswith(f"{tmp_path}/file/")
    assert said.endswith("code is compiled again at each start")


# The start ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(store: Any) -> Path:
    return store.resolve(tiny("Llama3_8B_Instruct", "llama"))


SMALL = replace(tiny("Llama3_8B_Instruct", "llama"), memory_bytes=20 * GB)


def test_the_server_is_what_sizes_its_batches(vllm, folder):
    """The client by itself gets vLLM's smallest: 2,048 tokens and 128 requests."""
    engine = VllmChat.load(folder, SMALL, H100)
    [started] = vllm.started
    assert started["usage_context"] == "the server's"
    assert started["enable_multiprocessing"] is True
    assert started["environment"]["VLLM_USE_FLASHINFER_SAMPLER"] == "0"
    assert started["environment"]["VLLM_NO_USAGE_STATS"] == "1"
    assert engine.ends == {257}  # of what the model can say
    engine.close()
    assert vllm.last.calls == ["tasks", "shutdown"]


def test_an_operators_own_variables_stand(vllm, folder, monkeypatch):
    monkeypatch.setenv("VLLM_USE_FLASHINFER_SAMPLER", "1")
    VllmChat.load(folder, SMALL, H100).close()
    assert vllm.started[0]["environment"]["VLLM_USE_FLASHINFER_SAMPLER"] == "1"


def test_what_torchs_compiler_took_is_told_apart(vllm, folder):
    with recording() as stages, stages.stage("load"):
        VllmChat.load(folder, SMALL, H100).close()
    assert stages.seconds["compile"] == 2.5


BROKEN_START = RuntimeError("Engine core initialization failed. See root cause above.")


@pytest.mark.parametrize(("broken", "error"), [(True, DeviceLost), (False, RuntimeError)])
def test_a_process_that_does_not_start_on_a_broken_gpu_is_a_lost_device(
    vllm, folder, broken, error
):
    """It cannot say why: the GPU is tried."""
    vllm.fails = BROKEN_START
    with pytest.raises(error):
        VllmChat.load(folder, SMALL, H100, is_broken=lambda: broken)


def test_on_a_cpu_no_gpu_is_tried(vllm, folder):
    vllm.fails = BROKEN_START
    with pytest.raises(RuntimeError, match="Engine core"):
        VllmChat.load(folder, SMALL, CPU, is_broken=lambda: pytest.fail("there is none"))


def adapter(folder: Path, **config: Any) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file({"x": torch.zeros(1)}, folder / "adapter_model.safetensors")
    return folder


def test_adapters_are_loaded_at_the_start(vllm, folder, tmp_path):
    """At a request a broken one would end the process, and with it all that is in."""
    adapters = {name: adapter(tmp_path / name, r=16) for name in ("law", "poems")}
    held = replace(SMALL, options={**SMALL.options, "adapters": adapters})
    VllmChat.load(folder, held, H100)
    assert vllm.last.calls == ["tasks", ("lora", "law"), ("lora", "poems")]
    vllm.adapter_fails = ValueError("expected target modules in {...} but received ['x']")
    with pytest.raises(ModelLoadFailed, match="the adapter law cannot be loaded"):
        VllmChat.load(folder, held, H100)
    assert vllm.last.calls[-1] == "shutdown"  # it would keep the GPU's memory


@pytest.mark.parametrize(
    ("config", "words"),
    [({"r": 1024}, "has the rank 1024; vllm holds 512"), ({}, "mine is no LoRA adapter")],
)
def test_an_adapter_that_cannot_be_held_is_named_before_the_start(
    vllm, folder, tmp_path, config, words
):
    adapters = {"mine": adapter(tmp_path / "mine", **config)}
    held = replace(SMALL, options={**SMALL.options, "adapters": adapters})
    with pytest.raises(ModelLoadFailed, match=words):
        VllmChat.load(folder, held, H100)
    assert vllm.started == []


# What its worker would break on ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tokens": (1, 260)}, "messages"),  # of the tokenizer, and not of the model
        ({"tokens": (1, -1)}, "messages"),
        ({"tokens": ()}, "messages"),
        ({"tokens": (1, 10**30), "param": "prompt"}, "prompt"),
        ({"sampling": Sampling(logit_bias={260: 1.0})}, "logit_bias"),
        ({"sampling": Sampling(logit_bias={-1: 1.0})}, "logit_bias"),
        ({"sampling": Sampling(logprobs=21)}, "top_logprobs"),
    ],
)
def test_what_ends_its_process_is_refused_before_it_is_let_in(vllm, folder, changes, param):
    engine = VllmChat.load(folder, SMALL, H100)
    with pytest.raises(InvalidValue) as caught:
        ready(engine, replace(Prompt((1, 2, 3), Sampling()), **changes))
    assert caught.value.param == param
    fine = {"logit_bias": dict.fromkeys(range(259), 1.0), "logprobs": 20}
    ready(engine, Prompt((0, 259), Sampling(**fine)))
    engine.close()


@pytest.mark.parametrize(("ends", "refused"), [(127, False), (128, True)])
def test_a_least_length_with_more_ends_than_its_table_holds_is_refused(
    vllm, folder, monkeypatch, ends, refused
):
    monkeypatch.setattr(vllm, "ends", list(range(ends)))
    engine = VllmChat.load(folder, SMALL, H100)
    assert len(engine.ends) == ends
    asked = Prompt((1, 2, 3), Sampling(min_tokens=2))
    if not refused:
        ready(engine, asked)
    else:
        with pytest.raises(InvalidValue, match="min_tokens: at most 0; got 2") as caught:
            ready(engine, asked)
        assert caught.value.param == "min_tokens"
    ready(engine, Prompt((1, 2, 3), Sampling()))
    engine.close()


def test_more_biases_than_its_table_holds_are_refused(vllm, folder):
    from models.chat.admission import Limits

    engine = VllmChat.load(folder, SMALL, H100)
    assert engine._entrance._limits == Limits(260, 1024, 20)
    many = Sampling(logit_bias=dict.fromkeys(range(1025), 1.0))
    with pytest.raises(InvalidValue, match="at most 1024; got 1025") as caught:
        Limits(128_256, 1024, 20).check("Llama3_8B_Instruct", Prompt((1,), many))
    assert caught.value.param == "logit_bias"
    engine.close()


def test_pictures_are_handed_in_with_a_mark_each(vllm, store, monkeypatch):
    """vLLM makes as many marks of one as the picture takes tokens, and its room is planned."""
    seeing = replace(
        tiny("Nanonets_Ocr_S_F16", "qwen-vl"),
        memory_bytes=20 * GB,
        options={"pictures": PictureLimits(count=5)},
    )
    vllm.vocabulary = 263
    engine = VllmChat.load(store.resolve(seeing), seeing, H100)
    [started] = vllm.started
    assert started["limit_mm_per_prompt"] == {"image": 5, "video": 0}
    mark = engine._entrance._sight.mark
    file = io.BytesIO()
    Image.new("RGB", (112, 56), "red").save(file, "PNG")
    pictures = (InputPicture(file.getvalue(), "image"),)
    asked = Prompt((1, mark, 2), Sampling(max_tokens=4), pictures=pictures)
    assert asyncio.run(engine.length(asked)) == 2 + 8
    handed: list[Any] = []
    monkeypatch.setattr("models.chat.vllm.engine.sampling", lambda *_: None)
    exceptions = ModuleType("vllm.exceptions")
    exceptions.VLLMClientError = RuntimeError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm.exceptions", exceptions)
    vllm.last.add_request = lambda name, prompt, *_, **__: handed.append(prompt) or name
    engine.admit(0, ready(engine, asked))
    [prompt] = handed
    assert prompt["prompt_token_ids"] == [1, mark, 2]
    [picture] = prompt["multi_modal_data"]["image"]
    assert picture.size == (112, 56)
    engine.admit(1, ready(engine, Prompt((1, 2), Sampling(max_tokens=4))))
    assert "multi_modal_data" not in handed[1]
    engine.close()
