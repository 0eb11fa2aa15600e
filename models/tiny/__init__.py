"""Tiny models with random weights and the production architectures.

They run on a laptop without a GPU, an account or the hub, through the same code that loads and runs
the real models. Their output has no meaning. A recipe is deterministic: with the same versions of
the libraries it writes the same files, byte for byte.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from models.quiet import hush

RECIPES = {
    "llama": "models.tiny.llama",
    "qwen-vl": "models.tiny.qwen_vl",
    "flux": "models.tiny.flux",
    "flux2-klein": "models.tiny.flux2_klein",
    "z-image": "models.tiny.z_image",
    "qwen-image": "models.tiny.qwen_image",
    "sdxl": "models.tiny.sdxl",
    "ltx2": "models.tiny.ltx2",
    "acestep": "models.tiny.acestep",
    "esrgan": "models.tiny.esrgan",
    "ben2": "models.tiny.ben2",
    "safety": "models.tiny.safety",
    "whisper": "models.tiny.whisper",
    "speakers": "models.tiny.speakers",
    "qwen-tts": "models.tiny.qwen_tts",
    "bge-m3": "models.tiny.bge_m3",
    "bge-reranker": "models.tiny.bge_reranker",
}
VERSION = 3  # raised when a recipe changes, so that cached builds are not reused
SEED = 20240229


def build(name: str, into: Path) -> None:
    """Build the tiny model ``name`` in the folder ``into``, in seconds.

    Raises:
        KeyError: there is no such recipe; see ``RECIPES``.
    """
    import torch

    hush("transformers")
    recipe = import_module(RECIPES[name])
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        recipe.build(into)
