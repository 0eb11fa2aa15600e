"""Where and how a pipeline runs: on which device, in how many bits, compiled or not.

Row options, set by the operator (``handler.settings.engines``):

    offload        parts wait in the RAM and come to the GPU one after the other
    quantization   ``int8`` or ``fp8``: of the part that denoises
    compiled       a folder for what is compiled; None = nothing is
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
_FP8_CAPABILITY = (8, 9)  # the first GPUs that multiply in fp8


def placed(pipeline: Any, row: Row, kind: str) -> Any:
    """Put a pipeline where it runs, as the operator wants it.

    Raises:
        ModelLoadFailed: the machine cannot do that.
    """
    from models.images.pipelines.int8 import Int8Linear, quantise

    name = "unet" if hasattr(pipeline, "unet") else "transformer"
    core = getattr(pipeline, name)
    wanted = row.options.get("quantization")
    if wanted and any(isinstance(one, Int8Linear) for one in core.modules()):
        log.info("%s: stored in int8 already; not quantised", row.slug)
    elif wanted == "int8":
        quantise(core)
    elif wanted == "fp8":
        _to_fp8(core, row, kind)
        if row.options.get("compiled") is None:
            log.warning("%s: %s", row.slug, FP8_ALONE)
    if row.options.get("offload") and kind == "cuda":
        log.info("%s: larger than the memory; its parts wait in the RAM", row.slug)
        pipeline.enable_model_cpu_offload()
    else:
        pipeline = pipeline.to(kind)
    folder = row.options.get("compiled")
    if folder is not None:
        # Read by torch's compiler when it first compiles; a later process finds its results there.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
        core.compile_repeated_blocks()
    return pipeline


def unhooked(pipeline: Any, row: Row) -> None:
    """Take diffusers' and accelerate's hooks off a pipeline's parts: each holds its part, and back.

    Without them the parts go with the last one who holds the pipeline, and no collection is needed.
    """
    if row.options.get("offload"):
        pipeline.remove_all_hooks()
    parts = [one for one in pipeline.components.values() if hasattr(one, "modules")]
    for module in (module for part in parts for module in part.modules()):
        module.__dict__.pop("_diffusers_hook", None)


def sibling(pipeline: Any, name: str) -> Any:
    """Another pipeline of diffusers', made of the same parts and with the same settings."""
    import diffusers

    made = getattr(diffusers, name)
    wanted = inspect.signature(made.__init__).parameters
    parts = {key: one for key, one in pipeline.components.items() if key in wanted}
    settings = {
        key: value
        for key, value in pipeline.config.items()
        if key in wanted and key not in parts and not key.startswith("_")
    }
    return made(**parts, **settings)


def _to_fp8(core: Any, row: Row, kind: str) -> None:
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
    # Layer by layer: the whole in bfloat16 may be larger than the GPU.
    how = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
    quantize_(core, how, device="cuda")
