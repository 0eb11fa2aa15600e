"""From a request's inputs to token ids: prefixes, vocabularies, limits, cuts."""

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
Name = Callable[[int], str]  # how the request calls its input number n


@dataclass(frozen=True)
class Tokens:
    """One text for the model: token ids, special ones included.

    Attributes:
        ids: the tokens.
        types: which of two texts each belongs to, where the model reads pairs.
    """

    ids: Sequence[int]
    types: Sequence[int] | None = None

    def __len__(self) -> int:
        """How many tokens."""
        return len(self.ids)


@dataclass(frozen=True)
class Read:
    """A request's inputs as the model will read them; see ``Embedded`` for cuts and encoding."""

    tokens: tuple[Tokens, ...]
    cut: tuple[Cut, ...] = ()
    token_encoding: str | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many tokens each has."""
        return tuple(map(len, self.tokens))


class Texts:
    """A model's reading glasses; one for all threads.

    Args:
        tokenizer: of the ``tokenizers`` library; ours from now on, as its settings are changed.
        limit: the most tokens that the model reads, special ones included.
        row: names the model; its option ``prefixes`` says what stands before a text, by input type.
    """

    def __init__(self, tokenizer: Any, limit: int, row: Row) -> None:
        tokenizer.no_truncation()  # every token is counted, and nothing cut in silence
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
        self.meaningless = frozenset(one for one in known if one is not None)

    def read(
        self,
        inputs: Sequence[Input],
        name: Name,
        *,
        input_type: str | None = None,
        truncate: bool = False,
        token_encoding: str = AUTO,
    ) -> Read:
        """Read a request's inputs.

        Raises:
            ContextLengthExceeded: one is too long, and ``truncate`` does not allow to cut it.
            InvalidValue: a token id that is in no vocabulary.
            UnsupportedParameter: a prefix before token ids of the model's vocabulary.
        """
        prefix = self._row.options.get("prefixes", {}).get(input_type, "")
        texts: dict[int, str] = {}
        own: dict[int, Counted] = {}
        encodings: set[str] = set()
        for index, one in enumerate(inputs):
            if isinstance(one, str):
                texts[index] = prefix + one
            elif self._is_own(one, token_encoding):
                own[index] = self._own(one, name(index), prefix)
                encodings.add(MODEL)
            else:
                encodings.add(CL100K)
                texts[index] = prefix + token_ids.decode(one, name(index))
        counted = zip(texts, self.counter.count(list(texts.values()), self.room), strict=True)
        tokens: dict[int, Tokens] = {}
        cut: dict[int, Cut] = {}
        for index, text in chain(counted, own.items()):
            tokens[index] = Tokens([*self._head, *text.ids[: self.room], *self._tail])
            if text.count > self.room:
                count = text.count + self.limit - self.room
                if not truncate:
                    raise self.too_long(name(index), count, exactly=text.whole)
                cut[index] = Cut(index, count, at_least=not text.whole)
        return Read(
            tuple(tokens[index] for index in range(len(inputs))),
            tuple(cut[index] for index in sorted(cut)),
            AUTO if len(encodings) > 1 else next(iter(encodings), None),
        )

    def read_query(self, query: str) -> Read:
        """Read the query of a ranking, which is never cut; raises as ``read`` does."""
        return self.read([query], lambda _: "query", input_type="query")

    @property
    def room(self) -> int:
        """How many tokens of a text the model reads, beside the special ones."""
        return self.limit - len(self._head) - len(self._tail)

    def too_long(
        self, param: str, tokens: int, more: str = "", *, exactly: bool = True
    ) -> ContextLengthExceeded:
        """The error for an input with so many tokens, or more where the rest was not counted."""
        got = f"{tokens} tokens{'' if exactly else ' and more'}{more}"
        advice = 'Split it, or send "truncate": true to have it cut.'
        if param == "query":
            advice = "Shorten it; a query is never cut."
        return ContextLengthExceeded(
            f"{param} has {got}; {self._row.slug} reads at most {self.limit} tokens. {advice}",
            param=param,
        )

    def filler(self, tokens: int) -> list[Tokens]:
        """Texts of about so many tokens together, to try the device with.

        Long ones: they gain most from large runs.
        """
        length = min(_FILLER_TOKENS, self.limit)
        return [Tokens([self.pad + 5] * length)] * max(1, tokens // length)

    def _is_own(self, ids: Sequence[int], encoding: str) -> bool:
        if encoding != AUTO:
            return encoding == MODEL
        return self._begins(ids) and self._ends(ids)

    def _own(self, ids: Sequence[int], param: str, prefix: str) -> Counted:
        """Token ids of the model's vocabulary, checked, without its special tokens around them."""
        if prefix:
            raise UnsupportedParameter(
                f"{self._row.slug} is told the input type by a text before the input, which cannot "
                "stand before token ids; send texts, or leave it out.",
                param="input_type",
            )
        for position, one in enumerate(ids):
            if not 0 <= one < self._size:
                raise InvalidValue(
                    f"{param}[{position}] is {shorten(str(one), 20)}; the vocabulary of "
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
    """The special tokens that a tokenizer puts before and after a text."""
    encoding = tokenizer.encode("a")
    mask = encoding.special_tokens_mask
    first, last = mask.index(0), len(mask) - mask[::-1].index(0)
    return encoding.ids[:first], encoding.ids[last:]


def padding_id(tokenizer: Any) -> int:
    """The token id that texts are filled up with."""
    known = (tokenizer.token_to_id(name) for name in ("<pad>", "[PAD]"))
    return next((one for one in known if one is not None), 0)
