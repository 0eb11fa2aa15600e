"""The operator's options for chat: which engine serves a model, and with how much memory."""

from __future__ import annotations

import logging
from dataclasses import replace

from models.chat.engine_arguments import engine_arguments
from models.operator import Operator, chat_engine
from models.pictures.request import PictureLimits
from models.row import Row

log = logging.getLogger(__name__)

TRANSFORMERS = "models.chat.in_process.engine:TransformersChat"
VLLM = "models.chat.vllm.engine:VllmChat"
_LEAST_BYTES = 4 * 10**9  # of a GPU: libraries, graphs and a step take more than a small model


def configured(row: Row, operator: Operator) -> Row:
    """Return a row of chat with its engine, its options and its share of the memory.

    Raises:
        ValueError: the engine that the operator wants is not installed, or an argument for it is
            none that an operator may set.
    """
    name, why = chat_engine(operator.chat_engine, operator.device_kind)
    engine = {"transformers": TRANSFORMERS, "vllm": VLLM}[name]
    said = {
        "why": why,
        "cache_tokens": operator.chat_cache_tokens,
        "context": operator.chat_context_tokens,
        "gpus": operator.gpus,
        "chat_template": operator.chat_template,
    }
    options = {**row.options, **{name: value for name, value in said.items() if value is not None}}
    if operator.vllm_args:
        options["vllm_args"] = engine_arguments(operator.vllm_args, operator.gpus)
        if engine != VLLM:
            log.warning("VLLM_ARGS has no effect on %s: it runs on transformers", row.slug)
    if operator.chat_sleep and engine == VLLM and operator.device_kind == "cuda":
        options["sleeps"] = True
    if operator.chat_loras and engine == VLLM:
        options |= {"loras": operator.chat_loras, "lora_rank": operator.chat_lora_rank}
    if sees(row):
        options["pictures"] = PictureLimits.configured(operator)
    adapters: dict[str, str | None] = {**row.adapters}
    if operator.chat_adapters_of is None or row.answers_to(operator.chat_adapters_of):
        adapters |= operator.chat_adapters
    if engine == TRANSFORMERS:
        adapters = dict.fromkeys(adapters)
    row = replace(row, engine=engine, options=options, adapters=adapters)
    return _shared(row, operator) if operator.device_kind == "cuda" else row


def sees(row: Row) -> bool:
    """Whether a model reads pictures."""
    return "img2txt" in row.tasks


def _shared(row: Row, operator: Operator) -> Row:
    """Return a row with its part of each GPU's memory: weights, cache and working space.

    The pool counts this part, and the engine plans its cache within it: they cannot differ.
    """
    gpus = operator.gpus if row.engine == VLLM else 1
    part_bytes = max(_LEAST_BYTES, -(-row.memory_bytes // gpus))
    if operator.chat_memory_bytes is not None:
        part_bytes = operator.chat_memory_bytes
    elif operator.only == "chat":
        part_bytes = max(part_bytes, operator.budget_bytes)
    options = {**row.options, "compiled": operator.shelf / "compiled"}
    return replace(row, memory_bytes=part_bytes, options=options)
