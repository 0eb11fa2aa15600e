"""The operator's options for pictures and videos; ``models.pipelines.placement`` acts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models.operator import Operator
from models.row import Row


def configured(row: Row, operator: Operator) -> Row:
    """Return a row with the options of its pipeline, and the memory that it takes with them."""
    options = dict(row.options)
    if operator.images_quantization is not None:
        options["quantization"] = operator.images_quantization
        row, options = _quantised(row, options)
    if operator.images_compile:
        options["compiled"] = operator.shelf / "compiled"
    parts_bytes = options.get("offloaded_bytes")
    wanted = operator.images_offload
    too_large = wanted == "auto" and row.memory_bytes > operator.budget_bytes
    on_gpu = operator.device_kind == "cuda"
    if on_gpu and parts_bytes is not None and (wanted == "always" or too_large):
        return replace(row, options={**options, "offload": True}, memory_bytes=parts_bytes)
    return replace(row, options=options)


def _quantised(row: Row, options: dict[str, Any]) -> tuple[Row, dict[str, Any]]:
    """Return a row and its options with one byte for each two of the part that denoises.

    A part that is stored in eight bits already has no ``denoiser_bytes``: nothing is saved.
    """
    whole_bytes = options.get("denoiser_bytes", 0)
    saved_bytes = whole_bytes // 2
    if "offloaded_bytes" in options:
        # On the device is the largest part at a time, which may be another one now.
        other_bytes = options.get("encoder_bytes", whole_bytes)
        less_bytes = max(whole_bytes, other_bytes) - max(whole_bytes - saved_bytes, other_bytes)
        options = {**options, "offloaded_bytes": options["offloaded_bytes"] - less_bytes}
    return replace(row, memory_bytes=row.memory_bytes - saved_bytes), options
