"""Answers that match a grammar, by llguidance: which tokens may follow."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from models.chat.request import TOO_COMPLEX, Grammar
from models.chat.vetting import Vetting
from models.device.failures import Failure, attempt, translate
from models.errors import InvalidValue

_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')
# A rule of text up to a mark; see ``calling.Family.strict``.
_UNTIL = re.compile(r'(?P<name>\w+)\[suffix=(?P<mark>"(?:[^"\\]|\\.)*")\]: .*')


class Grammars:
    """Compiles grammars for one tokenizer, one at a time in a separate thread.

    Args:
        tokenizer: a fast tokenizer of transformers.
        vocabulary: the number of scores that the model returns per position.
        ends: the tokens that end a turn.
        vetting: checks each grammar before it is compiled here.
    """

    def __init__(
        self, tokenizer: Any, vocabulary: int, ends: Iterable[int], vetting: Vetting | None = None
    ) -> None:
        self._source = tokenizer, vocabulary, sorted(ends)
        added = getattr(tokenizer, "added_tokens_decoder", {}).items()
        self._special = {str(word): token for token, word in added if word.special}
        self._made: Any = None
        self._vetting = vetting or Vetting()
        # A thread of its own: waiting in the event loop's thread pool would delay other work.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammar")

    @property
    def _tokenizer(self) -> Any:
        """The tokenizer in llguidance's form; the first access takes a second."""
        if self._made is None:
            from llguidance.hf import from_tokenizer

            tokenizer, vocabulary, ends = self._source
            self._made = from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=ends)
        return self._made

    async def form(self, grammar: Grammar) -> Form:
        """Compile a grammar.

        Raises:
            InvalidValue: the grammar is not supported; the message says where.
        """
        compile_ = partial(attempt, partial(self.compile, grammar))
        outcome = await asyncio.get_running_loop().run_in_executor(self._thread, compile_)
        if not isinstance(outcome, Failure):
            return outcome
        error = outcome.error  # a panic of llguidance is not an ``Exception``
        raise error if isinstance(error, Exception) else translate(error)

    def compile(self, grammar: Grammar) -> Form:
        """Compile a grammar in this thread; raises what ``form`` raises."""
        from llguidance import LLMatcher

        vetted = self._vetting.vetted(grammar)
        if not isinstance(vetted, Grammar):
            raise _refused(*vetted)
        written = self._with_special_tokens(vetted)
        matcher = LLMatcher(self._tokenizer, written.compiled())
        if matcher.is_error():
            raise _refused(grammar.param, TOO_COMPLEX)
        return Form(written, matcher)

    def _with_special_tokens(self, grammar: Grammar) -> Grammar:
        """Return a grammar of calls in which marks that are special tokens are such.

        Text never stands for a special token: in a grammar it has an id.
        """
        if grammar.kind != "lark" or not grammar.schemas:
            return grammar  # what a client gives, where a mark is text
        lines = grammar.source.splitlines()
        return replace(grammar, source="\n".join(map(self._line, lines)))

    def _line(self, line: str) -> str:
        if "%json " in line or not self._special:
            return line
        if (head := _UNTIL.fullmatch(line)) and json.loads(head["mark"]) in self._special:
            return f"{head['name']}: /(?s:.*)/ <[{self._special[json.loads(head['mark'])]}]>"
        return _LITERAL.sub(lambda match: self._literal(match[0]), line)

    def _literal(self, literal: str) -> str:
        """Return a literal as text and special tokens."""
        pieces = re.split(f"({'|'.join(map(re.escape, self._special))})", json.loads(literal))
        made = [
            f"<[{self._special[piece]}]>" if piece in self._special else json.dumps(piece)
            for piece in pieces
            if piece
        ]
        return " ".join(made) or literal

    def close(self) -> None:
        """End the vetting process after the grammar that is being compiled."""
        self._thread.submit(self._vetting.close)
        self._thread.shutdown(wait=False)


class Form:
    """A compiled grammar.

    Attributes:
        grammar: the grammar, with its schemas in a form that llguidance supports.
    """

    def __init__(self, grammar: Grammar, first: Any) -> None:
        self.grammar = grammar
        self._first = first

    def matcher(self) -> Matcher:
        """Return a matcher for one answer."""
        return Matcher(self._first.deep_copy(), self.grammar.param)


class Matcher:
    """Tracks which tokens one answer may continue with."""

    def __init__(self, matcher: Any, param: str) -> None:
        self._matcher = matcher
        self._param = param

    def mask(self, scores: Any) -> None:
        """Set the scores of forbidden tokens to minus infinity, in place, shape (vocabulary,).

        Raises:
            InvalidValue: the grammar became too complex.
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
        """Append tokens to the answer; raises what ``mask`` raises."""
        self._matcher.consume_tokens(list(tokens))
        self._check()

    def end(self) -> None:
        """End the answer; raises what ``mask`` raises."""
        self._check(self._matcher.is_accepting())

    def _check(self, well: bool = True) -> None:
        if not well or self._matcher.is_error():
            raise self.broken

    @property
    def broken(self) -> InvalidValue:
        """The error of a grammar that has become too complex."""
        return _refused(self._param, "it became too complex during the answer; simplify it")


def _refused(param: str, why: str) -> InvalidValue:
    return InvalidValue(
        f"{param} cannot be honoured: {why}.", param=param, code="unsupported_schema"
    )
