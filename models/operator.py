"""The operator's options for engines, and the machine's limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Operator:
    """The operator's options; each engine takes its own in ``Engine.configured``.

    Attributes:
        device_kind: ``cuda`` or ``cpu``.
        budget_bytes: the memory of all warm models together, on each GPU.
        shelf: the folder for compiled code that is kept between starts.
        only: the surface that the worker serves, if it serves a single one; else None.
        gpus: how many GPUs a model may use.
        compute_type: ctranslate2's compute type, for transcription.
        chat_engine: the engine that serves chat.
        chat_template: replaces the models' own chat templates.
        vllm_args: further arguments of vLLM's engine.
        chat_context_tokens: the longest conversation, in tokens.
        chat_cache_tokens: the size of the chat cache, for all conversations together.
        chat_memory_bytes: the memory of a chat model, on each GPU.
        chat_images: how many pictures a request may have.
        chat_image_bytes: the size of all pictures of a request together.
        chat_image_pixels: the number of pixels of all pictures of a request together.
        chat_pdf_pages: how many pages of PDFs a request may have read.
        chat_pdf_page_pixels: the number of pixels of a page of a PDF.
        chat_sleep: whether vLLM's models sleep in RAM instead of being unloaded.
        chat_loras: how many adapters that requests bring are held at once.
        chat_lora_rank: the largest rank of such an adapter.
        chat_adapters: the addresses of LoRA adapters, by name.
        chat_adapters_of: the name of the model that the adapters are for; None = all chat models.
        images_quantization: the number type of the denoiser's weights.
        images_offload: whether models of a pipeline stay in RAM until the GPU needs them.
        images_compile: whether the denoiser is compiled.
        speech_characters: the longest text that one request may have spoken.
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
    chat_pdf_pages: int = 100
    chat_pdf_page_pixels: int = 4_000_000
    chat_sleep: bool = False
    chat_loras: int = 0
    chat_lora_rank: int = 64
    chat_adapters: Mapping[str, str] = field(default_factory=dict)
    chat_adapters_of: str | None = None
    images_quantization: Literal["int8", "fp8"] | None = None
    images_offload: Literal["auto", "always", "never"] = "auto"
    images_compile: bool = False
    speech_characters: int = 4096


def chat_engine(
    wanted: Literal["auto", "transformers", "vllm"], device_kind: str
) -> tuple[Literal["transformers", "vllm"], str]:
    """Return the engine that serves chat on a device, and why it is that one.

    Raises:
        ValueError: the engine that the operator wants is not installed.
    """
    installed = find_spec("vllm") is not None
    if wanted == "vllm" and not installed:
        raise ValueError("CHAT_ENGINE: vllm is not installed in this image")
    if wanted != "auto":
        return wanted, "CHAT_ENGINE says so"
    if device_kind != "cuda":
        return "transformers", "there is no GPU"
    if not installed:
        return "transformers", "vllm is not installed"
    return "vllm", "there is a GPU"
