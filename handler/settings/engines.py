"""Which engine serves chat, and with what."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.util import find_spec

from handler.settings.variables import Settings, SettingsError
from models.row import Catalog, Row

log = logging.getLogger(__name__)

TRANSFORMERS = "models.chat.transformers:TransformersChat"
VLLM = "models.chat.vllm:VllmChat"


def fitted(catalog: Catalog, settings: Settings, device_kind: str) -> Catalog:
    """The catalog with the chat engine that the operator wants, or that suits the machine.

    Raises:
        SettingsError: it is not installed.
    """
    if not any(row.engine == TRANSFORMERS for row in catalog.rows):
        return catalog
    engine, why = _choice(settings, device_kind)
    if engine == TRANSFORMERS and settings.lora_adapters:
        log.warning("LORA_ADAPTERS need vllm; requests for them are refused here")
    return Catalog(
        _fitted(row, engine, why, settings) if row.engine == TRANSFORMERS else row
        for row in catalog.rows
    )


def _choice(settings: Settings, device_kind: str) -> tuple[str, str]:
    installed = find_spec("vllm") is not None
    if settings.chat_engine == "vllm":
        if not installed:
            raise SettingsError("CHAT_ENGINE: vllm is not installed in this image")
        return VLLM, "CHAT_ENGINE says so"
    if settings.chat_engine == "transformers":
        return TRANSFORMERS, "CHAT_ENGINE says so"
    if device_kind != "cuda":
        return TRANSFORMERS, "there is no GPU"
    if not installed:
        return TRANSFORMERS, "vllm is not installed"
    return VLLM, "there is a GPU"


def _fitted(row: Row, engine: str, why: str, settings: Settings) -> Row:
    """A row with its engine, and what the operator says of it."""
    said = {
        "why": why,
        "cache_tokens": settings.chat_cache_tokens,
        "context": settings.chat_context_tokens,
        "gpus": settings.gpu_count,
    }
    options = {**row.options, **{name: one for name, one in said.items() if one is not None}}
    adapters: dict[str, str | None] = {**row.adapters}
    if settings.model_slug is None or row.answers_to(settings.model_slug):
        adapters |= settings.adapters()
    if engine == TRANSFORMERS:
        adapters = dict.fromkeys(adapters)
    return replace(row, engine=engine, options=options, adapters=adapters)
