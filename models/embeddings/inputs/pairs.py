"""Pairs of a query and a document, for models that read both together."""

from __future__ import annotations

from collections.abc import Sequence

from models.embeddings.inputs.texts import Read, Texts, Tokens
from models.embeddings.request import Cut


class Pairs:
    """Joins pairs as the model's tokenizer does, but tokenises the query only once.

    Args:
        texts: the model's tokenizer and limit.
    """

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        pair = texts.tokenizer.encode("a", "b")
        belongs = pair.sequence_ids
        first, second = belongs.index(0), belongs.index(1)
        after_first = len(belongs) - belongs[::-1].index(0)
        after_second = len(belongs) - belongs[::-1].index(1)
        self._ids = (pair.ids[:first], pair.ids[after_first:second], pair.ids[after_second:])
        self._types = (
            pair.type_ids[:first],
            pair.type_ids[first],
            pair.type_ids[after_first:second],
            pair.type_ids[second],
            pair.type_ids[after_second:],
        )

    def read(self, query: str, documents: Sequence[str], *, truncate: bool = False) -> Read:
        """Tokenise the pairs of a query with each document; a cut shortens the document.

        Raises:
            ContextLengthExceeded: the query leaves no room for a document, or a pair is too long
                and ``truncate`` is off.
        """
        texts = self._texts
        [counted] = texts.counter.count([query], texts.limit)
        taken = counted.count + sum(map(len, self._ids))
        room = texts.limit - taken
        if room < 1:
            raise texts.too_long("query", taken, exactly=counted.whole)
        tokens, cut = [], []
        for index, document in enumerate(texts.counter.count(documents, room)):
            if document.count > room:
                together = taken + document.count
                if not truncate:
                    raise texts.too_long(
                        f"documents[{index}]",
                        together,
                        ", those of the query included",
                        exactly=document.whole,
                    )
                cut.append(Cut(index, together, at_least=not document.whole))
            tokens.append(self._pair(counted.ids, document.ids[:room]))
        return Read(tuple(tokens), tuple(cut))

    def _pair(self, first: Sequence[int], second: Sequence[int]) -> Tokens:
        head, middle, tail = self._ids
        of_head, of_first, of_middle, of_second, of_tail = self._types
        ids = [*head, *first, *middle, *second, *tail]
        types = [
            *of_head, *[of_first] * len(first), *of_middle, *[of_second] * len(second), *of_tail
        ]  # fmt: skip
        return Tokens(ids, types)
