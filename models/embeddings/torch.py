"""The torch backend: a sentence-transformers model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.embeddings.engine import Arrays, Embeddings
from models.embeddings.inputs.padding import pad
from models.embeddings.inputs.texts import Texts, Tokens
from models.embeddings.request import COLBERT, DENSE, SPARSE
from models.quiet import hush
from models.row import Row


class TorchEmbeddings(Embeddings):
    """A sentence-transformers folder; with BGE-M3's two heads where they lie beside it.

    Texts are packed on a CPU, where the architecture allows it, and padded elsewhere.
    """

    def __init__(
        self, model: Any, packing: Any, heads: Mapping[str, Any], texts: Texts, row: Row
    ) -> None:
        super().__init__(texts, row)
        self._model = model
        self._packing = packing
        self.packs = packing is not None
        self._heads = heads
        self.kinds = frozenset({DENSE, *heads})
        self.width = model.get_embedding_dimension()

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> TorchEmbeddings:
        """Load the folder, in the device's own precision, and measure the budget."""
        import torch
        from sentence_transformers import SentenceTransformer

        from models.embeddings.cpu.onednn import rewire

        hush("transformers")
        dtype = getattr(torch, device.dtype)
        model = SentenceTransformer(
            str(folder), device=device.kind, local_files_only=True, model_kwargs={"dtype": dtype}
        ).eval()
        weights_bytes = sum(one.nbytes for one in model.parameters())
        limit = min(model.max_seq_length, row.options.get("max_tokens", model.max_seq_length))
        texts = Texts(model.tokenizer.backend_tokenizer, limit, row)
        packing = _packing(model, texts.pad)
        rewire(model)  # once the layers are those that will run
        engine = cls(model, packing, _heads(folder, device.kind, dtype), texts, row)
        engine.measure_budget(weights_bytes)
        return engine

    def forward(self, parts: Sequence[Tokens], kinds: frozenset[str]) -> Arrays:
        """Run the model once; see ``Embeddings``."""
        import torch
        from torch.nn.functional import normalize

        lengths = [len(part) for part in parts]
        with torch.inference_mode():
            dense, hidden = self._packing.run(parts) if self._packing else self._padded(parts)
            answer = {DENSE: normalize(dense.float(), dim=-1).cpu().numpy()}
            if SPARSE in kinds:
                answer[SPARSE] = _by_text(self._heads[SPARSE](hidden)[:, 0].float(), lengths)
            if COLBERT in kinds:
                vectors = normalize(self._heads[COLBERT](hidden).float(), dim=-1).half()
                answer[COLBERT] = _by_text(vectors, lengths, first=1)
        return answer

    def close(self) -> None:
        """Drop the model and its heads."""
        self._model, self._heads, self._packing = None, {}, None

    def _padded(self, parts: Sequence[Tokens]) -> tuple[Any, Any]:
        """Sentence embeddings, and the last hidden states of all texts' tokens in one row."""
        import torch

        device = self._model.device
        ids, mask, _ = (torch.from_numpy(one).to(device) for one in pad(parts, self.texts.pad))
        out = self._model.forward({"input_ids": ids, "attention_mask": mask})
        return out["sentence_embedding"], out["token_embeddings"][mask.bool()]


def _packing(model: Any, filler: int) -> Any:
    """How to run the model on packed texts; None where they are padded."""
    if model.device.type != "cpu":
        return None
    from models.embeddings.cpu.packing import Packing

    return Packing(model, filler) if Packing.suits(model) else None


def _by_text(row: Any, lengths: Sequence[int], first: int = 0) -> list[Any]:
    """What is each text's of a row of all tokens, without that of its first ones."""
    return [one[first:].numpy() for one in row.cpu().split(lengths)]


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
