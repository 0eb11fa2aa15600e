"""Rerankers that are language models and say yes or no: Qwen3-Reranker and its fine-tunes.

The model reads the instruction, the query and a document in the form in which it was trained, and
the score is the probability of "yes" against "no" as the next word. Of the last layer, which has a
row for each word, two rows are multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.embeddings.cross_encoder import CrossEncoder
from models.embeddings.inputs.texts import Read, Texts, Tokens
from models.embeddings.request import Cut
from models.errors import ModelLoadFailed
from models.row import Row

_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
# The form of Qwen3-Reranker's card (Apache-2.0).
_BEFORE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n<Instruct>: {instruction}\n<Query>: "
)
_BETWEEN = "\n<Document>: "
_AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


class Judge(CrossEncoder):
    """A causal language model; each pair of query and document is a part.

    Row options: ``max_tokens`` of a pair, ``instruction`` that stands before the query.
    """

    def __init__(self, classifier: Any, texts: Texts, row: Row) -> None:
        super().__init__(classifier, texts, row)
        self._pairs = Judged(texts, row.options.get("instruction", _INSTRUCTION))

    @classmethod
    def _classifier_of(cls, folder: Path, device: Device, dtype: Any) -> Any:
        from models.embeddings.encoder.library import LibraryJudge

        classifier = LibraryJudge.load(folder, device.kind, dtype)
        if classifier is None:
            raise ModelLoadFailed('The vocabulary has no single tokens for "yes" and "no".')
        return classifier


class Judged:
    """Lays a query and each document into the model's form; a cut shortens the document.

    Args:
        texts: the model's tokenizer and limit.
        instruction: what the model is to judge by.
    """

    def __init__(self, texts: Texts, instruction: str) -> None:
        self._texts = texts
        self._before, self._between, self._after = (
            self._ids(part) for part in (_BEFORE.format(instruction=instruction), _BETWEEN, _AFTER)
        )

    def read(self, query: str, documents: Sequence[str], *, truncate: bool = False) -> Read:
        """Tokenise the pairs; a document that is too long is cut if ``truncate`` is on.

        Raises:
            ContextLengthExceeded: the query leaves no room for a document, or a pair is too long
                and ``truncate`` is off.
        """
        texts = self._texts
        head = [*self._before, *self._ids(query), *self._between]
        room = texts.limit - len(head) - len(self._after)
        if room < 1:
            raise texts.too_long("query", len(head) + len(self._after))
        tokens, cut = [], []
        for index, document in enumerate(documents):
            ids = self._ids(document)
            if len(ids) > room:
                together = texts.limit - room + len(ids)
                if not truncate:
                    more = ", those of the query included"
                    raise texts.too_long(f"documents[{index}]", together, more)
                cut.append(Cut(index, together))
            tokens.append(Tokens([*head, *ids[:room], *self._after]))
        return Read(tuple(tokens), tuple(cut))

    def _ids(self, text: str) -> list[int]:
        return list(self._texts.tokenizer.encode(text, add_special_tokens=False).ids)
