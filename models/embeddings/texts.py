"""From a request's inputs to token ids: prefixes, vocabularies, limits, cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from models.embeddings import token_ids
from models.embeddings.request import Cut, Input
from models.errors import ContextLengthExceeded, InvalidValue, UnsupportedParameter
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
        self._tokenizer = tokenizer
        self._row = row
        self._size = tokenizer.get_vocab_size(with_added_tokens=True)
        self._head, self._tail = _special(tokenizer, "a")
        self.limit = limit
        self.pad = _first_known(tokenizer, ("<pad>", "[PAD]"), default=0)
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
        token_encoding: str = token_ids.AUTO,
    ) -> Read:
        """Read a request's inputs.

        Raises:
            ContextLengthExceeded: one is too long, and ``truncate`` does not allow to cut it.
            InvalidValue: a token id that is in no vocabulary.
            UnsupportedParameter: a prefix before token ids of the model's vocabulary.
        """
        prefix = self._row.options.get("prefixes", {}).get(input_type, "")
        texts: list[str] = []
        ids: dict[int, Sequence[int]] = {}  # by place, of inputs that need no tokenizer
        decoded = False
        for index, one in enumerate(inputs):
            if isinstance(one, str):
                texts.append(prefix + one)
            elif self._is_own(one, token_encoding):
                ids[index] = self._own(one, name(index), prefix)
            else:
                texts.append(prefix + token_ids.decode(one, name(index)))
                decoded = True
        encoded = iter(self._tokenizer.encode_batch_fast(texts))
        all_ids = [ids[i] if i in ids else next(encoded).ids for i in range(len(inputs))]
        used = token_ids.MODEL if ids else token_ids.CL100K if decoded else None
        if ids and decoded:
            used = token_ids.AUTO  # some this way, some that way
        return self._within(all_ids, name, truncate, used)

    def read_pairs(
        self, first: str, seconds: Sequence[str], name: Name, *, truncate: bool = False
    ) -> Read:
        """Read pairs of one text with each of several, for models that read both at once.

        A cut shortens the second.

        Raises:
            ContextLengthExceeded: a pair is too long, and ``truncate`` does not allow to cut it.
        """
        pairs = self._tokenizer.encode_batch([(first, second) for second in seconds])
        tokens, cut = [], []
        for index, pair in enumerate(pairs):
            one = Tokens(pair.ids, pair.type_ids)
            if len(one) > self.limit:
                belongs = pair.sequence_ids
                last = len(one) - belongs[::-1].index(1) if 1 in belongs else 0
                start = last - (len(one) - self.limit)
                if not truncate or start <= belongs.index(1):
                    raise self._too_long(name(index), len(one), "with the query ")
                cut.append(Cut(index, len(one)))
                one = Tokens(
                    [*one.ids[:start], *one.ids[last:]],
                    [*pair.type_ids[:start], *pair.type_ids[last:]],
                )
            tokens.append(one)
        return Read(tuple(tokens), tuple(cut))

    def filler(self, tokens: int) -> list[Tokens]:
        """Texts of about so many tokens together, to try the device with.

        Long ones: they gain most from large runs.
        """
        length = min(_FILLER_TOKENS, self.limit)
        return [Tokens([self.pad + 5] * length)] * max(1, tokens // length)

    def _within(
        self, all_ids: Sequence[Sequence[int]], name: Name, truncate: bool, used: str | None
    ) -> Read:
        cut = [Cut(at, len(ids)) for at, ids in enumerate(all_ids) if len(ids) > self.limit]
        if not cut:
            return Read(tuple(map(Tokens, all_ids)), (), used)
        if not truncate:
            raise self._too_long(name(cut[0].index), cut[0].tokens)
        kept = self.limit - len(self._tail)
        shortened = [
            ids if len(ids) <= self.limit else [*ids[:kept], *self._tail] for ids in all_ids
        ]
        return Read(tuple(map(Tokens, shortened)), tuple(cut), used)

    def _too_long(self, param: str, tokens: int, beside: str = "") -> ContextLengthExceeded:
        return ContextLengthExceeded(
            f"{param} has {beside}{tokens} tokens; {self._row.slug} reads at most {self.limit}. "
            'Split it, or send "truncate": true to have it cut.',
            param=param,
        )

    def _is_own(self, ids: Sequence[int], encoding: str) -> bool:
        if encoding != token_ids.AUTO:
            return encoding == token_ids.MODEL
        return self._begins(ids) and self._ends(ids)

    def _own(self, ids: Sequence[int], param: str, prefix: str) -> Sequence[int]:
        """Token ids of the model's vocabulary, checked, with its special tokens around them."""
        if prefix:
            raise UnsupportedParameter(
                f"{self._row.slug} is told the input type by a text before the input, which cannot "
                "stand before token ids; send texts, or leave it out.",
                param="input_type",
            )
        for position, one in enumerate(ids):
            if not 0 <= one < self._size:
                raise InvalidValue(
                    f"{param}[{position}] is {one}; the vocabulary of {self._row.slug} has token "
                    f"ids from 0 to {self._size - 1}.",
                    param=f"{param}[{position}]",
                )
        head = [] if self._begins(ids) else self._head
        tail = [] if self._ends(ids) else self._tail
        return [*head, *ids, *tail]

    def _begins(self, ids: Sequence[int]) -> bool:
        return list(ids[: len(self._head)]) == self._head

    def _ends(self, ids: Sequence[int]) -> bool:
        least = len(self._head) + len(self._tail)
        return len(ids) >= least and list(ids[len(ids) - len(self._tail) :]) == self._tail


def _special(tokenizer: Any, text: str) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and after a text."""
    encoding = tokenizer.encode(text)
    mask = encoding.special_tokens_mask
    first, last = mask.index(0), len(mask) - mask[::-1].index(0)
    return encoding.ids[:first], encoding.ids[last:]


def _first_known(tokenizer: Any, names: Sequence[str], default: int) -> int:
    known = (tokenizer.token_to_id(name) for name in names)
    return next((one for one in known if one is not None), default)
