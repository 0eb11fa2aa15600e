"""Placing a pipeline on a device: offloading, quantisation and compilation.

Row options, set by the operator (``models.pipelines.options``):

    offload        parts stay in RAM and move to the GPU one at a time
    quantization   of the denoiser, ``int8`` or ``fp8``
    compiled       folder of the compiler's cache; None = not compiled
"""

from __future__ import annotations

import inspect
import logging
import os
from typing import Any

from models.errors import ModelLoadFailed
from models.row import Row

log = logging.getLogger(__name__)

FP8_ALONE = (
    "IMAGES_QUANTIZATION is fp8 without IMAGES_COMPILE: each layer then quantises its input by "
    "several small kernels, which is probably slower than bfloat16"
)
_FP8_CAPABILITY = (8, 9)  # compute capability of the first GPUs with fp8 arithmetic


def placed(pipeline: Any, row: Row, kind: str) -> Any:
    """Move a pipeline to its device, and apply the row's options.

    Raises:
        ModelLoadFailed: the machine does not support an option.
    """
    from models.pipelines.int8 import Int8Linear, quantise

    name = "unet" if hasattr(pipeline, "unet") else "transformer"
    denoiser = getattr(pipeline, name)
    quantization = row.options.get("quantization")
    if quantization and any(isinstance(module, Int8Linear) for module in denoiser.modules()):
        log.info("%s: stored in int8 already; not quantised", row.slug)
    elif quantization == "int8":
        quantise(denoiser)
    elif quantization == "fp8":
        _to_fp8(denoiser, row, kind)
        if row.options.get("compiled") is None:
            log.warning("%s: %s", row.slug, FP8_ALONE)
    if row.options.get("offload") and kind == "cuda":
        log.info("%s: larger than the memory; its parts wait in the RAM", row.slug)
        pipeline.enable_model_cpu_offload()
    else:
        pipeline = pipeline.to(kind)
    folder = row.options.get("compiled")
    if folder is not None:
        # torch's compiler reads this when it first compiles; later processes reuse the cache.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
        denoiser.compile_repeated_blocks()
    return pipeline


def unhooked(pipeline: Any, row: Row) -> None:
    """Remove diffusers' and accelerate's hooks from a pipeline's parts.

    A hook and its part refer to each other. Without hooks, the parts are freed with the pipeline,
    and not only by the garbage collector.
    """
    if row.options.get("offload"):
        pipeline.remove_all_hooks()
    parts = [part for part in pipeline.components.values() if hasattr(part, "modules")]
    for module in (module for part in parts for module in part.modules()):
        module.__dict__.pop("_diffusers_hook", None)


def serves_two_runs(row: Row) -> bool:
    """Whether a run may go between the steps of another on the same parts.

    Parts that move to the device and back serve a single run, and so do compiled ones.
    """
    return row.options.get("compiled") is None and not row.options.get("offload")


def sibling(pipeline: Any, name: str) -> Any:
    """Return another of diffusers' pipelines, with the same parts and settings."""
    import diffusers

    pipeline_class = getattr(diffusers, name)
    accepted = inspect.signature(pipeline_class.__init__).parameters
    parts = {key: part for key, part in pipeline.components.items() if key in accepted}
    settings = {
        key: value
        for key, value in pipeline.config.items()
        if key in accepted and key not in parts and not key.startswith("_")
    }
    return pipeline_class(**parts, **settings)


def _to_fp8(denoiser: Any, row: Row, kind: str) -> None:
    import torch

    if kind != "cuda" or torch.cuda.get_device_capability() < _FP8_CAPABILITY:
        raise ModelLoadFailed(
            f"{row.slug}: IMAGES_QUANTIZATION is fp8, which needs a GPU of Ada's or Hopper's "
            "generation or later; set int8, or leave it out."
        )
    try:
        from torchao.quantization import (
            Float8DynamicActivationFloat8WeightConfig,
            PerRow,
            quantize_,
        )
    except ImportError:
        raise ModelLoadFailed(
            f"{row.slug}: IMAGES_QUANTIZATION is fp8, which needs torchao; install "
            "builder/requirements/images-fast.txt."
        ) from None
    # Moves layer by layer: the denoiser in bfloat16 may be larger than the GPU's memory.
    config = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
    quantize_(denoiser, config, device="cuda")
