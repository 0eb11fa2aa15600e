"""What every chat engine asks of a request before it is let in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.chat.grammar import Form, Grammars
from models.chat.request import Prompt
from models.errors import ContextLengthExceeded


@dataclass(frozen=True)
class Admission:
    """A request that can be answered; its answer's length is known.

    Attributes:
        form: what the answer is held to, None for any.
    """

    prompt: Prompt
    limit: int
    form: Form | None


class Entrance:
    """Checks requests.

    Args:
        slug: of the model, for errors.
        most: how many tokens a request may have, with its answer.
        grammars: compiles forms.
    """

    def __init__(self, slug: str, most: int, grammars: Grammars) -> None:
        self.most = most
        self._slug = slug
        self._grammars = grammars

    async def check(self, prompt: Prompt) -> Admission:
        """Cut the length of the answer to what fits.

        Raises:
            ContextLengthExceeded: the prompt is too long.
            InvalidValue: the grammar cannot be honoured.
        """
        length = len(prompt.tokens)
        if length >= self.most:
            raise ContextLengthExceeded(
                f"{self._slug} reads at most {self.most} tokens, one of them for the answer; "
                f"this request has {length} in {prompt.param}.",
                param=prompt.param,
            )
        room = self.most - length
        limit = min(prompt.sampling.max_tokens or room, room)
        prompt = replace(prompt, sampling=replace(prompt.sampling, max_tokens=limit))
        form = None if prompt.grammar is None else await self._grammars.form(prompt.grammar)
        return Admission(prompt, limit, form)

    def close(self) -> None:
        """Let go of what compiles forms."""
        self._grammars.close()
