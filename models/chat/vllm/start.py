"""With what vLLM is started: its arguments, and its environment."""

from __future__ import annotations

import logging
import os
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.chat.share import (
    Model,
    Share,
    Steps,
    config_of,
    files_bytes,
    lora_bytes,
    working_bytes,
)
from models.chat.vllm.lora_room import lora_room
from models.device.hardware import Device
from models.device.kept import kept, key
from models.device.memory import free_memory
from models.errors import (
    DeviceLost,
    ModelLoadFailed,
    shorten,
)
from models.pictures.request import PictureLimits
from models.row import Row

log = logging.getLogger(__name__)

_CPU_CACHE_GIB = 1
_CPU_SHARE = 0.9
_MOST_SHARE = 0.95  # of a GPU: vLLM wants all of its share free, and its context comes on top
_BLOCK_TOKENS = 32
_GIB = 1 << 30
# What vLLM's server takes by itself, by the GPU's memory (EngineArgs.get_batch_defaults).
_USUAL_STEPS = ((160 * _GIB, Steps(16_384, 1024)), (70 * _GIB, Steps(8192, 1024)))
_USUAL_STEPS_BELOW = Steps(2048, 256)
_SMALL_STEPS = Steps(2048, 128)
_MOST_OF_ROOM = 1 / 3  # of what the weights leave, for a step; the rest is for the cache
_DATACENTRE_BLACKWELL = 10  # the major number of its compute capability


def environment(row: Row, device: Device) -> dict[str, str]:
    """Variables of vLLM and of what compiles for it; those that the operator has set stand."""
    made = {
        # A forked child would inherit CUDA's context, and locks of our threads.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_LOGGING_LEVEL": "ERROR",
        # Its processes are all here; by itself it finds an address by way of 8.8.8.8, and listens.
        "VLLM_HOST_IP": "127.0.0.1",
        # FlashInfer's would be compiled at each cold start, for no faster sampling.
        "VLLM_USE_FLASHINFER_SAMPLER": "0",
    }
    if device.kind == "cpu":
        return {**made, "VLLM_CPU_KVCACHE_SPACE": str(_CPU_CACHE_GIB)}
    return {**made, **_compiler(), **_caches(row, device)}


def _compiler() -> dict[str, str]:
    """Where CUDA's compiler is, where it is installed as a wheel (builder/toolkit.sh)."""
    home = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13"
    return {"CUDA_HOME": str(home)} if (home / "bin" / "nvcc").is_file() else {}


def _caches(row: Row, device: Device) -> dict[str, str]:
    """Where what is compiled is kept, for this GPU and these versions."""
    shelf = row.options.get("compiled")
    folder = None if shelf is None else kept(shelf / key(device, "vllm", "torch"))
    if folder is None:
        return {}
    return {
        "VLLM_CACHE_ROOT": str(folder / "vllm"),
        "FLASHINFER_WORKSPACE_BASE": str(folder),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "CUDA_CACHE_PATH": str(kept(folder / "cuda") or folder),
    }


def arguments(folder: Path, row: Row, device: Device) -> dict[str, Any]:
    """Of vLLM's ``EngineArgs``.

    Raises:
        ModelDoesNotFit: the row's memory has no room for its weights and a step.
        ModelLoadFailed: an adapter cannot be held.
    """
    on_cpu = device.kind == "cpu"
    made = {
        "model": str(folder),
        "dtype": row.options.get("dtype", device.dtype),
        "tensor_parallel_size": row.options.get("gpus", 1),
        "trust_remote_code": row.options.get("trust_remote_code", False),
        "enable_prefix_caching": True,
        "structured_outputs_config": {"backend": "guidance"},
        "enforce_eager": on_cpu,
        "disable_log_stats": True,
        "load_format": row.options.get("load_format", "auto"),
        "worker_extension_cls": "models.chat.vllm.worker.Times",
        **({"enable_sleep_mode": True} if row.options.get("sleeps") else {}),
        **_pictures(row),
        **lora_room(row),
    }
    wanted = row.options.get("vllm_args", {})
    if on_cpu:
        return {**made, "gpu_memory_utilization": _CPU_SHARE, **_cache(folder, row), **wanted}
    if device.capability is not None and device.capability[0] == _DATACENTRE_BLACKWELL:
        # vLLM's own choice there, FlashInfer's, downloads kernels from NVIDIA when it starts.
        made["attention_backend"] = "FLASH_ATTN"
    return {**made, **_on_gpu(folder, row, device), **wanted}


