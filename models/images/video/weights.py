"""The transformer of an LTX-2.3 checkpoint that Lightricks publishes as one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.pipelines.quantized import empty, fill
from models.weights.header import read_header
from models.weights.layout import layout_of

if TYPE_CHECKING:
    import torch

_PREFIX = "model.diffusion_model."
# Lightricks' names and diffusers', the longer ones first: a name may contain another.
NAMES = {
    "av_ca_video_scale_shift_adaln_single": "av_cross_attn_video_scale_shift",
    "av_ca_audio_scale_shift_adaln_single": "av_cross_attn_audio_scale_shift",
    "av_ca_a2v_gate_adaln_single": "av_cross_attn_video_a2v_gate",
    "av_ca_v2a_gate_adaln_single": "av_cross_attn_audio_v2a_gate",
    "scale_shift_table_a2v_ca_video": "video_a2v_cross_attn_scale_shift_table",
    "scale_shift_table_a2v_ca_audio": "audio_a2v_cross_attn_scale_shift_table",
    "prompt_adaln_single": "prompt_adaln",  # for both modalities, like the next entry
    "adaln_single": "time_embed",
    "patchify_proj": "proj_in",
    "q_norm": "norm_q",
    "k_norm": "norm_k",
}
_CONNECTORS = ("video_embeddings_connector.", "audio_embeddings_connector.")


def ltx_transformer(file: Path, folder: Path, dtype: torch.dtype) -> Any:
    """Load the transformer from an LTX-2.3 checkpoint; the file's other parts are ignored.

    Args:
        file: with Lightricks' names, in any layout of ``models.weights.layout``.
        folder: of the pipeline, which holds the transformer's configuration.
        dtype: of everything that is not stored in eight bits.

    Raises:
        WeightsUnavailable: the file is broken, of another model, or in an unsupported layout.
    """
    from diffusers import LTX2VideoTransformer3DModel
    from safetensors import safe_open

    layout = layout_of(read_header(file))
    config = json.loads((folder / "transformer/config.json").read_text())
    weights: dict[str, torch.Tensor] = {}
    with safe_open(file, framework="pt") as checkpoint:
        names = list(checkpoint.keys())
        prefix = _PREFIX if any(name.startswith(_PREFIX) for name in names) else ""
        for name in names:
            own = name.removeprefix(prefix)
            if name.startswith(prefix) and not own.startswith(_CONNECTORS):
                weights[_renamed(own)] = checkpoint.get_tensor(name)
    return fill(empty(LTX2VideoTransformer3DModel, "diffusers", config), weights, layout, dtype)


def _renamed(name: str) -> str:
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name
