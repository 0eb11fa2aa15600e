"""Which engine serves a model, and how the operator wants it to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from handler.settings.variables import Settings, SettingsError
from models.catalog import GB
from models.row import Catalog, Row

log = logging.getLogger(__name__)

IMAGES = "models.images.diffusion.engine:DiffusersImages"
VIDEOS = "models.images.video.engine:LtxVideo"
WHISPER = "models.transcribe.faster_whisper:FasterWhisper"
TRANSFORMERS = "models.chat.transformers:TransformersChat"
VLLM = "models.chat.vllm:VllmChat"
_LEAST_CHAT_BYTES = 4 * GB  # of a GPU: libraries, graphs and a step take more than a small model


def fitted(
    catalog: Catalog,
    settings: Settings,
    device_kind: str,
    budget_bytes: int,
    alone: str | None = None,
) -> Catalog:
    """The catalog as the operator wants it, and as it suits the machine.

    Args:
        catalog: all rows.
        settings: the operator's words.
        device_kind: ``cuda`` or ``cpu``.
        budget_bytes: of all warm models, on each GPU.
        alone: the surface that the worker serves, where it serves one.

    Raises:
        SettingsError: an engine is not installed.
    """
    images = partial(_images, settings=settings, kind=device_kind, budget_bytes=budget_bytes)
    fits: dict[str, Callable[[Row], Row]] = {
        IMAGES: images,
        VIDEOS: images,
        WHISPER: partial(_whisper, settings=settings, kind=device_kind),
    }
    if any(row.engine == TRANSFORMERS for row in catalog.rows):
        fits[TRANSFORMERS] = _chat(settings, device_kind, budget_bytes if alone == "chat" else None)
    return Catalog(fits[row.engine](row) if row.engine in fits else row for row in catalog.rows)


def _whisper(row: Row, settings: Settings, kind: str) -> Row:
    """A row of transcription, with what it computes in and where its kernels are kept."""
    options = dict(row.options)
    if settings.compute_type is not None:
        options["compute_type"] = settings.compute_type
    if kind == "cuda":
        options["kernels"] = settings.places().shelf / "kernels"
    return replace(row, options=options)


def _images(row: Row, settings: Settings, kind: str, budget_bytes: int) -> Row:
    """A row of pictures or videos, with what ``models.images.pipelines.placement`` is to do."""
    options = dict(row.options)
    if settings.images_quantization is not None:
        options["quantization"] = settings.images_quantization
        row, options = _quantised(row, options)
    if settings.images_compile:
        options["compiled"] = settings.places().shelf / "compiled"
    parts_bytes = options.get("offloaded_bytes")
    wanted = settings.images_offload
    too_large = wanted == "auto" and row.memory_bytes > budget_bytes
    if kind == "cuda" and parts_bytes is not None and (wanted == "always" or too_large):
        return replace(row, options={**options, "offload": True}, memory_bytes=parts_bytes)
    return replace(row, options=options)


def _quantised(row: Row, options: dict[str, Any]) -> tuple[Row, dict[str, Any]]:
    """A row, and its options, whose denoising part has one byte for each two.

    A part that is stored in eight bits already has no ``denoiser_bytes``: nothing is saved.
    """
    whole_bytes = options.get("denoiser_bytes", 0)
    saved_bytes = whole_bytes // 2
    if "offloaded_bytes" in options:
        # On the device is the largest part at a time, which may be another one now.
        other_bytes = options.get("encoder_bytes", whole_bytes)
        less_bytes = max(whole_bytes, other_bytes) - max(whole_bytes - saved_bytes, other_bytes)
        options = {**options, "offloaded_bytes": options["offloaded_bytes"] - less_bytes}
    return replace(row, memory_bytes=row.memory_bytes - saved_bytes), options


def _chat(settings: Settings, device_kind: str, whole_bytes: int | None) -> Callable[[Row], Row]:
    """Return the function that gives a row of chat its engine and its share of the memory.

    Args:
        settings: the operator's words.
        device_kind: ``cuda`` or ``cpu``.
        whole_bytes: the budget, where it is all for chat; else None.
    """
    engine, why = _choice(settings, device_kind)
    if engine == TRANSFORMERS and settings.lora_adapters:
        log.warning("LORA_ADAPTERS need vllm; requests for them are refused here")
    named = partial(_fitted, engine=engine, why=why, settings=settings)
    if device_kind != "cuda":
        return named
    compiled = settings.places().shelf / "compiled"
    return lambda row: _shared(named(row), settings, whole_bytes, compiled)


def _shared(row: Row, settings: Settings, whole_bytes: int | None, compiled: Path) -> Row:
    """A row of chat with its part of each GPU's memory: weights, cache and working space.

    The pool counts it, and the engine plans its cache by it: they cannot differ.
    """
    gpus = settings.gpu_count if row.engine == VLLM else 1
    part_bytes = max(_LEAST_CHAT_BYTES, -(-row.memory_bytes // gpus))
    if settings.chat_memory_gb is not None:
        part_bytes = int(settings.chat_memory_gb * GB)
    elif whole_bytes is not None:
        part_bytes = max(part_bytes, whole_bytes)
    options = {**row.options, "compiled": compiled}
    return replace(row, memory_bytes=part_bytes, options=options)


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
