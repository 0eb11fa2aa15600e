"""FLUX.1-schnell and FLUX.2-klein-4B with random weights: seconds per picture.

Measured are four steps and the decoder, from prompt embeddings (the encoder runs once per prompt),
placed by ``models.pipelines.placement``: unmodified, compiled, and in fp8 (with torchao).

Operations are those that torch counts in one run, because not every weight is used for every token:
a token passes through one stream of a double block only, and modulation is computed once per
picture. The share of fp8 is relative to the limit in half precision, and may exceed 1.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu import work
from benchmarks.gpu.made import Run, forget, randomly, seconds
from benchmarks.gpu.outcomes import Figure, Outcome, Skipped
from models.catalog import CATALOG
from models.errors import ModelLoadFailed

STEPS, WORDS = 4, 512
# Kept after the run, so that another run with the same library finds the compiled code.
COMPILED = Path(tempfile.gettempdir()) / "quartet-compiled"
WAYS: dict[str, dict[str, Any]] = {
    "eager": {},
    "compiled": {"compiled": COMPILED},
    "fp8, compiled": {"quantization": "fp8", "compiled": COMPILED},
}
SIZES = {"eager": ((1024, (1, 2, 4)), (512, (1, 4, 8)))}  # side, and pictures at once
ALONE = ((1024, (1,)),)


@dataclass(frozen=True)
class Model:
    """A pipeline with random weights, and its inputs.

    Attributes:
        slug: the model that has this architecture.
        make: builds the pipeline without its encoders.
        embeds: the embeddings of one prompt, by the pipeline's argument names.
    """

    slug: str
    make: Callable[[], Any]
    embeds: dict[str, tuple[int, ...]]


def operations(call: Callable[[], Any]) -> float:
    """Return the operations of a call: matrix products, convolutions, attention."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def schnell(run: Run) -> Iterator[Outcome]:
    """FLUX.1-schnell: 19 double and 38 single blocks, 24 heads of 128."""
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        FluxPipeline,
        FluxTransformer2DModel,
    )

    from models.tiny import flux

    double, single, heads = (1, 1, 2) if run.small else (19, 38, 24)

    def make() -> Any:
        vae = flux.vae() if run.small else AutoencoderKL(
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

    embeds = {"prompt_embeds": (WORDS, 4096), "pooled_prompt_embeds": (768,)}
    yield from measure(Model("Flux1schnell", make, embeds), run)


def klein(run: Run) -> Iterator[Outcome]:
    """FLUX.2-klein-4B: 5 double and 20 single blocks, 24 heads of 128."""
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )

    double, single, heads = (1, 1, 2) if run.small else (5, 20, 24)

    def make() -> Any:
        sizes: dict[str, Any] = {"block_out_channels": (32, 64, 64, 64)} if run.small else {}
        transformer = Flux2Transformer2DModel(
            num_layers=double, num_single_layers=single, num_attention_heads=heads,
            joint_attention_dim=7680, guidance_embeds=False,
        )  # fmt: skip
        scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
        vae = AutoencoderKLFlux2(**sizes)
        return Flux2KleinPipeline(scheduler, vae, None, None, transformer, is_distilled=True)

    embeds = {"prompt_embeds": (WORDS, 7680)}
    yield from measure(Model("Flux_2_Klein_4B_BF16", make, embeds), run)


def measure(model: Model, run: Run) -> Iterator[Outcome]:
    """Yield figures of every way, alone and several at once; quick ones first."""
    counted: dict[tuple[int, int], float] = {}
    for way in WAYS:
        if run.small and run.device.kind != "cuda" and way != "eager":
            yield Skipped(way, "small and without a GPU")
            continue
        try:
            pipeline = _placed(model, way, run)
        except ModelLoadFailed as error:
            yield Skipped(way, error.message)
            continue
        for side, counts in SIZES.get(way, ALONE):
            for count in counts:
                yield _figure(model, pipeline, way, (side, count), counted, run)
        del pipeline
        forget(run.device)


def _figure(
    model: Model,
    pipeline: Any,
    way: str,
    size: tuple[int, int],
    counted: dict[tuple[int, int], float],
    run: Run,
) -> Figure:
    """Return seconds per picture in a run of ``size[1]``; operations are counted only once."""
    import torch

    side, count = size[0] // 16 if run.small else size[0], size[1]
    given = {
        name: torch.randn(count, *shape, device=run.device.kind, dtype=pipeline.dtype)
        for name, shape in model.embeds.items()
    }

    def paint() -> None:
        pipeline(
            **given, width=side, height=side, num_inference_steps=STEPS, guidance_scale=0.0,
            output_type="pt",
        )  # fmt: skip

    if size not in counted:
        counted[size] = operations(paint)
    took = seconds(paint, run.device, rounds=1 if run.small else 5 if count == 1 else 3, warm=2)
    share = work.share(counted[size], took, run.flops)
    what = f"{way}, {side}x{side}, {count} at once"
    return Figure(what, took / count, "s a picture", share, "arithmetic")


def _placed(model: Model, way: str, run: Run) -> Any:
    """Return the pipeline, placed on the device in the given way."""
    import torch

    from models.pipelines import placement

    dtype = torch.bfloat16 if run.device.kind == "cuda" else torch.float32
    row = replace(CATALOG.find(model.slug), options=WAYS[way])
    pipeline = randomly(model.make, run.device, dtype).to(dtype=dtype)
    pipeline = placement.placed(pipeline, row, run.device.kind)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
