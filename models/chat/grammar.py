"""Answers of a given form, by llguidance: which tokens may follow what was said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from models.chat.request import TOO_COMPLEX, Grammar
from models.chat.vetting import Vetting
from models.device.failures import Failure, attempt, translate
from models.errors import InvalidValue


class Grammars:
    """Compiles grammars for one tokenizer, one at a time and in a thread of its own.

    Args:
        tokenizer: of transformers, a fast one.
        vocabulary: how many scores the model gives for each place.
        ends: the tokens that end a turn.
        vetting: looks at each grammar before it is compiled here.
    """

    def __init__(
        self, tokenizer: Any, vocabulary: int, ends: Iterable[int], vetting: Vetting | None = None
    ) -> None:
        self._source = tokenizer, vocabulary, sorted(ends)
        self._made: Any = None
        self._vetting = vetting or Vetting()
        # What waits here holds up no other work: the event loop's own threads are for everybody.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammar")

    @property
    def _tokenizer(self) -> Any:
        """Return the tokenizer as llguidance has it; the first call takes a second."""
        if self._made is None:
            from llguidance.hf import from_tokenizer

            tokenizer, vocabulary, ends = self._source
            self._made = from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=ends)
        return self._made

    async def form(self, grammar: Grammar) -> Form:
        """Compile a grammar.

        Raises:
            InvalidValue: it cannot be honoured; the message says where.
        """
        compile_ = partial(attempt, partial(self.compile, grammar))
        outcome = await asyncio.get_running_loop().run_in_executor(self._thread, compile_)
        if not isinstance(outcome, Failure):
            return outcome
        error = outcome.error  # a panic of llguidance's is no ``Exception``
        raise error if isinstance(error, Exception) else translate(error)

    def compile(self, grammar: Grammar) -> Form:
        """Compile a grammar in this thread; raises as ``form`` does."""
        from llguidance import LLMatcher

        vetted = self._vetting.vetted(grammar)
        if not isinstance(vetted, Grammar):
            raise _refused(*vetted)
        matcher = LLMatcher(self._tokenizer, vetted.compiled())
        if matcher.is_error():
            raise _refused(grammar.param, TOO_COMPLEX)
        return Form(vetted, matcher)

    def close(self) -> None:
        """End the vetting process; a grammar that is being compiled is still finished."""
        self._thread.submit(self._vetting.close)
        self._thread.shutdown(wait=False)


class Form:
    """What answers are held to.

    Attributes:
        grammar: it, with its schemas as llguidance holds them.
    """

    def __init__(self, grammar: Grammar, first: Any) -> None:
        self.grammar = grammar
        self._first = first

    def matcher(self) -> Matcher:
        """Return a matcher that follows one answer."""
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
        """The error of a grammar that cannot be followed any more."""
        return _refused(self._param, "it became too complex on the way; simplify it")


def _refused(param: str, why: str) -> InvalidValue:
    return InvalidValue(
        f"{param} cannot be honoured: {why}.", param=param, code="unsupported_schema"
    )
