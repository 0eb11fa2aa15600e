"""From a request's inputs to token ids: prefixes, vocabularies, limits and cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from models.embeddings.inputs import token_ids
from models.embeddings.inputs.counting import Counted, Counter
from models.embeddings.request import AUTO, CL100K, MODEL, Cut, Input
from models.errors import ContextLengthExceeded, InvalidValue, UnsupportedParameter, shorten
from models.row import Row

_FILLER_TOKENS = 256
Name = Callable[[int], str]  # returns the request's name for an input by index, for errors


@dataclass(frozen=True)
class Tokens:
    """The token ids of one text, including special tokens.

    Attributes:
        ids: the tokens.
        types: 0 or 1 for the first or second text of a pair; None for single texts.
    """

    ids: Sequence[int]
    types: Sequence[int] | None = None

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.ids)


@dataclass(frozen=True)
class Read:
    """A request's tokenised inputs; see ``Embedded`` for cuts and encoding."""

    tokens: tuple[Tokens, ...]
    cut: tuple[Cut, ...] = ()
    token_encoding: str | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of tokens in each input."""
        return tuple(map(len, self.tokens))


class Texts:
    """Tokenises inputs for one model; safe for threads.

    Args:
        tokenizer: of the ``tokenizers`` library; its settings are changed.
        limit: the most tokens that the model reads, including special tokens.
        row: the model; its option ``prefixes`` has the text before an input, by input type.
    """

    def __init__(self, tokenizer: Any, limit: int, row: Row) -> None:
        tokenizer.no_truncation()  # all tokens must be counted
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self._row = row
        self._size = tokenizer.get_vocab_size(with_added_tokens=True)
        self._head, self._tail = _special(tokenizer)
        self.limit = limit
        self.counter = Counter(tokenizer, limit)
        self.pad = padding_id(tokenizer)
        names = ("<s>", "</s>", "<pad>", "<unk>", "[CLS]", "[SEP]", "[PAD]", "[UNK]")
        known = (tokenizer.token_to_id(name) for name in names)
        self.meaningless = frozenset(token for token in known if token is not None)

    def read(
        self,
        inputs: Sequence[Input],
        name: Name,
        *,
        input_type: str | None = None,
        truncate: bool = False,
        token_encoding: str = AUTO,
    ) -> Read:
        """Tokenise a request's inputs.

        Raises:
            ContextLengthExceeded: an input is too long, and ``truncate`` is off.
            InvalidValue: a token id is outside the vocabulary.
            UnsupportedParameter: the input type needs a prefix, and the input is token ids.
        """
        prefix = self._row.options.get("prefixes", {}).get(input_type, "")
        texts: dict[int, str] = {}
        own: dict[int, Counted] = {}
        encodings: set[str] = set()
        for index, content in enumerate(inputs):
            if isinstance(content, str):
                texts[index] = prefix + content
            elif self._is_own(content, token_encoding):
                own[index] = self._own(content, name(index), prefix)
                encodings.add(MODEL)
            else:
                encodings.add(CL100K)
                texts[index] = prefix + token_ids.decode(content, name(index))
        counted = zip(texts, self.counter.count(list(texts.values()), self.room), strict=True)
        tokens: dict[int, Tokens] = {}
        cut: dict[int, Cut] = {}
        for index, text in chain(counted, own.items()):
            tokens[index] = Tokens([*self._head, *text.ids[: self.room], *self._tail])
            if text.count > self.room:
                cut[index] = self._cut(text, index, name, truncate=truncate)
        return Read(
            tuple(tokens[index] for index in range(len(inputs))),
            tuple(cut[index] for index in sorted(cut)),
            AUTO if len(encodings) > 1 else next(iter(encodings), None),
        )

    def _cut(self, text: Counted, index: int, name: Name, *, truncate: bool) -> Cut:
        """Return what is cut of a text that is too long.

        Raises:
            ContextLengthExceeded: ``truncate`` is off.
        """
        count = text.count + self.limit - self.room
        if not truncate:
            raise self.too_long(name(index), count, exactly=text.whole)
        return Cut(index, count, at_least=not text.whole)

    def read_query(self, query: str) -> Read:
        """Tokenise the query of a ranking, which is never cut; raises what ``read`` raises."""
        return self.read([query], lambda _: "query", input_type="query")

    @property
    def room(self) -> int:
        """Limit of a text's tokens, without special tokens."""
        return self.limit - len(self._head) - len(self._tail)

    def too_long(
        self, param: str, tokens: int, more: str = "", *, exactly: bool = True
    ) -> ContextLengthExceeded:
        """Return the error for an input that is too long; not ``exactly`` if tokens may be more."""
        got = f"{tokens} tokens{'' if exactly else ' and more'}{more}"
        advice = 'Split it, or send "truncate": true to have it cut.'
        if param == "query":
            advice = "Shorten it; a query is never cut."
        return ContextLengthExceeded(
            f"{param} has {got}; {self._row.slug} reads at most {self.limit} tokens. {advice}",
            param=param,
        )

    def filler(self, tokens: int) -> list[Tokens]:
        """Return texts of about so many tokens together, to measure the device.

        They are long, because long texts gain most from large runs.
        """
        length = min(_FILLER_TOKENS, self.limit)
        return [Tokens([self.pad + 5] * length)] * max(1, tokens // length)

    def _is_own(self, ids: Sequence[int], encoding: str) -> bool:
        if encoding != AUTO:
            return encoding == MODEL
        return self._begins(ids) and self._ends(ids)

    def _own(self, ids: Sequence[int], param: str, prefix: str) -> Counted:
        """Check token ids of the model's vocabulary, and strip special tokens at both ends."""
        if prefix:
            raise UnsupportedParameter(
                f"{self._row.slug} is told the input type by a text before the input, which cannot "
                "stand before token ids; send texts, or leave it out.",
                param="input_type",
            )
        for position, token in enumerate(ids):
            if not 0 <= token < self._size:
                raise InvalidValue(
                    f"{param}[{position}] is {shorten(str(token), 20)}; the vocabulary of "
                    f"{self._row.slug} has token ids from 0 to {self._size - 1}.",
                    param=f"{param}[{position}]",
                )
        first = len(self._head) if self._begins(ids) else 0
        last = len(ids) - (len(self._tail) if self._ends(ids) else 0)
        return Counted(ids[first:last], last - first)

    def _begins(self, ids: Sequence[int]) -> bool:
        return list(ids[: len(self._head)]) == self._head

    def _ends(self, ids: Sequence[int]) -> bool:
        least = len(self._head) + len(self._tail)
        return len(ids) >= least and list(ids[len(ids) - len(self._tail) :]) == self._tail


def _special(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the special tokens that a tokenizer puts before and after a text."""
    encoding = tokenizer.encode("a")
    mask = encoding.special_tokens_mask
    first, last = mask.index(0), len(mask) - mask[::-1].index(0)
    return encoding.ids[:first], encoding.ids[last:]


def padding_id(tokenizer: Any) -> int:
    """Return the token id for padding."""
    known = (tokenizer.token_to_id(name) for name in ("<pad>", "[PAD]"))
    return next((token for token in known if token is not None), 0)
