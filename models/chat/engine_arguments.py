"""Arguments of vLLM's engine that an operator may set (VLLM_ARGS)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_INTEGER, _NUMBER, _TEXT, _SWITCH, _OBJECT = (int,), (int, float), (str,), (bool,), (dict,)
ALLOWED: Mapping[str, tuple[type, ...]] = {
    "async_scheduling": _SWITCH,
    "attention_backend": _TEXT,
    "block_size": _INTEGER,
    "calculate_kv_scales": _SWITCH,
    "compilation_config": (*_INTEGER, *_OBJECT),
    "cpu_offload_gb": _NUMBER,
    "disable_custom_all_reduce": _SWITCH,
    "enable_chunked_prefill": _SWITCH,
    "enable_expert_parallel": _SWITCH,
    "enable_prefix_caching": _SWITCH,
    "enforce_eager": _SWITCH,
    "hf_overrides": _OBJECT,
    "kv_cache_dtype": _TEXT,
    "max_num_batched_tokens": _INTEGER,
    "max_num_seqs": _INTEGER,
    "pipeline_parallel_size": _INTEGER,
    "quantization": _TEXT,
    "speculative_config": _OBJECT,
}
# Those that have a variable of their own, and that variable.
_ELSEWHERE = {
    "dtype": "DTYPE",
    "enable_lora": "LORA_ADAPTERS",
    "gpu_memory_utilization": "CHAT_MEMORY_GB",
    "lora_modules": "LORA_ADAPTERS",
    "max_model_len": "CHAT_CONTEXT_TOKENS",
    "model": "MODEL",
    "num_gpu_blocks_override": "CHAT_CACHE_TOKENS",
    "revision": "MODEL_REVISION",
    "tensor_parallel_size": "RUNPOD_GPU_COUNT",
    "trust_remote_code": "TRUST_REMOTE_CODE",
}


def engine_arguments(given: Mapping[str, Any], gpus: int) -> dict[str, Any]:
    """Check an operator's arguments.

    Args:
        given: by name, as ``EngineArgs`` has them.
        gpus: of the worker, which a pipeline and tensors are divided among.

    Returns:
        The arguments, and the number of GPUs of a stage if there is a pipeline.

    Raises:
        ValueError: one is not allowed, or of another type; names it.
    """
    made = {name.replace("-", "_"): value for name, value in given.items()}
    for name, value in made.items():
        if name in _ELSEWHERE:
            raise ValueError(f"VLLM_ARGS: {name} is not set here; set {_ELSEWHERE[name]}")
        if name not in ALLOWED:
            raise ValueError(f"VLLM_ARGS: {name} is none of {', '.join(ALLOWED)}")
        kinds = ALLOWED[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            named = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"VLLM_ARGS: {name} must be {named}; got {value!r}")
    stages = made.get("pipeline_parallel_size", 1)
    if stages < 1 or gpus % stages:
        raise ValueError(
            f"VLLM_ARGS: pipeline_parallel_size must divide the {gpus} GPUs; got {stages}"
        )
    return {**made, "tensor_parallel_size": gpus // stages} if stages > 1 else made
