"""A tiny SDXL in one file, with the tensor names of Stability AI's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
_UNET = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPENCLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def sdxl(folder: Path) -> Any:
    """Write a pipeline with encoders of different widths, as those of SDXL; return it."""
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModelWithProjection

    from models import tiny
    from models.tiny.flux import WIDTH, clip_config

    tiny.build("sdxl", folder)
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder)
    config = clip_config()
    config.hidden_size, config.projection_dim = 2 * WIDTH, 2 * WIDTH
    pipeline.text_encoder_2 = CLIPTextModelWithProjection(config).eval()
    unet = dict(pipeline.unet.config)
    unet |= {
        "cross_attention_dim": 3 * WIDTH,
        "projection_class_embeddings_input_dim": 2 * WIDTH + 6 * 8,
    }
    pipeline.unet = UNet2DConditionModel.from_config(unet).eval()
    pipeline.save_pretrained(folder)
    return StableDiffusionXLPipeline.from_pretrained(folder)


def checkpoint(pipeline: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a pipeline's tensors by the names that they have in one file."""
    made: dict[str, Any] = {}
    for part, named in (
        ("unet", _of_unet), ("vae", _of_vae), ("text_encoder", _of_clip),
        ("text_encoder_2", _of_openclip),
    ):  # fmt: skip
        if part not in without:
            made |= named(getattr(pipeline, part).state_dict())
    return {name: tensor.contiguous() for name, tensor in made.items()}


def save(tensors: dict[str, Any], file: Path) -> Path:
    from safetensors.torch import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return file


def _of_unet(state: dict[str, Any]) -> dict[str, Any]:
    return {f"model.diffusion_model.{_unet_name(name)}": tensor for name, tensor in state.items()}


def _unet_name(name: str) -> str:
    layers = 1  # of a block, as the tiny model has
    for ours, theirs in _UNET.items():
        if name.startswith(f"{ours}."):
            return _resnet(theirs + name.removeprefix(ours))
    side, block, kind, place, rest = re.match(
        r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name
    ).groups()  # type: ignore[union-attr]
    at = int(block) * (layers + 1) + int(place)
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{(int(block) + 1) * (layers + 1)}.0.{rest.replace('conv', 'op')}"
        return _resnet(f"input_blocks.{at + 1}.{int(kind == 'attentions')}.{rest}")
    if kind == "upsamplers":
        return f"output_blocks.{int(block) * (layers + 1) + layers}.2.{rest}"
    return _resnet(f"output_blocks.{at}.{int(kind == 'attentions')}.{rest}")


def _resnet(name: str) -> str:
    if "transformer_blocks" in name or ".attn" in name:
        return name
    for ours, theirs in _RESNET.items():
        name = re.sub(rf"\.{ours}\.", f".{theirs}.", name)
    return name


def _of_vae(state: dict[str, Any]) -> dict[str, Any]:
    made = {}
    for name, tensor in state.items():
        blocks = 4
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
        up = re.search(r"up_blocks\.(\d)", name)
        if up:
            name = name.replace(up[0], f"up.{blocks - 1 - int(up[1])}")
            name = name.replace("resnets", "block").replace("upsamplers.0", "upsample")
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda one: f"mid.block_{int(one[1]) + 1}", name)
        if "mid_block.attentions.0." in name:
            rest = name.partition("mid_block.attentions.0.")[2]
            word, _, end = rest.rpartition(".")
            name = name.replace(
                f"mid_block.attentions.0.{rest}", f"mid.attn_1.{_ATTENTION[word]}.{end}"
            )
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        made[f"first_stage_model.{name}"] = tensor
    return made


def _of_clip(state: dict[str, Any]) -> dict[str, Any]:
    prefix = "conditioner.embedders.0.transformer.text_model."
    return {prefix + name.removeprefix("text_model."): tensor for name, tensor in state.items()}


def _of_openclip(state: dict[str, Any]) -> dict[str, Any]:
    import torch

    prefix, made = "conditioner.embedders.1.model.", {}
    for name, tensor in state.items():
        name = name.removeprefix("text_model.")
        if name == "text_projection.weight":
            made["text_projection"] = tensor.T
        elif name.startswith("embeddings.token"):
            made["token_embedding.weight"] = tensor
        elif name.startswith("embeddings.position_embedding"):
            made["positional_embedding"] = tensor
        elif name.startswith("final_layer_norm"):
            made[name.replace("final_layer_norm", "ln_final")] = tensor
        elif layer := re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
            place, word, end = layer.groups()
            block = f"transformer.resblocks.{place}"
            if word in _OPENCLIP:
                made[f"{block}.{_OPENCLIP[word]}.{end}"] = tensor
            elif word == "self_attn.q_proj":
                all_of_it = [state[key] for key in _qkv(state, place, end)]
                made[f"{block}.attn.in_proj_{end}"] = torch.cat(all_of_it)
    return {f"{prefix}{name}": tensor for name, tensor in made.items()}


def _qkv(state: dict[str, Any], place: str, end: str) -> list[str]:
    stem = "text_model." if any(name.startswith("text_model.") for name in state) else ""
    layer = f"{stem}encoder.layers.{place}.self_attn"
    return [f"{layer}.{letter}_proj.{end}" for letter in "qkv"]
