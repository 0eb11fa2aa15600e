"""The variables of engines, and of how much they take."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from pydantic import field_validator

from handler.settings.model_variables import ModelVariables
from handler.settings.variable import split, variable

_ADAPTER = re.compile(r"[\w.-]+=(hf://[\w.-]+/[\w.-]+@[0-9a-f]{40}|file:///.+)")
ComputeType = Literal["float32", "float16", "bfloat16", "int8", "int8_float16"]


class EngineVariables(ModelVariables):
    """How the engines serve the models."""

    chat_engine: Literal["auto", "transformers", "vllm"] = variable(
        "CHAT_ENGINE",
        "The engine of chat models; auto = vllm on a GPU if it is installed, else transformers.",
        "auto",
    )
    chat_template: str | None = variable(
        "CHAT_TEMPLATE",
        "A file with a chat template in Jinja, or the template itself, instead of the model's own.",
    )
    vllm_args: dict[str, Any] = variable(
        "VLLM_ARGS",
        "Further arguments of vllm's engine, as a JSON object: "
        '`{"max_num_seqs": 64, "kv_cache_dtype": "fp8"}`. '
        "docs/chat.md lists them.",
        {},
    )
    chat_context_tokens: int | None = variable(
        "CHAT_CONTEXT_TOKENS",
        "The largest number of tokens in a conversation, the answer included. Unset: the "
        "model's context length.",
        ge=256,
    )
    chat_cache_tokens: int | None = variable(
        "CHAT_CACHE_TOKENS",
        "The largest number of tokens that the cache holds for all conversations together. "
        "Unset: what fits the model's share of the GPU's memory, and 16,384 on a CPU.",
        ge=256,
    )
    chat_memory_gb: float | None = variable(
        "CHAT_MEMORY_GB",
        "The memory of a chat model on each GPU: weights, cache and working space. Unset: the "
        "whole budget if the worker serves chat alone, else the catalog's figure.",
        gt=0,
    )
    chat_sleep: bool = variable(
        "CHAT_SLEEP",
        "Keep the weights of a chat model that makes room for another in RAM, if they fit, so that "
        "it comes back in seconds. vllm on a GPU only.",
        False,
    )
    chat_images: int = variable(
        "CHAT_IMAGES", "The largest number of pictures in a chat request.", 16, ge=1
    )
    chat_image_bytes: int = variable(
        "CHAT_IMAGE_BYTES",
        "The largest size of a chat request's pictures together, as they are sent.",
        32 * 1024 * 1024,
        ge=1000,
    )
    chat_image_pixels: int = variable(
        "CHAT_IMAGE_PIXELS",
        "The largest number of pixels of a chat request's pictures together.",
        64_000_000,
        ge=10_000,
    )
    chat_pdf_pages: int = variable(
        "CHAT_PDF_PAGES", "The largest number of pages of PDFs that a request reads.", 100, ge=1
    )
    chat_pdf_page_pixels: int = variable(
        "CHAT_PDF_PAGE_PIXELS",
        "The largest number of pixels that a page of a PDF is drawn with.",
        4_000_000,
        ge=10_000,
    )
    served_names: tuple[str, ...] = variable(
        "SERVED_NAMES",
        "Additional model names, comma-separated: with `NAME=MODEL`, a request for NAME is "
        "served by MODEL, even if NAME is another model's name.",
        (),
    )
    lora_adapters: tuple[str, ...] = variable(
        "LORA_ADAPTERS",
        "LoRA adapters of the chat model, comma-separated: `name=hf://repo@revision` or "
        "`name=file:///folder`. A request chooses one with `model: slug:name`. vllm only.",
        (),
    )
    lora_allow: tuple[str, ...] = variable(
        "LORA_ALLOW",
        "LoRA adapters that an image or chat request may name, comma-separated patterns with `*` "
        "as wildcard: `owner/name`, `owner/*`, `https://host/*`, `file:///folder/*`. A pattern "
        "matches addresses of its own scheme only; redirect targets must match too. Unset: "
        "none.",
        (),
    )
    chat_loras: int | None = variable(
        "CHAT_LORAS",
        "How many adapters of LORA_ALLOW a chat model holds at once. Unset: 4 if the worker serves "
        "chat alone, else none. vllm only.",
        ge=0,
        le=64,
    )
    chat_lora_rank: int = variable(
        "CHAT_LORA_RANK",
        "The largest rank of an adapter that a chat request brings.",
        64,
        ge=1,
        le=512,
    )
    safety_checker: str | None = variable(
        "SAFETY_CHECKER",
        "The model that checks pictures before they are returned: "
        "`StableDiffusion_Safety_Checker`. Unset: pictures are not checked.",
    )
    diarizer: str | None = variable(
        "DIARIZER",
        "The model that distinguishes speakers, if sherpa-onnx is installed: "
        "`Pyannote_WeSpeaker`. Unset: that model on a GPU, a stand-in on a CPU.",
    )
    compute_type: ComputeType | None = variable(
        "COMPUTE_TYPE",
        "The type that transcription computes in. Unset: float16 on a GPU, int8 on a CPU.",
    )
    images_compile: bool = variable(
        "IMAGES_COMPILE",
        "Compile image models when they load. The compiled code is kept on the volume or in "
        "QUARTET_CACHE.",
        False,
    )
    speech_max_characters: int = variable(
        "SPEECH_MAX_CHARACTERS",
        "The longest text that is spoken at once.",
        4096,
        ge=1,
    )
    images_quantization: Literal["int8", "fp8"] | None = variable(
        "IMAGES_QUANTIZATION",
        "Store the denoising part of image models in 8 bits. fp8 also computes in 8 bits; it "
        "needs torchao and an Ada, Hopper or later GPU.",
    )
    images_offload: Literal["auto", "always", "never"] = variable(
        "IMAGES_OFFLOAD",
        "Keep unused parts of an image model in RAM; auto = only if the whole model exceeds the "
        "memory budget.",
        "auto",
    )
    gpu_count: int = variable(
        "RUNPOD_GPU_COUNT",
        "The number of this worker's GPUs, set by the platform; vllm uses all of them.",
        1,
    )
    memory_budget_gb: float | None = variable(
        "MEMORY_BUDGET_GB",
        "The memory of all warm models together, on each GPU. Unset: 90 % of the GPU's memory, "
        "or of the RAM.",
        gt=0,
    )
    concurrency: int | None = variable(
        "CONCURRENCY",
        "The number of jobs taken at once. Unset: two runs' worth of the model, at least the "
        "surface's number.",
        ge=1,
    )
    preload: bool = variable(
        "PRELOAD", "Load the model before the first job, if the worker serves one surface.", True
    )
    check_bucket: bool = variable(
        "CHECK_BUCKET",
        "Write a small object to the bucket and remove it before the first job. If that fails, "
        "the worker exits as unfit.",
        False,
    )
    rehearse: bool = variable(
        "REHEARSE",
        "After preloading, run a warm-up request before taking jobs, so that the first job is "
        "as fast as the second.",
        True,
    )

    @field_validator("served_names", "lora_adapters", "lora_allow", mode="before")
    @classmethod
    def _lists_of_engines(cls, value: object) -> object:
        return split(value)

    @field_validator("vllm_args", mode="before")
    @classmethod
    def _object(cls, value: object) -> object:
        try:
            found = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ValueError('must be a JSON object, as {"max_num_seqs": 64}')
        return found

    @field_validator("served_names")
    @classmethod
    def _pairs(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for pair in given:
            name, _, model = pair.partition("=")
            if not name.strip() or not model.strip():
                raise ValueError("must be NAME=MODEL, comma-separated")
        return given

    @field_validator("lora_adapters")
    @classmethod
    def _addresses(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for address in given:
            if not _ADAPTER.fullmatch(address):
                raise ValueError("must be name=hf://repo@revision or name=file:///folder")
        return given

    def further_names(self) -> dict[str, str]:
        """The model that each further name means."""
        pairs = (pair.partition("=") for pair in self.served_names)
        return {name.strip(): model.strip() for name, _, model in pairs}

    def adapters(self) -> dict[str, str]:
        """Return the sources of the operator's adapters by name."""
        parts = (adapter.partition("=") for adapter in self.lora_adapters)
        return {name: address for name, _, address in parts}
