"""Checks that every chat engine makes before it admits a request."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace

from models.chat.grammar import Form, Grammars
from models.chat.request import Prompt
from models.chat.sight import Sight, Sighted
from models.errors import ContextLengthExceeded, InvalidValue, shorten


@dataclass(frozen=True)
class Admission:
    """A checked request.

    Attributes:
        limit: the longest answer, in tokens.
        form: the compiled grammar of the answer, None for any text.
        sighted: the prompt's pictures, None without any.
    """

    prompt: Prompt
    limit: int
    form: Form | None
    sighted: Sighted | None = None

    @property
    def length(self) -> int:
        """How many tokens the prompt has, pictures and all."""
        more = 0 if self.sighted is None else self.sighted.further_tokens
        return len(self.prompt.tokens) + more


@dataclass(frozen=True)
class Limits:
    """The limits of an engine. A request beyond one would crash it, and fail all other requests.

    A token id outside the vocabulary, for example, is an index outside a table, which ends the
    process on a GPU.

    Attributes:
        vocabulary: the size of the model's vocabulary; token ids are smaller.
        biases: the largest number of tokens with a bias; None = any number.
        logprobs: the largest number of top log probabilities; None = any number.
        least_length: whether the engine supports ``min_tokens``.
    """

    vocabulary: int
    biases: int | None = None
    logprobs: int | None = None
    least_length: bool = True

    def check(self, slug: str, prompt: Prompt) -> None:
        """Check a request.

        Raises:
            InvalidValue: a value exceeds a limit.
        """
        if not prompt.tokens:
            raise InvalidValue(f"{prompt.param} has no tokens.", param=prompt.param)
        self._check_tokens(slug, prompt.tokens, prompt.param)
        rules = prompt.sampling
        self._check_tokens(slug, rules.logit_bias, "logit_bias")
        for param, given, most in (
            ("logit_bias", len(rules.logit_bias), self.biases),
            ("top_logprobs", rules.logprobs or 0, self.logprobs),
            ("min_tokens", rules.min_tokens, None if self.least_length else 0),
        ):
            if most is not None and given > most:
                raise InvalidValue(f"{param}: at most {most}; got {given}.", param=param)

    def _check_tokens(self, slug: str, tokens: Collection[int], param: str) -> None:
        edges = (min(tokens), max(tokens)) if tokens else ()
        for token in edges:
            if not 0 <= token < self.vocabulary:
                raise InvalidValue(
                    f"{param} has the token id {shorten(str(token), 20)}; those of {slug} go from "
                    f"0 to {self.vocabulary - 1}.",
                    param=param,
                )


class Entrance:
    """Checks requests.

    Args:
        slug: the model's slug, for errors.
        most: the longest request, answer included, in tokens.
        grammars: compiles grammars.
        limits: the engine's limits.
        sight: reads pictures, for a model that sees.
    """

    def __init__(
        self,
        slug: str,
        most: int,
        grammars: Grammars,
        limits: Limits,
        sight: Sight | None = None,
    ) -> None:
        self.most = most
        self._sight = sight
        self._slug = slug
        self._grammars = grammars
        self._limits = limits

    async def check(self, prompt: Prompt) -> Admission:
        """Check a request, and limit the length of its answer to the remaining context.

        Raises:
            ContextLengthExceeded: the prompt is too long.
            InvalidValue: the grammar is not supported, or a value exceeds a limit of the engine.
            MediaUndecodable: a picture cannot be read.
        """
        sighted = await self._sighted(prompt)
        length = len(prompt.tokens) + (0 if sighted is None else sighted.further_tokens)
        if length >= self.most:
            excess = f"{prompt.param} has {length} tokens, and the answer needs at least one"
            raise ContextLengthExceeded.of_chat(self.most, excess, prompt.param)
        self._limits.check(self._slug, prompt)
        room = self.most - length
        limit = min(prompt.sampling.max_tokens or room, room)
        prompt = replace(prompt, sampling=replace(prompt.sampling, max_tokens=limit))
        form = None if prompt.grammar is None else await self._grammars.form(prompt.grammar)
        return Admission(prompt, limit, form, sighted)

    async def _sighted(self, prompt: Prompt) -> Sighted | None:
        """The pictures of a prompt, each of which must have its mark there."""
        if self._sight is None:
            return None
        marks = prompt.tokens.count(self._sight.mark)
        if marks != len(prompt.pictures):
            raise InvalidValue(
                f"{prompt.param} holds {marks} of the model's own marks of a picture, and "
                f"{len(prompt.pictures)} pictures.",
                param=prompt.param,
            )
        if not marks:
            return None
        return await asyncio.to_thread(self._sight.look, prompt.pictures)

    def close(self) -> None:
        """End the thread and the process that compile grammars."""
        self._grammars.close()
