"""The catalog as the operator wants it: each engine takes its own options from the settings."""

from __future__ import annotations

import logging
from collections.abc import Collection

from handler.settings.own import chat_template
from handler.settings.variable import SettingsError
from handler.settings.variables import Settings
from models.catalog import GB
from models.operator import Operator
from models.row import Catalog, Row
from models.warm.loader import engine_class

log = logging.getLogger(__name__)

_CHAT_LORAS = 4


def fitted(
    catalog: Catalog,
    settings: Settings,
    device_kind: str,
    budget_bytes: int,
    surfaces: Collection[str] | None = None,
) -> Catalog:
    """Return the catalog as the operator wants it, and as it fits the machine.

    Args:
        catalog: all rows.
        settings: the operator's.
        device_kind: ``cuda`` or ``cpu``.
        budget_bytes: of all warm models, on each GPU.
        surfaces: those that the worker serves; rows of others stay as they are, so that their
            engines need not be imported. None = all.

    Raises:
        SettingsError: an engine cannot do what the operator wants.
    """
    operator = _operator(settings, device_kind, budget_bytes, surfaces)

    def configured(row: Row) -> Row:
        if surfaces is not None and row.surface not in surfaces:
            return row
        return engine_class(row).configured(row, operator)

    try:
        rows = [configured(row) for row in catalog.rows]
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if settings.lora_adapters and not any(any(row.adapters.values()) for row in rows):
        log.warning("LORA_ADAPTERS need vllm; requests for them are refused here")
    return Catalog(rows)


def _operator(
    settings: Settings, device_kind: str, budget_bytes: int, surfaces: Collection[str] | None
) -> Operator:
    memory_gb = settings.chat_memory_gb
    return Operator(
        device_kind=device_kind,
        budget_bytes=budget_bytes,
        shelf=settings.places().shelf,
        only=_only(surfaces),
        gpus=settings.gpu_count,
        compute_type=settings.compute_type,
        chat_engine=settings.chat_engine,
        chat_template=chat_template(settings),
        vllm_args=settings.vllm_args,
        chat_context_tokens=settings.chat_context_tokens,
        chat_cache_tokens=settings.chat_cache_tokens,
        chat_memory_bytes=None if memory_gb is None else int(memory_gb * GB),
        chat_images=settings.chat_images,
        chat_image_bytes=settings.chat_image_bytes,
        chat_image_pixels=settings.chat_image_pixels,
        chat_pdf_pages=settings.chat_pdf_pages,
        chat_pdf_page_pixels=settings.chat_pdf_page_pixels,
        chat_sleep=settings.chat_sleep,
        chat_loras=_held_adapters(settings, surfaces),
        chat_lora_rank=settings.chat_lora_rank,
        chat_adapters=settings.adapters(),
        chat_adapters_of=settings.model_slug,
        images_quantization=settings.images_quantization,
        images_offload=settings.images_offload,
        images_compile=settings.images_compile,
        speech_characters=settings.speech_max_characters,
    )


def _only(surfaces: Collection[str] | None) -> str | None:
    return next(iter(surfaces)) if surfaces is not None and len(surfaces) == 1 else None


def _held_adapters(settings: Settings, surfaces: Collection[str] | None) -> int:
    """How many adapters of requests a chat model has room for.

    Room for them takes memory: beside other surfaces, the list of adapters may be for pictures.
    """
    if not settings.lora_allow:
        return 0
    if settings.chat_loras is not None:
        return settings.chat_loras
    return _CHAT_LORAS if _only(surfaces) == "chat" else 0
