"""Every other architecture: sentence-transformers' model, or transformers' classifier, padded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from models.embeddings.encoder.onednn import rewire
from models.embeddings.inputs.padding import pad
from models.embeddings.inputs.texts import Tokens, padding_id
from models.quiet import hush


class Library:
    """What the two have in common.

    Args:
        model: torch's module, called by the subclass.
        tokenizer: of the ``tokenizers`` package.
        longest: tokens that it reads.

    Attributes:
        weights_bytes: what the weights take.
    """

    packs = False
    rounds = False

    def __init__(self, model: Any, tokenizer: Any, longest: int) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.longest = longest
        self.weights_bytes = sum(one.nbytes for one in model.parameters())
        self._filler = padding_id(tokenizer)
        rewire(model)

    def _padded(self, parts: Sequence[Tokens]) -> list[torch.Tensor]:
        """Token ids, mask and types, of shape (texts, longest of them)."""
        return [torch.from_numpy(one).to(self.model.device) for one in pad(parts, self._filler)]


class LibraryEncoder(Library):
    """A sentence-transformers folder, whatever its modules."""

    def __init__(self, model: Any) -> None:
        super().__init__(model, model.tokenizer.backend_tokenizer, model.max_seq_length)
        self.width = model.get_embedding_dimension()

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype) -> LibraryEncoder:
        """Load the folder, as the library does."""
        from sentence_transformers import SentenceTransformer

        hush("transformers")
        where = {"device": device, "local_files_only": True, "model_kwargs": {"dtype": dtype}}
        return cls(SentenceTransformer(str(folder), **where))

    def run(self, parts: Sequence[Tokens]) -> tuple[torch.Tensor, torch.Tensor]:
        """Sentence embeddings, and the last hidden states of all texts' tokens in one row."""
        ids, mask, _ = self._padded(parts)
        out = self.model.forward({"input_ids": ids, "attention_mask": mask})
        return out["sentence_embedding"], out["token_embeddings"][mask.bool()]


class LibraryClassifier(Library):
    """A transformers folder with one score."""

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype) -> LibraryClassifier:
        """Load the folder, as the library does."""
        from tokenizers import Tokenizer
        from transformers import AutoModelForSequenceClassification

        hush("transformers")
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=dtype, local_files_only=True
        ).to(device)
        positions = getattr(model.config, "max_position_embeddings", 512)
        return cls(model, Tokenizer.from_file(str(folder / "tokenizer.json")), positions)

    def run(self, parts: Sequence[Tokens]) -> torch.Tensor:
        """Scores before the sigmoid, of shape (texts,)."""
        ids, mask, types = self._padded(parts)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if getattr(self.model.config, "type_vocab_size", 1) > 1:
            inputs["token_type_ids"] = types
        scores: torch.Tensor = self.model(**inputs).logits[:, 0]
        return scores
