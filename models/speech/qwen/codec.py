"""The decoder of Qwen3-TTS's tokenizer of sound: codes become samples as they come.

Its layers are those of Qwen3-Omni's in transformers, but that codes are read as residual vectors
and that sound is cut at its end alone. Every layer looks back only, so the sound of frames that
come in pieces is that of all at once: the transformer has its cache, and the convolutions see again
the few frames that they look back to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import DynamicCache
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import (
    Qwen3OmniMoeCode2WavConfig,
)
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeCausalConvNet,
    Qwen3OmniMoeCode2WavDecoderResidualUnit,
    Qwen3OmniMoeCode2WavTransformerModel,
    Qwen3OmniMoeConvNeXtBlock,
    Qwen3OmniMoeSnakeBeta,
)

_KERNEL, _DILATIONS = 7, (1, 3, 9)  # of the convolutions


@dataclass
class Sounded:
    """What the decoder keeps of the frames so far.

    Attributes:
        cache: the transformer's.
        latents: the frames before its first convolution, [1, channels, frames].
        states: the frames behind it, as many as the convolutions look back to.
    """

    cache: DynamicCache
    latents: torch.Tensor
    states: torch.Tensor


class Codebooks(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """Residual vectors: the sum of one of each table, projected."""

    def __init__(self, count: int, codes: int, width: int) -> None:
        super().__init__()
        self.tables = nn.ParameterList(torch.empty(codes, width // 2) for _ in range(count))
        self.output_proj = nn.Conv1d(width // 2, width, 1, bias=False)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """[frames, tables] to [1, width, frames]."""
        total = sum(
            functional.embedding(column, table)
            for column, table in zip(codes.unbind(1), self.tables, strict=True)
        )
        result: torch.Tensor = self.output_proj(total.T[None])
        return result


class Transformer(Qwen3OmniMoeCode2WavTransformerModel):  # type: ignore[misc]  # not read by mypy
    """A window of attention over the frames, between two projections."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        given = {key: config[key] for key in _TRANSFORMER if key in config}
        rotation = {"rope_type": "default", "rope_theta": float(config["rope_theta"])}
        super().__init__(Qwen3OmniMoeCode2WavConfig(**given, rope_parameters=rotation))
        self.input_proj = nn.Linear(config["latent_dim"], config["hidden_size"])
        self.output_proj = nn.Linear(config["hidden_size"], config["latent_dim"])

    def states(self, latents: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
        """[1, channels, frames] to the same; adds the frames to the cache."""
        given = self.input_proj(latents.transpose(1, 2))
        made = self(inputs_embeds=given, past_key_values=cache, use_cache=True).last_hidden_state
        result: torch.Tensor = self.output_proj(made).transpose(1, 2)
        return result


_TRANSFORMER = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps",
    "attention_bias", "sliding_window", "layer_scale_initial_scale",
)  # fmt: skip


class Upsampling(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """A transposed convolution that looks back only."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(channels_in, channels_out, kernel, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, channels, steps] to [1, channels, steps × stride]."""
        result: torch.Tensor = self.conv(x)[..., : x.shape[-1] * self.conv.stride[0]]
        return result


class Stage(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """Halves the channels and multiplies the steps."""

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        half = channels // 2
        units = [Qwen3OmniMoeCode2WavDecoderResidualUnit(half, dilation) for dilation in _DILATIONS]
        up = Upsampling(channels, half, 2 * factor, factor)
        self.block = nn.ModuleList([Qwen3OmniMoeSnakeBeta(channels), up, *units])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[1, channels, steps] to [1, channels / 2, steps × factor]."""
        for layer in self.block:
            x = layer(x)
        return x


class Codec(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """The decoder; ``hop``: samples of a frame."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        wide, latent = config["codebook_dim"], config["latent_dim"]
        codes, count = config["codebook_size"], config["num_quantizers"]
        early, late = config["upsampling_ratios"], config["upsample_rates"]
        self.hop = math.prod((*early, *late))
        self.looks_back = _frames_back(early, late)
        self.quantizer = nn.ModuleDict(
            {"rvq_first": Codebooks(1, codes, wide), "rvq_rest": Codebooks(count - 1, codes, wide)}
        )
        self.pre_conv = Qwen3OmniMoeCausalConvNet(wide, latent, kernel_size=3)
        self.pre_transformer = Transformer(config)
        self.upsample = nn.ModuleList(
            nn.ModuleList(
                [Upsampling(latent, latent, factor, factor), Qwen3OmniMoeConvNeXtBlock(latent)]
            )
            for factor in early
        )
        width = config["decoder_dim"]
        stages = [Stage(width // 2**index, factor) for index, factor in enumerate(late)]
        last = width // 2 ** len(late)
        self.decoder = nn.ModuleList(
            [Qwen3OmniMoeCausalConvNet(latent, width, _KERNEL), *stages,
             Qwen3OmniMoeSnakeBeta(last), Qwen3OmniMoeCausalConvNet(last, 1, _KERNEL)]
        )  # fmt: skip

    def begin(self) -> Sounded:
        """Return what is kept of no frames."""
        nothing = self.pre_conv.conv.weight.new_zeros
        shapes = (1, self.pre_conv.conv.in_channels, 0), (1, self.pre_conv.conv.out_channels, 0)
        return Sounded(DynamicCache(config=self.pre_transformer.config), *map(nothing, shapes))

    def forward(self, codes: torch.Tensor, before: Sounded) -> torch.Tensor:
        """Return the samples of new frames; ``before`` then holds these, too.

        Args:
            codes: [frames, groups].
            before: of the frames so far.
        """
        first, rest = self.quantizer["rvq_first"], self.quantizer["rvq_rest"]
        latents = torch.cat([before.latents, first(codes[:, :1]) + rest(codes[:, 1:])], 2)
        seen = before.latents.shape[2]
        fresh = self.pre_transformer.states(self.pre_conv(latents)[..., seen:], before.cache)
        states = torch.cat([before.states, fresh], 2)
        known = before.states.shape[2]
        before.latents = latents[..., -(self.pre_conv.kernel_size - 1) :]
        before.states = states[..., -self.looks_back :]
        return self._waves(states)[known * self.hop :]

    def _waves(self, x: torch.Tensor) -> torch.Tensor:
        """[1, channels, frames] to samples."""
        for up, block in self.upsample:
            x = block(up(x))
        for layer in self.decoder:
            x = layer(x)
        result: torch.Tensor = x.clamp(-1, 1).flatten()
        return result

    def turn_anew(self, device: str) -> None:
        """Compute the table of rotation, which no checkpoint has."""
        model = self.pre_transformer
        model.rotary_emb = type(model.rotary_emb)(config=model.config).to(device)


def _frames_back(early: list[int], late: list[int]) -> int:
    """How many frames a sample depends on before its own, behind the transformer."""
    steps, back = 1.0, 0.0  # steps of a frame
    for factor in early:
        steps *= factor
        back += (_KERNEL - 1) / steps
    back += (_KERNEL - 1) / steps
    for factor in late:
        back += 1 / steps
        steps *= factor
        back += (_KERNEL - 1) * sum(_DILATIONS) / steps
    return math.ceil(back + (_KERNEL - 1) / steps)
