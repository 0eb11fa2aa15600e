"""The onnxruntime backend: published graphs, interpreted by the names and shapes of their outputs.

Exports differ. Inputs are ``input_ids`` and ``attention_mask``; some also need ``token_type_ids``
or ``position_ids``. Outputs are distinguished by the prefix of their name, and by their rank:

    dense vectors     dense, dense_vecs, sentence_embedding, …   (texts, width)
    hidden states     last_hidden_state, token_embeddings        (texts, length, width), pooled here
    lexical weights   sparse, sparse_vecs, …    (texts, length[, 1]) or (texts, vocabulary)
    ColBERT vectors   colbert, colbert_vecs, …  (texts, length, width), or without the first token

All may be raw or normalised, and are normalised here. A run of two texts at load checks the shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.device.graph import session
from models.device.hardware import Device
from models.embeddings.engine import Arrays, Embeddings
from models.embeddings.inputs.padding import pad, unpad
from models.embeddings.inputs.texts import Texts, Tokens
from models.embeddings.request import COLBERT, DENSE, SPARSE
from models.errors import ModelLoadFailed
from models.row import Row

_HIDDEN = "hidden"
_NAMES = {
    DENSE: ("dense", "sentence_embedding", "text_embedding", "embedding"),
    SPARSE: ("sparse", "lexical"),
    COLBERT: ("colbert", "multi"),
    _HIDDEN: ("last_hidden_state", "token_embeddings", "hidden"),
}
_POOLER = "pooler_output"  # with hidden states, it is BERT's training head and no embedding
_PROBE = (3, 5)  # tokens of the two texts that are run at load


class OnnxEmbeddings(Embeddings):
    """A graph of onnxruntime, with a tokenizer in the same folder.

    Row options besides those of ``Embeddings``: ``file`` (the graph), ``pooling`` (``cls`` or
    ``mean``, for graphs that return hidden states).
    """

    libraries = ("onnxruntime", "tokenizers")
    express = True

    def __init__(self, session: Any, texts: Texts, row: Row) -> None:
        super().__init__(texts, row)
        self._session = session
        self._inputs = {node.name: _integer(node.type) for node in session.get_inputs()}
        self._roles = _roles(session, row)
        self.kinds = frozenset({DENSE, *(set(self._roles) & {SPARSE, COLBERT})})
        self.width = self._probe()

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> OnnxEmbeddings:
        """Load the folder's graph and measure the budget; on the CPU, see docs/decisions.md."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        engine = cls(
            session(folder / row.options["file"]),
            Texts(tokenizer, row.options["max_tokens"], row),
            row,
        )
        engine.measure_budget()
        return engine

    def forward(self, parts: Sequence[Tokens], kinds: frozenset[str]) -> Arrays:
        """Run the graph once; see ``Embeddings``."""
        import numpy as np

        ids, mask, _ = pad(parts, self.texts.pad)
        roles = [role for role in self._roles if role in kinds or role in (DENSE, _HIDDEN)]
        outputs = self._run(ids, mask, roles)
        dense = outputs[DENSE] if DENSE in outputs else self._pool(outputs[_HIDDEN], mask)
        lengths = [len(part) for part in parts]
        answer = {DENSE: _unit(dense.astype(np.float32))}
        if SPARSE in outputs:
            answer[SPARSE] = unpad(_per_token(outputs[SPARSE].astype(np.float32), ids), lengths)
        if COLBERT in outputs:
            first = outputs[COLBERT].shape[1] - (ids.shape[1] - 1)  # 1 if it has the first token
            vectors = outputs[COLBERT][:, first:]
            vectors = _unit(vectors.astype(np.float32)).astype(np.float16)
            answer[COLBERT] = unpad(vectors, [length - 1 for length in lengths])
        return answer

    def close(self) -> None:
        """Drop the session."""
        self._session = None

    def _run(self, ids: Any, mask: Any, roles: list[str]) -> dict[str, Any]:
        import numpy as np

        inputs = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            inputs["token_type_ids"] = np.zeros_like(ids)
        if "position_ids" in self._inputs:
            inputs["position_ids"] = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        feeds = {
            name: inputs[name].astype(dtype, copy=False) for name, dtype in self._inputs.items()
        }
        names = [self._roles[role] for role in roles]
        return dict(zip(roles, self._session.run(names, feeds), strict=True))

    def _pool(self, hidden: Any, mask: Any) -> Any:
        """Pool hidden states to a vector for each text: the first, or the mean without padding."""
        if self.row.options.get("pooling", "cls") == "cls":
            return hidden[:, 0]
        weights = mask[..., None].astype(hidden.dtype)
        return (hidden * weights).sum(axis=1) / weights.sum(axis=1)

    def _probe(self) -> int:
        """Check the shape of each output, and return the width of the vectors.

        Raises:
            ModelLoadFailed: a shape is not supported.
        """
        ids, mask, _ = pad([Tokens([self.texts.pad + 5] * n) for n in _PROBE], self.texts.pad)
        out = self._run(ids, mask, list(self._roles))
        length = ids.shape[1]
        ranks = {DENSE: (2,), SPARSE: (2, 3), COLBERT: (3,), _HIDDEN: (3,)}
        for role, value in out.items():
            fits = value.ndim in ranks[role] and value.shape[0] == len(ids)
            if role == COLBERT:
                fits = fits and value.shape[1] in (length, length - 1)
            if not fits:
                raise ModelLoadFailed(
                    f"{self.row.slug}: the graph's output {self._roles[role]} has a shape that is "
                    f"not understood: {value.shape} for {len(ids)} texts of {length} tokens."
                )
        return int(out[DENSE if DENSE in out else _HIDDEN].shape[-1])


def _roles(session: Any, row: Row) -> dict[str, str]:
    """Return the names of the graph's outputs by role; the first output of a role counts.

    Raises:
        ModelLoadFailed: inputs or outputs are not supported.
    """
    known = {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
    inputs = {node.name for node in session.get_inputs()}
    roles: dict[str, str] = {}
    for output in session.get_outputs():
        for role, beginnings in _NAMES.items():
            if output.name.lower().startswith(beginnings):
                roles.setdefault(role, output.name)
                break
    if DENSE in roles:
        roles.pop(_HIDDEN, None)
    elif _HIDDEN not in roles and _POOLER in {node.name for node in session.get_outputs()}:
        roles[DENSE] = _POOLER
    if inputs - known or not roles.keys() & {DENSE, _HIDDEN}:
        raise ModelLoadFailed(
            f"{row.slug}: the graph is not understood. Its inputs are {', '.join(sorted(inputs))}, "
            f"its outputs {', '.join(node.name for node in session.get_outputs())}."
        )
    return roles


def _integer(onnx_type: str) -> str:
    """Return ``int64`` for ``tensor(int64)``."""
    return onnx_type.removeprefix("tensor(").removesuffix(")")


def _unit(vectors: Any) -> Any:
    import numpy as np

    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _per_token(weights: Any, ids: Any) -> Any:
    """Return lexical weights of shape (texts, length), also from shape (texts, vocabulary)."""
    import numpy as np

    if weights.ndim == 3:
        return weights[..., 0]
    if weights.shape == ids.shape:
        return weights
    return np.take_along_axis(weights, ids, axis=1)
