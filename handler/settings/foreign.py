"""Variables of other workers: what they mean here, or that they have no meaning.

An endpoint that was configured for worker-vllm or worker-infinity-embedding starts with the same
meaning. A variable of ours that is set too has precedence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

VLLM, INFINITY = "worker-vllm", "worker-infinity-embedding"
_DTYPES = {"half": "float16", "float": "float32", "auto": ""}
_ENGINE_ARGUMENT = "VLLM_ARGS"


@dataclass(frozen=True)
class Foreign:
    """A variable of another worker.

    Attributes:
        worker: whose it is.
        name: of the variable.
        ours: the variable of ours that it sets; None = it has no meaning here.
        note: why it has none, or what differs.
    """

    worker: str
    name: str
    ours: str | None = None
    note: str = ""


_BY_TEMPLATE = "the form of calls and thoughts is read from the chat template"
_BY_ADAPTERS = "set LORA_ADAPTERS, with pinned addresses"
FOREIGN = (
    Foreign(VLLM, "MODEL_NAME", "MODEL"),
    Foreign(VLLM, "OPENAI_SERVED_MODEL_NAME_OVERRIDE", "SERVED_NAMES"),
    Foreign(VLLM, "CUSTOM_CHAT_TEMPLATE", "CHAT_TEMPLATE"),
    Foreign(VLLM, "MAX_MODEL_LEN", "CHAT_CONTEXT_TOKENS"),
    Foreign(VLLM, "MAX_CONCURRENCY", "CONCURRENCY"),
    Foreign(VLLM, "REQUEST_TIMEOUT", "JOB_TIMEOUT_S"),
    Foreign(VLLM, "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN"),
    Foreign(VLLM, "BASE_PATH", "VOLUME_DIR"),
    *(
        Foreign(VLLM, name, _ENGINE_ARGUMENT)
        for name in (
            "QUANTIZATION",
            "KV_CACHE_DTYPE",
            "ENFORCE_EAGER",
            "ENABLE_PREFIX_CACHING",
            "ENABLE_CHUNKED_PREFILL",
            "MAX_NUM_SEQS",
            "MAX_NUM_BATCHED_TOKENS",
            "SPECULATIVE_CONFIG",
            "ENABLE_EXPERT_PARALLEL",
            "PIPELINE_PARALLEL_SIZE",
        )
    ),
    Foreign(VLLM, "TOKENIZER_NAME", None, "the repository's own tokenizer is used"),
    Foreign(VLLM, "TENSOR_PARALLEL_SIZE", None, "all GPUs of the worker are used"),
    Foreign(VLLM, "GPU_MEMORY_UTILIZATION", None, "set CHAT_MEMORY_GB; unset, the budget is used"),
    Foreign(VLLM, "TOOL_CALL_PARSER", None, _BY_TEMPLATE),
    Foreign(VLLM, "ENABLE_AUTO_TOOL_CHOICE", None, _BY_TEMPLATE),
    Foreign(VLLM, "REASONING_PARSER", None, _BY_TEMPLATE),
    Foreign(VLLM, "ENABLE_LORA", None, _BY_ADAPTERS),
    Foreign(VLLM, "MAX_LORAS", None, _BY_ADAPTERS),
    Foreign(VLLM, "LORA_MODULES", None, _BY_ADAPTERS),
    Foreign(VLLM, "VLLM_EXTRA_ARGS", None, "set VLLM_ARGS"),
    Foreign(VLLM, "VLLM_CONFIG_FILE", None, "set VLLM_ARGS"),
    Foreign(VLLM, "VLLM_PORT", None, "vllm listens on no port here"),
    Foreign(VLLM, "VLLM_STARTUP_TIMEOUT", None, "set RUNPOD_INIT_TIMEOUT"),
    Foreign(INFINITY, "MODEL_NAMES", "MODELS"),
    Foreign(INFINITY, "DTYPES", "DTYPE", "one for all models: the first"),
    Foreign(INFINITY, "RUNPOD_MAX_CONCURRENCY", "CONCURRENCY"),
    Foreign(INFINITY, "BATCH_SIZES", None, "the size of a run is measured on the device"),
    Foreign(INFINITY, "BACKEND", None, "each model has its engine"),
    Foreign(INFINITY, "INFINITY_QUEUE_SIZE", None, "set CONCURRENCY"),
)


def translated(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with our variables for those of other workers.

    Raises:
        ValueError: VLLM_ARGS holds no JSON object.
    """
    made = dict(environment)
    arguments: dict[str, object] = {}
    for variable in FOREIGN:
        value = environment.get(variable.name, "").strip()
        if variable.ours is None or not value:
            continue
        if variable.ours == _ENGINE_ARGUMENT:
            arguments[variable.name.lower()] = _argument(value)
        elif variable.name == "OPENAI_SERVED_MODEL_NAME_OVERRIDE":
            _add_name(made, value)
        elif variable.name == "DTYPES":
            made.setdefault(variable.ours, value.replace(";", ",").split(",")[0].strip())
        elif not made.get(variable.ours, "").strip():
            made[variable.ours] = value
    if "DTYPE" in made:
        given = made["DTYPE"].strip().lower()
        made["DTYPE"] = _DTYPES.get(given, made["DTYPE"])
    if arguments:
        own = _object(made.get(_ENGINE_ARGUMENT, ""))
        made[_ENGINE_ARGUMENT] = json.dumps({**arguments, **own})
    return made


def notes(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each variable of another worker that has no meaning here."""
    for variable in FOREIGN:
        if variable.ours is None and environment.get(variable.name, "").strip():
            yield f"{variable.name} of {variable.worker} has no meaning here: {variable.note}"


def _add_name(made: dict[str, str], name: str) -> None:
    """Give a further name to the model, which the same environment names."""
    model = (made.get("MODEL") or "").strip().removeprefix("hf://").partition("@")[0]
    if model:
        names = [made.get("SERVED_NAMES", "").strip(), f"{name}={model}"]
        made["SERVED_NAMES"] = ",".join(filter(None, names))


def _argument(value: str) -> object:
    """Read a value as JSON, or as text: ``true``, ``64`` and ``{…}`` are what they look like."""
    try:
        return json.loads(value.lower() if value.lower() in ("true", "false") else value)
    except ValueError:
        return value


def _object(text: str) -> dict[str, object]:
    content = _argument(text) if text.strip() else {}
    if not isinstance(content, dict):
        raise ValueError('must be a JSON object, as {"max_num_seqs": 64}')
    return content
