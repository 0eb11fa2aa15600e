"""Answers of a given form, by llguidance: which tokens may follow what was said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from models.chat import schemas
from models.chat.request import Grammar
from models.errors import InvalidValue

_KEYWORDS = re.compile(r"^Unimplemented keys: (\[.*\])", re.DOTALL)
_MOST_LOOKS = 300  # at parts of a schema, for the one that is wrong


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

    def form(self, grammar: Grammar) -> Form:
        """The grammar, ready to be kept.

        Raises:
            InvalidValue: it cannot be honoured; the message says where.
        """
        from llguidance import LLMatcher

        for param, source in grammar.schemas:
            self._check_schema(param, source)
        if grammar.kind == "json_schema":
            grammar = replace(grammar, source=schemas.kept(grammar.source))
            self._check_schema(grammar.param, grammar.source)
        elif (wrong := self._wrong(grammar)) is not None:
            raise _refused(grammar.param, _plain(wrong))
        return Form(grammar, LLMatcher(self._tokenizer, _compiled(grammar)))

    def _wrong(self, grammar: Grammar) -> str | None:
        """What llguidance has against a grammar."""
        from llguidance import LLMatcher

        try:
            text = _compiled(grammar)
            wrong, messages = LLMatcher.validate_grammar_with_warnings(text, self._tokenizer)
        except ValueError as error:
            return str(error)
        return str(messages[0]) if wrong else None

    def _check_schema(self, param: str, source: str) -> None:
        schema = json.loads(source)
        beyond = schemas.beyond(schema)  # llguidance would take all memory for it
        if beyond is not None:
            path, number = beyond
            raise _refused(param, f"{schemas.pointer(path)} is {number:g}, more than can be kept")
        wrong = self._wrong(Grammar("json_schema", source))
        if wrong is None:
            return
        path, part = self._innermost(schema, wrong)
        named = _KEYWORDS.match(wrong)
        keys = [key for key in json.loads(named[1]) if key in part] if named else []
        if keys:
            where = ", ".join(schemas.pointer((*path, key)) for key in keys)
            raise _refused(param, f"{where} is a keyword that no answer can be held to")
        if "oneOf" in part:
            where = schemas.pointer((*path, "oneOf"))
            raise _refused(param, f"{where} is a keyword that no answer can be held to; use anyOf")
        raise _refused(param, f"{schemas.pointer(path)}: {_plain(wrong)}")

    def _innermost(self, schema: Any, wrong: str) -> tuple[schemas.Path, dict[str, Any]]:
        """The innermost part of a schema that is refused for the same reason."""
        for looks, (path, part) in enumerate(schemas.parts(schema)):
            alone = schemas.by_itself(schema, part)
            if looks < _MOST_LOOKS and self._wrong(Grammar("json_schema", alone)) == wrong:
                return path, part
        return (), schema if isinstance(schema, dict) else {}


class Form:
    """What answers are held to.

    Attributes:
        grammar: it, without what asks for nothing.
    """

    def __init__(self, grammar: Grammar, first: Any) -> None:
        self.grammar = grammar
        self._first = first

    def matcher(self) -> Matcher:
        """Follows one answer."""
        return Matcher(self._first.deep_copy(), self.grammar.param)


class Matcher:
    """Follows one answer."""

    def __init__(self, matcher: Any, param: str) -> None:
        self._matcher = matcher
        self._param = param

    def mask(self, scores: Any) -> None:
        """Leave the scores of what may follow, shape (vocabulary,), in place.

        Raises:
            InvalidValue: the grammar turns out to be more than can be followed.
        """
        import numpy as np
        import torch

        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check()
        allowed: Any = np.unpackbits(bits, bitorder="little")[: len(scores)].view(bool)
        if len(allowed) < len(scores):
            allowed = np.pad(allowed, (0, len(scores) - len(allowed)))
        scores.masked_fill_(~torch.from_numpy(allowed).to(scores.device), -torch.inf)

    def push(self, tokens: Sequence[int]) -> None:
        """Note what was said; raises as ``mask`` does."""
        self._matcher.consume_tokens(list(tokens))
        self._check()

    def end(self) -> None:
        """Note that the answer has ended; raises as ``mask`` does."""
        self._check(self._matcher.is_accepting())

    def _check(self, well: bool = True) -> None:
        if not well or self._matcher.is_error():
            raise self.broken

    @property
    def broken(self) -> InvalidValue:
        """What is said of a grammar that cannot be followed any more."""
        return _refused(self._param, "it became too complex on the way; simplify it")


def _compiled(grammar: Grammar) -> str:
    from llguidance import LLMatcher

    if grammar.kind == "json_schema":
        text: str = LLMatcher.grammar_from_json_schema(grammar.source)
        return text
    make = LLMatcher.grammar_from_regex if grammar.kind == "regex" else LLMatcher.grammar_from_lark
    return str(make(grammar.source))


def _refused(param: str, why: str) -> InvalidValue:
    return InvalidValue(
        f"{param} cannot be honoured: {why}.", param=param, code="unsupported_schema"
    )


def _plain(message: str) -> str:
    """What a parser has against a grammar, in one line: it draws where, and says why at the end."""
    return message.strip().rpartition("error: ")[2].splitlines()[0].rstrip(":. ")
