"""The torch backend: a sentence-transformers model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.embeddings.engine import Embeddings
from models.embeddings.padding import pad
from models.embeddings.request import COLBERT, DENSE, SPARSE
from models.embeddings.texts import Texts, Tokens
from models.hardware import Device
from models.quiet import hush
from models.row import Row


class TorchEmbeddings(Embeddings):
    """A sentence-transformers folder; with BGE-M3's two heads where they lie beside it.

    Texts are packed on a CPU, where the architecture allows it, and padded elsewhere.
    """

    def __init__(self, model: Any, heads: Mapping[str, Any], texts: Texts, row: Row) -> None:
        from models.embeddings.packing import Packing

        super().__init__(texts, row)
        self._model = model
        self._packing = Packing(model, texts.pad) if Packing.suits(model) else None
        self.packs = self._packing is not None
        self._heads = heads
        self.kinds = frozenset({DENSE, *heads})
        self.width = model.get_embedding_dimension()

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> TorchEmbeddings:
        """Load the folder, in the device's own precision, and measure the budget."""
        import torch
        from sentence_transformers import SentenceTransformer

        from models.embeddings.onednn import rewire

        hush("transformers")
        dtype = getattr(torch, device.dtype)
        model = SentenceTransformer(
            str(folder), device=device.kind, local_files_only=True, model_kwargs={"dtype": dtype}
        ).eval()
        rewire(model)
        limit = min(model.max_seq_length, row.options.get("max_tokens", model.max_seq_length))
        texts = Texts(model.tokenizer.backend_tokenizer, limit, row)
        engine = cls(model, _heads(folder, device.kind, dtype), texts, row)
        engine.measure_budget(sum(one.nbytes for one in model.parameters()))
        return engine

    def forward(self, parts: Sequence[Tokens], kinds: frozenset[str]) -> Mapping[str, Any]:
        """Run the model once; see ``Embeddings``."""
        import torch
        from torch.nn.functional import normalize

        transformer, *pooling = self._model
        ids, mask, _ = (torch.from_numpy(one) for one in pad(parts, self.texts.pad))
        device = self._model.device
        with torch.inference_mode():
            out = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
            if self._packing:
                out["token_embeddings"] = self._packing.hidden(parts)
            else:
                out = transformer(out)
            for module in pooling:
                out = module(out)
            answer = {DENSE: normalize(out["sentence_embedding"].float(), dim=-1)}
            hidden = out["token_embeddings"]
            if SPARSE in kinds:
                answer[SPARSE] = self._heads[SPARSE](hidden)[..., 0].float()
            if COLBERT in kinds:
                vectors = self._heads[COLBERT](hidden[:, 1:]).float()
                answer[COLBERT] = normalize(vectors, dim=-1).half()
            return {kind: vectors.cpu().numpy() for kind, vectors in answer.items()}

    def close(self) -> None:
        """Drop the model and its heads."""
        self._model, self._heads, self._packing = None, {}, None


def _heads(folder: Path, device: str, dtype: Any) -> dict[str, Any]:
    """BGE-M3's linear layers over the last hidden states, as its repository has them."""
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
