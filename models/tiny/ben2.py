"""BEN2's checkpoint with narrow layers: the same tensor names, random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

WIDTH, DEPTHS, HEADS, WINDOW = 16, (2, 2, 2, 2), 1, 4
Shape = tuple[int, ...]


def build(into: Path) -> None:
    """Write ``model.safetensors``."""
    import torch
    from safetensors.torch import save_file

    weights = {}
    for name, shape in shapes():
        value = torch.randn(shape)
        if len(shape) > 1:
            value /= value[0].numel() ** 0.5
        else:
            value = value * 0.1 + name.endswith("weight")
        weights[name] = value
    save_file(weights, into / "model.safetensors")


def shapes() -> Iterator[tuple[str, Shape]]:
    """Yield the name and shape of every tensor of the checkpoint that the engine uses."""
    yield from _conv("backbone.patch_embed.proj", 3, WIDTH, 4)
    yield from _norm("backbone.patch_embed.norm", WIDTH)
    for stage, depth in enumerate(DEPTHS):
        width = WIDTH * 2**stage
        for block in range(depth):
            yield from _block(f"backbone.layers.{stage}.blocks.{block}", width, HEADS * 2**stage)
        if stage < len(DEPTHS) - 1:
            yield f"backbone.layers.{stage}.downsample.reduction.weight", (2 * width, 4 * width)
            yield from _norm(f"backbone.layers.{stage}.downsample.norm", 4 * width)
        yield from _norm(f"backbone.norm{stage}", width)
        yield from _conv(f"output{stage + 2}.0", width, WIDTH)
    yield from _conv("output1.0", WIDTH, WIDTH)
    yield from _crossed("multifieldcrossatt", 5, ("linear1", "linear2", "linear3", "linear4"))
    for stage in range(1, 5):
        yield from _conv(f"conv{stage}.0", WIDTH, WIDTH)
        yield from _crossed(f"dec_blk{stage}", 4, ("linear3", "linear4"))
        yield from _conv(f"dec_blk{stage}.sal_conv", WIDTH, 1, 1)
    yield from _conv("insmask_head.0", WIDTH, 3 * WIDTH)
    yield from _conv("insmask_head.3", 3 * WIDTH, 3 * WIDTH)
    yield from _conv("insmask_head.6", 3 * WIDTH, WIDTH)
    yield from _conv("shallow.0", 3, WIDTH)
    yield from _conv("upsample1.0", WIDTH, WIDTH)
    yield from _conv("upsample2.0", WIDTH, WIDTH)
    yield from _conv("output.0", WIDTH, 1)


def _block(name: str, width: int, heads: int) -> Iterator[tuple[str, Shape]]:
    yield from _norm(f"{name}.norm1", width)
    yield f"{name}.attn.relative_position_bias_table", ((2 * WINDOW - 1) ** 2, heads)
    yield from _linear(f"{name}.attn.qkv", width, 3 * width)
    yield from _linear(f"{name}.attn.proj", width, width)
    yield from _norm(f"{name}.norm2", width)
    yield from _linear(f"{name}.mlp.fc1", width, 4 * width)
    yield from _linear(f"{name}.mlp.fc2", 4 * width, width)


def _crossed(name: str, count: int, linears: tuple[str, ...]) -> Iterator[tuple[str, Shape]]:
    for index in range(count):
        where = f"{name}.attention.{index}"
        yield f"{where}.in_proj_weight", (3 * WIDTH, WIDTH)
        yield f"{where}.in_proj_bias", (3 * WIDTH,)
        yield from _linear(f"{where}.out_proj", WIDTH, WIDTH)
    for place, linear in enumerate(linears):
        wide, narrow = 2 * WIDTH, WIDTH
        sizes = (narrow, wide) if place % 2 == 0 else (wide, narrow)
        yield from _linear(f"{name}.{linear}", *sizes)
    yield from _norm(f"{name}.norm1", WIDTH)
    yield from _norm(f"{name}.norm2", WIDTH)


def _conv(name: str, before: int, after: int, side: int = 3) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (after, before, side, side)
    yield f"{name}.bias", (after,)


def _linear(name: str, before: int, after: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (after, before)
    yield f"{name}.bias", (after,)


def _norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
