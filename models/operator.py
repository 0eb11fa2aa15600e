"""What the operator wants of the engines, and the machine that they have to fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Operator:
    """The operator's options; each engine takes its own in ``Engine.configured``.

    Attributes:
        device_kind: ``cuda`` or ``cpu``.
        budget_bytes: of all warm models together, on each GPU.
        shelf: the folder for what is compiled and kept between starts.
        only: the surface that the worker serves, if it serves one; else None.
        gpus: how many GPUs a model may use.
        compute_type: ctranslate2's, for transcription.
        chat_engine: which engine serves chat.
        chat_template: instead of the models' own, as text.
        vllm_args: further arguments of vllm's engine.
        chat_context_tokens: of the longest conversation.
        chat_cache_tokens: of all conversations together.
        chat_memory_bytes: of a chat model on each GPU.
        chat_images: how many pictures a request may have.
        chat_image_bytes: of all of them together.
        chat_image_pixels: of all of them together.
        chat_adapters: the addresses of LoRA adapters, by name.
        chat_adapters_of: a name of the model that the adapters belong to; None = all chat models.
        images_quantization: of the part that denoises.
        images_offload: whether parts wait in RAM for their turn on the GPU.
        images_compile: whether the part that denoises is compiled.
        speech_characters: of a text that is spoken at once.
    """

    device_kind: str
    budget_bytes: int
    shelf: Path
    only: str | None = None
    gpus: int = 1
    compute_type: str | None = None
    chat_engine: Literal["auto", "transformers", "vllm"] = "auto"
    chat_template: str | None = None
    vllm_args: Mapping[str, Any] = field(default_factory=dict)
    chat_context_tokens: int | None = None
    chat_cache_tokens: int | None = None
    chat_memory_bytes: int | None = None
    chat_images: int = 16
    chat_image_bytes: int = 32 * 1024 * 1024
    chat_image_pixels: int = 64_000_000
    chat_adapters: Mapping[str, str] = field(default_factory=dict)
    chat_adapters_of: str | None = None
    images_quantization: Literal["int8", "fp8"] | None = None
    images_offload: Literal["auto", "always", "never"] = "auto"
    images_compile: bool = False
    speech_characters: int = 4096
