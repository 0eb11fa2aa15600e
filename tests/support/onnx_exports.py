"""Tiny ONNX graphs in the forms in which BGE-M3 and its like are published."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

# By form: the outputs' names, and what each is of the hidden states.
FORMS: dict[str, tuple[Sequence[str], Callable[..., tuple[Any, ...]]]] = {}
Maker = Callable[..., tuple[Any, ...]]
VOCABULARY = 100


def form(*names: str) -> Callable[[Maker], Maker]:
    def note(make: Maker) -> Maker:
        FORMS[make.__name__] = (names, make)
        return make

    return note


def unit(vectors: Any) -> Any:
    return torch.nn.functional.normalize(vectors, dim=-1)


@form("dense_vecs", "sparse_vecs", "colbert_vecs")
def normalised(hidden: Any, mask: Any, sparse: Any, colbert: Any, ids: Any) -> tuple[Any, ...]:
    """As FlagEmbedding's own outputs: all positions but the first in ColBERT's, masked."""
    vectors = colbert(hidden[:, 1:]) * mask[:, 1:, None]
    return unit(hidden[:, 0]), torch.relu(sparse(hidden)), unit(vectors)


@form("dense", "sparse", "colbert")
def raw(hidden: Any, mask: Any, sparse: Any, colbert: Any, ids: Any) -> tuple[Any, ...]:
    """Nothing is normalised, weights are flat, and ColBERT's has the first position."""
    return hidden[:, 0], sparse(hidden)[..., 0], colbert(hidden)


@form("last_hidden_state")
def hidden_only(hidden: Any, mask: Any, sparse: Any, colbert: Any, ids: Any) -> tuple[Any, ...]:
    return (hidden,)


@form("token_embeddings", "sentence_embedding")
def sentence(hidden: Any, mask: Any, sparse: Any, colbert: Any, ids: Any) -> tuple[Any, ...]:
    """As sentence-transformers and optimum export."""
    return hidden, unit(hidden[:, 0])


@form("last_hidden_state", "pooler_output")
def pooler(hidden: Any, mask: Any, sparse: Any, colbert: Any, ids: Any) -> tuple[Any, ...]:
    """As transformers' own exports: BERT's training head beside the hidden states."""
    return hidden, torch.tanh(hidden[:, 0] * 3)


@form("sentence_embedding", "sparse_weights")
def vocabulary(hidden: Any, mask: Any, sparse: Any, colbert: Any, ids: Any) -> tuple[Any, ...]:
    """Raw, and a weight for every token of the vocabulary in place of one for every position."""
    weights = torch.relu(sparse(hidden)) * mask[..., None]
    places = ids[..., None] == torch.arange(VOCABULARY)  # (texts, length, vocabulary)
    return hidden[:, 0] * 2, (weights * places).amax(dim=1)


class _Graph(torch.nn.Module):
    def __init__(self, source: Path, make: Maker) -> None:
        from transformers import XLMRobertaModel

        super().__init__()
        self.body = XLMRobertaModel.from_pretrained(source, attn_implementation="eager").eval()
        width = self.body.config.hidden_size
        self.sparse, self.colbert = torch.nn.Linear(width, 1), torch.nn.Linear(width, width)
        for name, head in (("sparse", self.sparse), ("colbert", self.colbert)):
            head.load_state_dict(torch.load(source / f"{name}_linear.pt", weights_only=True))
        self.make = make

    def forward(self, input_ids: Any, attention_mask: Any) -> tuple[Any, ...]:
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.make(hidden, attention_mask, self.sparse, self.colbert, input_ids)


def export(source: Path, into: Path, which: str, *, int8: bool = False) -> None:
    """Write ``model.onnx`` and the tokenizer of a tiny BGE-M3 as the form ``which``."""
    names, make = FORMS[which]
    ids = torch.tensor([[0, 5, 6, 7, 2], [0, 5, 2, 1, 1]])
    mask = (ids != 1).long()
    axes = {name: {0: "batch", 1: "length"} for name in ("input_ids", "attention_mask")}
    into.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(
            _Graph(source, make), (ids, mask), str(into / "model.onnx"),
            input_names=list(axes), output_names=list(names),
            dynamic_axes={**axes, **{name: {0: "batch", 1: "n"} for name in names}},
            dynamo=False,
        )  # fmt: skip
    if int8:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(into / "model.onnx", into / "model.onnx", weight_type=QuantType.QInt8)
    (into / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
