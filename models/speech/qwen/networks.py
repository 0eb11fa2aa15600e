"""The talker of Qwen3-TTS, of transformers' Qwen3: a frame of codes at a time.

A large language model chooses a frame's first code, and a small one the others, each given those
before it. Positions are the same in all three dimensions of the model's rotation, which is then
Qwen3's own. Parameters are named as in published checkpoints but for ``weights.RENAMED``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, Qwen3Config, Qwen3Model
from transformers.activations import ACT2FN
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

Draw = Callable[[torch.Tensor], torch.Tensor]  # from scores [rows, codes] to a code for each row
_SHARED = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "hidden_act", "max_position_embeddings", "rms_norm_eps",
    "attention_bias",
)  # fmt: skip


class Projection(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """From the width of texts to the talker's."""

    def __init__(self, width_in: int, width_out: int, activation: str) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(width_in, width_in)
        self.linear_fc2 = nn.Linear(width_in, width_out)
        self.activation = ACT2FN[activation]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[…, width in] to […, width out]."""
        result: torch.Tensor = self.linear_fc2(self.activation(self.linear_fc1(x)))
        return result


class CodePredictor(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """Chooses a frame's codes but for the first."""

    def __init__(self, config: Mapping[str, Any], talker_width: int) -> None:
        super().__init__()
        count, width = config["num_code_groups"] - 1, config["hidden_size"]
        codes = config["vocab_size"]
        self.model = body(config)
        del self.model.embed_tokens
        embeddings = (nn.Embedding(codes, talker_width) for _ in range(count))
        self.codec_embedding = nn.ModuleList(embeddings)
        self.lm_head = nn.ModuleList(nn.Linear(width, codes, bias=False) for _ in range(count))
        self.small_to_mtp_projection = (
            nn.Identity() if width == talker_width else nn.Linear(talker_width, width)
        )

    def forward(
        self, hidden: torch.Tensor, first: torch.Tensor, draw: Draw
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Choose the codes.

        Args:
            hidden: the talker's last state, [rows, 1, width].
            first: the embedded first code, [rows, 1, width].
            draw: chooses one code of each row.

        Returns:
            The codes, [rows, groups - 1], and the sum of their embeddings, [rows, 1, width].
        """
        cache = DynamicCache(config=self.model.config)
        given, total, codes = torch.cat([hidden, first], 1), torch.zeros_like(first), []
        for embedding, head in zip(self.codec_embedding, self.lm_head, strict=True):
            states = last_states(self.model, self.small_to_mtp_projection(given), cache)
            codes.append(draw(head(states[:, -1]).float()))
            given = embedding(codes[-1])[:, None]
            total = total + given
        return torch.stack(codes, 1), total


class Talker(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """Both language models, the embeddings of texts and codes, and the head of first codes."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, text_width = config["hidden_size"], config["text_hidden_size"]
        self.model = body(config)
        self.text_embedding = nn.Embedding(config["text_vocab_size"], text_width)
        self.text_projection = Projection(text_width, width, config["hidden_act"])
        self.codec_head = nn.Linear(width, config["vocab_size"], bias=False)
        self.code_predictor = CodePredictor(config["code_predictor_config"], width)

    def texts(self, tokens: list[int]) -> torch.Tensor:
        """Embed tokens of text, [1, tokens, width]."""
        projected: torch.Tensor = self.text_projection(self.text_embedding(self._ids(tokens)))
        return projected

    def codes(self, tokens: list[int]) -> torch.Tensor:
        """Embed first codes and the marks among them, [1, tokens, width]."""
        embedded: torch.Tensor = self.model.embed_tokens(self._ids(tokens))
        return embedded

    def turn_anew(self, device: str) -> None:
        """Compute the tables of rotation, which no checkpoint has."""
        for model in (self.model, self.code_predictor.model):
            model.rotary_emb = Qwen3RotaryEmbedding(model.config).to(device)

    def _ids(self, tokens: list[int]) -> torch.Tensor:
        return torch.tensor([tokens], device=self.codec_head.weight.device)


def last_states(
    model: Qwen3Model,
    embeds: torch.Tensor,
    cache: DynamicCache,
    positions: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Run steps of a language model; returns their last states, [rows, steps, width].

    Args:
        model: whose layers attend to all steps before.
        embeds: of the steps, [rows, steps, width].
        cache: of the steps before.
        positions: of the steps, [rows, steps]; None = behind those of the cache.
        mask: which steps each row has, the cache's and these, [rows, 1, 1, all steps] of bool;
            None = all. Given ready, as making one takes as long as a layer.
    """
    states: torch.Tensor = model(
        inputs_embeds=embeds,
        attention_mask={"full_attention": mask},
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return states


def body(config: Mapping[str, Any]) -> Qwen3Model:
    """Make the layers of a language model from a checkpoint's configuration."""
    shape = {name: config[name] for name in _SHARED if name in config}
    rotation = {"rope_type": "default", "rope_theta": float(config["rope_theta"])}
    return Qwen3Model(Qwen3Config(**shape, rope_parameters=rotation, attn_implementation="sdpa"))
