"""Linear layers on this CPU: torch's own, compared with oneDNN's with a fused GELU.

    .venv/bin/python -m benchmarks.linear

The shapes are those of All_MiniLM_L6_v2 and BGE_M3 for a run of 1,024 tokens. Each pair runs in
turns; figures are medians of the ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.report import figures, table
from models.embeddings.encoder.onednn import OneDnnLinear

TOKENS, ROUNDS = 1024, 25
SHAPES = ((384, 384), (384, 1536), (1536, 384), (1024, 1024), (1024, 4096), (4096, 1024))


def seconds(run: Callable[[], Any]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(width: int, out: int, dtype: torch.dtype, *, gelu: bool) -> float:
    """Return how many times as fast oneDNN's layer is."""
    linear = torch.nn.Linear(width, out, dtype=dtype)
    ours = OneDnnLinear(linear.weight, linear.bias, gelu=gelu)
    after = torch.nn.GELU() if gelu else torch.nn.Identity()
    x = torch.randn(TOKENS, width, dtype=dtype)
    ratios = [seconds(lambda: after(linear(x))) / seconds(lambda: ours(x)) for _ in range(ROUNDS)]
    return statistics.median(ratios)


def main() -> None:
    """Measure and print the results."""
    named, rows = {}, []
    with torch.inference_mode():
        for width, out in SHAPES:
            gelu = out > width
            ratios = [
                compare(width, out, dtype, gelu=gelu) for dtype in (torch.float32, torch.bfloat16)
            ]
            rows.append([f"{width} to {out}", gelu, *(f"{ratio:.2f}" for ratio in ratios)])
            named[f"ratio_{width}_{out}_float32"], named[f"ratio_{width}_{out}_bfloat16"] = ratios
    table(["layer", "with GELU", "float32, times as fast", "bfloat16"], rows)
    figures(named)


if __name__ == "__main__":
    main()