def _on_gpu(folder: Path, row: Row, device: Device) -> dict[str, Any]:
    """The share of each GPU, and what fits into it: a step, and the longest request."""
    config = config_of(folder)
    usual = next(
        (steps for least, steps in _USUAL_STEPS if device.memory_bytes >= least), _USUAL_STEPS_BELOW
    )
    dtype_bytes = 4 if row.options.get("dtype", device.dtype) == "float32" else 2
    held = lora_room(row)
    adapters_bytes = lora_bytes(config, held["max_loras"], held["max_lora_rank"]) if held else 0
    weights_bytes = (files_bytes(folder) or row.weights_bytes) + adapters_bytes
    model = Model(config, weights_bytes, dtype_bytes)
    gpus = int(row.options.get("gpus", 1))
    share = Share.of(row, model, _SMALL_STEPS, gpus)
    room_bytes = share.total_bytes - share.weights_bytes
    steps: dict[str, Any] = {}
    if working_bytes(config, usual) <= _MOST_OF_ROOM * room_bytes:
        share = Share.of(row, model, usual, gpus)
    else:
        steps = {
            "max_num_batched_tokens": _SMALL_STEPS.tokens,
            "max_num_seqs": _SMALL_STEPS.requests,
        }
    return {
        "gpu_memory_utilization": min(_MOST_SHARE, row.memory_bytes / device.memory_bytes),
        **steps,
        **_cache(folder, row, share),
    }


def _cache(folder: Path, row: Row, share: Share | None = None) -> dict[str, Any]:
    """The size of the cache, where the operator says one, and the longest request.

    vLLM does not start with a cache that is smaller than the longest request, and keeps a block.
    """
    wanted, tokens = row.options.get("context"), row.options.get("cache_tokens")
    fits = share.cache_tokens if share is not None else None
    if tokens is None and fits is None:
        return {"max_model_len": wanted}
    reads = config_of(folder).get("max_position_embeddings")
    asked = min((length for length in (wanted, reads) if length is not None), default=None)
    room = min(count for count in (tokens, fits) if count is not None)
    context = room if asked is None else min(asked, room)
    if asked is not None and fits is not None and fits < asked:
        log.warning(
            "%s reads %d tokens, and its part of the memory holds a conversation of %d",
            row.slug, asked, context,
        )  # fmt: skip
    if tokens is None:
        return {"max_model_len": context}
    return {
        "max_model_len": context,
        "block_size": _BLOCK_TOKENS,
        "num_gpu_blocks_override": -(-room // _BLOCK_TOKENS) + 1,
    }


def _pictures(row: Row) -> dict[str, Any]:
    """How many pictures a request may have, for which vLLM keeps room."""
    limits: PictureLimits | None = row.options.get("pictures")
    return {} if limits is None else {"limit_mm_per_prompt": {"image": limits.count, "video": 0}}


def started(folder: Path, row: Row, device: Device, is_broken: Callable[[], bool]) -> Any:
    """Start vLLM's process, and return its synchronous client.

    Args:
        folder: of the weights.
        row: the model.
        device: where it runs.
        is_broken: tries the GPU, where the process does not start and cannot say why.

    Raises:
        DeviceLost: the process does not start, as the GPU does not compute.
        ModelDoesNotFit: the row's memory has no room for its weights and a step.
    """
    for name, value in environment(row, device).items():
        os.environ.setdefault(name, value)  # before vllm is imported, and for its processes
    given = arguments(folder, row, device)
    if device.kind == "cuda":
        free_memory()  # vLLM wants its share to be free
    try:
        return _client(given)
    except Exception as error:
        if device.kind == "cuda" and is_broken():
            raise DeviceLost(
                f"The GPU failed while {row.slug} loaded; the worker restarts."
            ) from error
        raise


def _client(given: dict[str, Any]) -> Any:
    """Return vLLM's synchronous client.

    Batches are as large as those of vLLM's server: by itself the client takes the smallest.
    """
    from vllm import EngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.llm_engine import LLMEngine

    try:
        arguments = EngineArgs(**given)
    except TypeError as error:  # an argument that this version does not have
        raise ModelLoadFailed(f"VLLM_ARGS: {error_line(error)}.") from error
    return LLMEngine.from_engine_args(
        arguments,
        usage_context=UsageContext.OPENAI_API_SERVER,
        enable_multiprocessing=True,
    )


def error_line(error: Exception) -> str:
    """Return an error's message in one line, without its full stop."""
    return shorten(" ".join(str(error).split()), 200).rstrip(".")


def cache_tokens(config: Any) -> int:
    """Return how many tokens the cache holds."""
    blocks: int = config.cache_config.num_gpu_blocks or 0
    return blocks * int(config.cache_config.block_size)
