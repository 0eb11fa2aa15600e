"""BGE-M3 with random weights, on our engine: tokens per second.

The workloads are texts of mixed lengths (of ten, seven of 10 to 60 tokens and three of 300 to 500)
and texts of 512 tokens, sorted by length, in runs as large as the engine's budget. ``packed`` is
what the engine does if it packs. ``padded`` pads every text to the longest of its run; padding
tokens do not count, so this shows the cost of padding.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.gpu import work
from benchmarks.gpu.made import Run, forget, seconds
from benchmarks.gpu.outcomes import Figure, Named, Outcome
from models import tiny
from models.catalog import CATALOG
from models.embeddings.inputs.texts import Tokens
from models.embeddings.request import DENSE

FULL = {
    "vocab_size": 250_002, "hidden_size": 1024, "intermediate_size": 4096,
    "num_hidden_layers": 24, "num_attention_heads": 16,
}  # fmt: skip
TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
_LETTERS = (10, 60)  # ids of single characters in the recipe's vocabulary
_HEADS, _WIDTH = 16, 64  # BGE-M3's number of attention heads, and their width


def lengths(count: int, *, mixed: bool) -> list[int]:
    """Return the lengths of ``count`` texts, in tokens."""
    chance = random.Random(7)
    if not mixed:
        return [512] * count
    return [
        chance.randint(10, 60) if chance.random() < 0.7 else chance.randint(300, 500)
        for _ in range(count)
    ]


def operations(sizes: Sequence[int], config: dict[str, int]) -> float:
    """Return the operations of the encoder for texts of these lengths."""
    width, layers = config["hidden_size"], config["num_hidden_layers"]
    weights = layers * (4 * width * width + 2 * width * config["intermediate_size"])
    return work.linear(sum(sizes), weights) + work.attention(sizes, layers, width)


def runs(sizes: Sequence[int], budget: int, *, packs: bool) -> list[list[int]]:
    """Return the texts in runs, sorted by length, as many per run as the budget allows."""
    made: list[list[int]] = [[]]
    for size in sorted(sizes, reverse=True):
        now = made[-1]
        after = sum(now) + size if packs else (len(now) + 1) * max(size, *now, 0)
        if now and after > budget:
            made.append(now := [])
        now.append(size)
    return made


def measure(run: Run) -> Iterator[Outcome]:
    """Yield tokens per second of mixed and of equal texts, then the figures of attention alone."""
    engine = _engine(run)
    yield Named("embeddings_budget", str(engine.budget))
    for name, mixed in (("mixed texts", True), ("texts of 512", False)):
        for way in ["packed", "padded"] if engine.packs else ["padded"]:
            yield _rate(engine, name, way, run, mixed=mixed)
    engine.close()
    forget(run.device)
    yield from _attention(run)


def _rate(engine: Any, name: str, way: str, run: Run, *, mixed: bool) -> Figure:
    """Return real tokens per second; padding does not count."""
    count = 64 if run.small else 8192
    sizes = lengths(count if mixed else count // 4, mixed=mixed)
    given = _parts(sizes, engine, packed=way == "packed")

    def embed() -> None:
        for batch in given:
            engine.forward(batch, frozenset({DENSE}))

    took = seconds(embed, run.device, rounds=1 if run.small else 3)
    share = work.share(operations(sizes, TINY if run.small else FULL), took, run.flops)
    return Figure(f"{name}, {way}", sum(sizes) / took, "tokens/s", share, "arithmetic")


def _engine(run: Run) -> Any:
    """Return our engine, loaded from a folder with BGE-M3's architecture."""
    import torch

    from models.embeddings.torch import TorchEmbeddings
    from models.tiny import bge_m3

    folder = run.folder / "bge-m3"
    torch.manual_seed(tiny.SEED)
    bge_m3.write(folder, *bge_m3.parts(**(TINY if run.small else FULL)))
    row = replace(CATALOG.find("BGE_M3"), weights=f"file://{folder}")
    return TorchEmbeddings.load(folder, row, run.device)


def _parts(sizes: Sequence[int], engine: Any, *, packed: bool) -> list[list[Tokens]]:
    """Return random texts in runs, padded to the longest unless ``packed``."""
    chance = random.Random(11)
    made = []
    for run in runs(sizes, engine.budget, packs=packed):
        # An engine that does not pack pads by itself.
        longest = max(run) if engine.packs and not packed else 0
        made.append([Tokens(chance.choices(_LETTERS, k=max(size, longest))) for size in run])
    return made


def _attention(run: Run) -> Iterator[Outcome]:
    """Yield the figures of one layer's attention, for mixed texts in half precision."""
    import torch

    from models.device import varlen

    sizes = lengths(16 if run.small else 256, mixed=True)
    dtype = torch.bfloat16 if run.device.bf16 else torch.float16
    kind = run.device.kind
    given = torch.randn(sum(sizes), 3, _HEADS, _WIDTH, device=kind, dtype=dtype).unbind(1)
    begins = torch.tensor([0, *sizes], device=kind).cumsum(0).to(torch.int32)
    done = work.attention(sizes, 1, _HEADS * _WIDTH)
    packed = varlen.Packed(begins, max(sizes))
    ways = {"attention, padded": varlen.padded}
    if varlen.suits(given[0].device, dtype, _WIDTH):
        ways = {"attention, varlen_attn": varlen.attend, **ways}
    for what, attend in ways.items():
        with torch.inference_mode():
            took = seconds(
                lambda attend=attend: attend(*given, packed),
                run.device, rounds=5, warm=3,
            )  # fmt: skip
        share = work.share(done, took, run.flops)
        yield Figure(what, 1e3 * took, "ms a layer", share, "arithmetic")
