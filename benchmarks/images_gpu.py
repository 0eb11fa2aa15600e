"""Full-size FLUX.1-schnell and FLUX.2-klein-4B with random weights: seconds a picture on this GPU.

    .venv/bin/python -m benchmarks.images_gpu [--side 1024]

Four steps and the decoder, from embeddings of a prompt (an encoder's time is spent once a prompt),
as ``models.images.tuning`` places them: as they are, compiled, and in fp8 (with torchao). The limit
is what one large matrix product in bfloat16 reaches on this GPU; a token takes two operations for
each weight of its transformer, and in attention four for each number of a layer's width and each
token. ``--small`` runs tiny ones, to see that it runs at all.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.arithmetic import peak_flops
from benchmarks.report import figures, table
from models.catalog import CATALOG
from models.device import hardware
from models.errors import ModelLoadFailed
from models.images import tuning

STEPS, WORDS, ROUNDS = 4, 512, 5
COMPILED = Path(tempfile.gettempdir()) / "quartet-compiled"
WAYS: dict[str, dict[str, Any]] = {
    "eager": {},
    "compiled": {"compiled": COMPILED},
    "fp8, compiled": {"quantization": "fp8", "compiled": COMPILED},
}


@dataclass(frozen=True)
class Model:
    """A pipeline with random weights, and what it is called with.

    Attributes:
        slug: whose architecture it is.
        make: builds the pipeline without its encoders.
        embeds: what stands for a prompt.
        layers, width: of the transformer's attention.
    """

    slug: str
    make: Callable[[], Any]
    embeds: dict[str, tuple[int, ...]]
    layers: int
    width: int


def schnell(small: bool) -> Model:
    """FLUX.1-schnell: 19 double and 38 single blocks, 24 heads of 128."""
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        FluxPipeline,
        FluxTransformer2DModel,
    )

    from models.tiny import flux

    double, single, heads = (1, 1, 2) if small else (19, 38, 24)

    def make() -> Any:
        vae = flux.vae() if small else AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=16,
            scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False,
            use_post_quant_conv=False,
        )  # fmt: skip
        transformer = FluxTransformer2DModel(
            num_layers=double, num_single_layers=single, num_attention_heads=heads,
        )  # fmt: skip
        return FluxPipeline(
            FlowMatchEulerDiscreteScheduler(), vae, None, None, None, None, transformer
        )

    embeds = {"prompt_embeds": (1, WORDS, 4096), "pooled_prompt_embeds": (1, 768)}
    return Model("Flux1schnell", make, embeds, double + single, heads * 128)


def klein(small: bool) -> Model:
    """FLUX.2-klein-4B: 5 double and 20 single blocks, 24 heads of 128."""
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )

    double, single, heads = (1, 1, 2) if small else (5, 20, 24)

    def make() -> Any:
        sizes: dict[str, Any] = {"block_out_channels": (32, 64, 64, 64)} if small else {}
        transformer = Flux2Transformer2DModel(
            num_layers=double, num_single_layers=single, num_attention_heads=heads,
            joint_attention_dim=7680, guidance_embeds=False,
        )  # fmt: skip
        scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
        vae = AutoencoderKLFlux2(**sizes)
        return Flux2KleinPipeline(scheduler, vae, None, None, transformer, is_distilled=True)

    embeds = {"prompt_embeds": (1, WORDS, 7680)}
    return Model("Flux_2_Klein_4B_BF16", make, embeds, double + single, heads * 128)


def measure(model: Model, way: str, side: int, kind: str) -> tuple[float, float]:
    """Seconds a picture, and the operations that one takes."""
    dtype = torch.bfloat16 if kind == "cuda" else torch.float32
    with torch.device(kind):  # random weights are made where they stay
        torch.set_default_dtype(dtype)
        pipeline = model.make()
        torch.set_default_dtype(torch.float32)
    row = replace(CATALOG.find(model.slug), options=WAYS[way])
    weights = sum(one.numel() for one in pipeline.transformer.parameters())
    pipeline = tuning.placed(pipeline.to(dtype=dtype), row, kind)
    pipeline.set_progress_bar_config(disable=True)
    given = {
        name: torch.randn(shape, device=kind, dtype=dtype) for name, shape in model.embeds.items()
    }
    took = []
    for _ in range(ROUNDS + 2):  # the first two compile and warm
        start = time.perf_counter()
        pipeline(**given, width=side, height=side, num_inference_steps=STEPS, guidance_scale=0.0)
        if kind == "cuda":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - start)
    tokens = (side // 16) ** 2 + WORDS
    operations = STEPS * tokens * (2 * weights + 4 * model.layers * model.width * tokens)
    return statistics.median(took[2:]), operations


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images_gpu")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    device = hardware.detect()
    peak = peak_flops(device)
    found: dict[str, float | str] = {
        "device": torch.cuda.get_device_name() if device.kind == "cuda" else "cpu"
    }
    rows = []
    for model in (schnell(arguments.small), klein(arguments.small)):
        for way in WAYS:
            try:
                seconds, operations = measure(model, way, arguments.side, device.kind)
            except ModelLoadFailed as error:
                rows.append((model.slug, way, "", error.message))
                continue
            finally:
                gc.collect()
                if device.kind == "cuda":
                    torch.cuda.empty_cache()
            share = operations / seconds / peak
            rows.append((model.slug, way, f"{seconds:.3f}", f"{share:.2f}"))
            name = f"{model.slug}_{way.replace(', ', '_')}"
            found |= {f"{name}_s": seconds, f"{name}_share": share}
    table(("model", "way", "seconds", "share of the limit"), rows)
    figures(found)


if __name__ == "__main__":
    main()
