"""StableDiffusionSafetyChecker: CLIP's vision tower, and concept embeddings."""

from __future__ import annotations

from pathlib import Path


def build(into: Path) -> None:
    """Write the checker's folder; with its concept weights of 1.0 it flags no picture."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPVisionConfig

    width = 32
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=64,
        patch_size=16,
        projection_dim=width,
    )
    config = CLIPConfig(vision_config=vision.to_dict(), projection_dim=width)
    checker = StableDiffusionSafetyChecker(config)
    with torch.no_grad():
        for name in ("concept_embeds", "special_care_embeds"):
            getattr(checker, name).normal_()
            getattr(checker, f"{name}_weights").fill_(1.0)
    checker.save_pretrained(into)
