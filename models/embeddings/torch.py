"""The torch backend, for folders of sentence-transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.embeddings.engine import Arrays, Embeddings
from models.embeddings.inputs.texts import Texts, Tokens
from models.embeddings.request import COLBERT, DENSE, SPARSE
from models.row import Row


class TorchEmbeddings(Embeddings):
    """A sentence-transformers folder, with BGE-M3's two heads if the folder has them.

    BERT and XLM-RoBERTa run in our own forward pass, without padding; others in the library's.
    """

    libraries = ("torch", "transformers", "tokenizers")

    def __init__(self, encoder: Any, heads: Mapping[str, Any], texts: Texts, row: Row) -> None:
        super().__init__(texts, row)
        self._encoder = encoder
        self._heads = heads
        self.packs, self.rounds = encoder.packs, encoder.rounds
        self.kinds = frozenset({DENSE, *heads})
        self.width = encoder.width

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> TorchEmbeddings:
        """Load the folder in the device's dtype, and measure the budget."""
        import torch

        dtype = getattr(torch, device.dtype)
        trusts_code = row.options.get("trust_remote_code", False)
        encoder = _encoder(folder, device.kind, dtype, trusts_code=trusts_code)
        limit = min(encoder.longest, row.options.get("max_tokens", encoder.longest))
        texts = Texts(encoder.tokenizer, limit, row)
        engine = cls(encoder, _heads(folder, device.kind, dtype), texts, row)
        # Code that a repository brings may keep state between two calls.
        engine.express = device.kind == "cpu" and not trusts_code
        engine.measure_budget(encoder.weights_bytes)
        return engine

    def forward(self, parts: Sequence[Tokens], kinds: frozenset[str]) -> Arrays:
        """Run the model once; see ``Embeddings``."""
        import torch
        from torch.nn.functional import normalize

        lengths = [len(part) for part in parts]
        with torch.inference_mode():
            dense, hidden = self._encoder.run(parts)
            answer = {DENSE: normalize(dense.float(), dim=-1).cpu().numpy()}
            if SPARSE in kinds:
                answer[SPARSE] = _by_text(self._heads[SPARSE](hidden)[:, 0].float(), lengths)
            if COLBERT in kinds:
                vectors = normalize(self._heads[COLBERT](hidden).float(), dim=-1).half()
                answer[COLBERT] = _by_text(vectors, lengths, first=1)
        return answer

    def close(self) -> None:
        """Drop the model and its heads."""
        self._encoder, self._heads = None, {}


def _encoder(folder: Path, device: str, dtype: Any, *, trusts_code: bool) -> Any:
    """Load our own BERT if it supports the folder: importing the library takes seconds."""
    from models.embeddings.encoder.heads import BertEncoder

    ours = BertEncoder.load(folder, device, dtype)
    if ours is not None:
        return ours
    from models.embeddings.encoder.library import LibraryEncoder

    return LibraryEncoder.load(folder, device, dtype, trusts_code=trusts_code)


def _by_text(row: Any, lengths: Sequence[int], first: int = 0) -> list[Any]:
    """Split a row of all texts' tokens by text, and drop the ``first`` tokens of each."""
    return [values[first:].numpy() for values in row.cpu().split(lengths)]


def _heads(folder: Path, device: str, dtype: Any) -> dict[str, Any]:
    """Load BGE-M3's linear layers over the last hidden states, from its repository's files."""
    import torch

    heads = {}
    for kind in (SPARSE, COLBERT):
        file = folder / f"{kind}_linear.pt"
        if file.is_file():
            state = torch.load(file, map_location=device, weights_only=True)
            width_out, width_in = state["weight"].shape
            head = torch.nn.Linear(width_in, width_out, device=device, dtype=dtype)
            head.load_state_dict(state)
            heads[kind] = head.eval()
    return heads
