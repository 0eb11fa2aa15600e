"""What a description depends on besides the repository: this machine, and the operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.repository.weights import DTYPE_BYTES


@dataclass(frozen=True)
class Machine:
    """Where the model will run.

    Attributes:
        kind: ``cuda`` or ``cpu``.
        dtype: that weights of chat and embeddings are loaded in.
        chat_engine: that serves chat.
        trusts_code: whether the operator allows code of repositories (TRUST_REMOTE_CODE).
        chat_template: the operator's, as text (CHAT_TEMPLATE).
        context_tokens: the operator's (CHAT_CONTEXT_TOKENS).
        base: the address of a pipeline with the parts that a single file lacks (MODEL_BASE).
    """

    kind: str = "cpu"
    dtype: str = "float32"
    chat_engine: Literal["vllm", "transformers"] = "transformers"
    trusts_code: bool = False
    chat_template: str | None = None
    context_tokens: int | None = None
    base: str | None = None

    @property
    def dtype_bytes(self) -> int:
        """Bytes of a number."""
        return DTYPE_BYTES[self.dtype]
