"""Answers of a given form, by llguidance: which tokens may follow what was said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from models.chat.request import Grammar
from models.errors import InvalidValue

_WHERE = re.compile(r"^Unimplemented keys: (\[.*\])", re.DOTALL)


class Grammars:
    """Compiles grammars for one tokenizer.

    Args:
        tokenizer: of transformers, a fast one.
        vocabulary: how many scores the model gives for each place.
        ends: the tokens that end a turn.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Iterable[int]) -> None:
        self._source = tokenizer, vocabulary, sorted(ends)
        self._made: Any = None

    @property
    def _tokenizer(self) -> Any:
        """What llguidance has for it; made when first needed, as it takes a second."""
        if self._made is None:
            from llguidance.hf import from_tokenizer

            tokenizer, vocabulary, ends = self._source
            self._made = from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=ends)
        return self._made

    def check(self, grammar: Grammar) -> str:
        """The grammar as llguidance takes it.

        Raises:
            InvalidValue: it cannot be honoured; the message says where.
        """
        from llguidance import LLMatcher

        try:
            text = _compiled(grammar)
            wrong, messages = LLMatcher.validate_grammar_with_warnings(text, self._tokenizer)
        except ValueError as error:
            wrong, messages = True, [str(error)]
        if wrong:
            raise InvalidValue(
                f"{grammar.param} cannot be honoured: {_explained(grammar, messages[0])}.",
                param=grammar.param,
                code="unsupported_schema",
            )
        return text

    def matcher(self, text: str) -> Matcher:
        """Follows one answer to a grammar of ``check``'s."""
        from llguidance import LLMatcher

        return Matcher(LLMatcher(self._tokenizer, text))


class Matcher:
    """Follows one answer."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def mask(self, scores: Any) -> None:
        """Leave the scores of what may follow, shape (vocabulary,), in place."""
        import numpy as np
        import torch

        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        allowed: Any = np.unpackbits(bits, bitorder="little")[: len(scores)].view(bool)
        if len(allowed) < len(scores):
            allowed = np.pad(allowed, (0, len(scores) - len(allowed)))
        scores.masked_fill_(~torch.from_numpy(allowed).to(scores.device), -torch.inf)

    def push(self, token: int) -> None:
        """Note what was said."""
        self._matcher.consume_token(token)


def _compiled(grammar: Grammar) -> str:
    from llguidance import LLMatcher

    if grammar.kind == "json_schema":
        text: str = LLMatcher.grammar_from_json_schema(grammar.source)
        return text
    make = LLMatcher.grammar_from_regex if grammar.kind == "regex" else LLMatcher.grammar_from_lark
    return str(make(grammar.source))


def _explained(grammar: Grammar, message: str) -> str:
    """What is wrong, and where, in one line."""
    named = _WHERE.match(message)
    if named is None or grammar.kind != "json_schema":
        # The parsers draw what is wrong below the source, and say why at the end.
        return message.strip().rpartition("error: ")[2].splitlines()[0].rstrip(":. ")
    keys = json.loads(named[1])
    places = [place for place in _places(json.loads(grammar.source)) if place[-1] in keys]
    where = ", ".join("/".join(("#", *place)) for place in places) or ", ".join(keys)
    return f"{where} is a keyword that no answer can be held to"


def _places(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key of a schema."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            yield (*path, key)
            yield from _places(value, (*path, key))
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from _places(value, (*path, str(index)))
