"""Every other architecture, by sentence-transformers or transformers, with padding."""

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
    """What encoder and classifier share.

    Args:
        model: torch's module, called by the subclass.
        tokenizer: of the ``tokenizers`` package.
        longest: limit of tokens in a text.

    Attributes:
        weights_bytes: size of the weights.
    """

    packs = False
    rounds = False

    def __init__(self, model: Any, tokenizer: Any, longest: int) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.longest = longest
        self.weights_bytes = sum(weight.nbytes for weight in model.parameters())
        self._filler = padding_id(tokenizer)
        rewire(model)

    def _padded(self, parts: Sequence[Tokens]) -> list[torch.Tensor]:
        """Return token ids, mask and types, each of shape (texts, longest)."""
        arrays = pad(parts, self._filler)
        return [torch.from_numpy(array).to(self.model.device) for array in arrays]


class LibraryEncoder(Library):
    """A sentence-transformers folder with any modules."""

    def __init__(self, model: Any) -> None:
        backend, longest = model.tokenizer.backend_tokenizer, model.max_seq_length
        super().__init__(model, backend, longest or model.tokenizer.model_max_length)
        self.width = model.get_embedding_dimension()

    @classmethod
    def load(
        cls, folder: Path, device: str, dtype: torch.dtype, *, trusts_code: bool = False
    ) -> LibraryEncoder:
        """Load the folder by the library; its own code is run only if it is trusted."""
        from sentence_transformers import SentenceTransformer

        hush("transformers")
        where = {"device": device, "local_files_only": True, "trust_remote_code": trusts_code}
        return cls(SentenceTransformer(str(folder), **where, model_kwargs={"dtype": dtype}))

    def run(self, parts: Sequence[Tokens]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return sentence embeddings, and the last hidden states of all tokens in one row."""
        ids, mask, _ = self._padded(parts)
        out = self.model.forward({"input_ids": ids, "attention_mask": mask})
        return out["sentence_embedding"], out["token_embeddings"][mask.bool()]


class LibraryClassifier(Library):
    """A transformers classifier with one score."""

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype) -> LibraryClassifier:
        """Load the folder by the library."""
        from tokenizers import Tokenizer
        from transformers import AutoModelForSequenceClassification

        hush("transformers")
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=dtype, local_files_only=True
        ).to(device)
        positions = getattr(model.config, "max_position_embeddings", 512)
        return cls(model, Tokenizer.from_file(str(folder / "tokenizer.json")), positions)

    def run(self, parts: Sequence[Tokens]) -> torch.Tensor:
        """Return scores before the sigmoid, shape (texts,)."""
        ids, mask, types = self._padded(parts)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if getattr(self.model.config, "type_vocab_size", 1) > 1:
            inputs["token_type_ids"] = types
        scores: torch.Tensor = self.model(**inputs).logits[:, 0]
        return scores


class LibraryJudge(Library):
    """A causal language model of transformers, whose score is that of "yes" above that of "no"."""

    def __init__(self, model: Any, tokenizer: Any, words: tuple[int, int]) -> None:
        # Read before the layers are replaced.
        yes, no = (model.get_output_embeddings().weight[word].float() for word in words)
        self._difference = (yes - no).detach()
        super().__init__(model, tokenizer, int(model.config.max_position_embeddings))

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype) -> LibraryJudge | None:
        """Load the folder; None if "yes" or "no" is no single token of its vocabulary."""
        from tokenizers import Tokenizer
        from transformers import AutoModelForCausalLM

        hush("transformers")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        yes, no = (tokenizer.token_to_id(word) for word in ("yes", "no"))
        if yes is None or no is None:
            return None
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
        return cls(model.to(device), tokenizer, (yes, no))

    def run(self, parts: Sequence[Tokens]) -> torch.Tensor:
        """Return scores before the sigmoid, shape (texts,)."""
        ids, mask, _ = self._padded(parts)
        hidden = self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        last = torch.tensor([len(part) - 1 for part in parts], device=hidden.device)
        ends = hidden[torch.arange(len(parts), device=hidden.device), last]
        return ends.float() @ self._difference
