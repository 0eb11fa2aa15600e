"""ZImagePipeline in int8: a Qwen3 encoder, its transformer, a 16-channel VAE.

The weights are stored in SDNQ's format, and the layers that SDNQ does not quantise stay as floats.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.tiny.flux import vae
from models.tiny.flux2_klein import qwen

_PLAIN = ("embed", "norm", "all_final_layer", "t_embedder", "cap_embedder", "x_embedder")
_STORED = {"quant_method": "sdnq", "weights_dtype": "int8", "group_size": 0}


def build(into: Path) -> None:
    """Write the pipeline's folder."""
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        ZImagePipeline,
        ZImageTransformer2DModel,
    )

    encoder = qwen()
    pipeline = ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(),
        text_encoder=encoder["text_encoder"].model,
        tokenizer=encoder["tokenizer"],
        transformer=ZImageTransformer2DModel(
            dim=64,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=16,
            axes_dims=[8, 12, 12],
            axes_lens=[1024, 512, 512],
        ),
    )
    pipeline.save_pretrained(into)
    for part in ("transformer", "text_encoder"):
        _quantise(into / part)


def _quantise(folder: Path) -> None:
    """Round the weights of linear layers, in place, to 127 steps of each row's maximum."""
    from safetensors.torch import load_file, save_file

    [file] = folder.glob("*.safetensors")
    weights: dict[str, Any] = load_file(file)
    for name in [key for key in weights if _is_rounded(key, weights[key])]:
        weight = weights[name]
        scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
        weights[name] = (weight / scale).round().char()
        weights[f"{name.removesuffix('.weight')}.scale"] = scale
    save_file(weights, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    text = json.dumps({**config, "quantization_config": _STORED}, indent=2)
    (folder / "config.json").write_text(text)


def _is_rounded(name: str, weight: Any) -> bool:
    linear = name.endswith(".weight") and weight.ndim == 2
    return linear and not any(part in name for part in _PLAIN)
