"""What the handler uses of a chat engine: its context and its text.

Every chat engine has these, beside the verbs of ``models.surface.StepEngine``. The type checker
compares both sides with them: the handler, and ``models.chat.text``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from models.chat.request import Piece, Prompt


class Decoder(Protocol):
    """Token ids to text, as an answer grows."""

    def push(self, token: int) -> str:
        """Return the text that ``token`` completes, perhaps none; whole characters only."""


class Reader(Protocol):
    """An answer's text to words, thoughts and tool calls, as the answer grows."""

    @property
    def thinks(self) -> bool:
        """Whether the next text belongs to a thought."""

    def push(self, text: str) -> list[Piece]:
        """Return the pieces that further text completes."""

    def end(self, *, cut: bool = False) -> list[Piece]:
        """Return the pieces that were held back; ``cut`` says that the answer is incomplete."""


class ToolCalling(Protocol):
    """How a family of models calls tools; its grammars are in llguidance's Lark."""

    @property
    def thinks(self) -> bool:
        """Whether such a model thinks before it answers."""

    @property
    def calls(self) -> bool:
        """Whether such a model calls tools."""

    def rule(self, place: int) -> str:
        """Return the name of the rule for the arguments of the tool at a place."""

    def forced(self, tools: Sequence[Mapping[str, Any]], *, several: bool) -> str:
        """Return a grammar of one call, or of several."""

    def strict(self, tools: Sequence[Mapping[str, Any]], *, several: bool) -> str:
        """Return a grammar of any text in which whatever begins like a call is a valid call."""

    def instead(self, tools: Sequence[Mapping[str, Any]], schema: str, *, several: bool) -> str:
        """Return a grammar of calls, or of an answer that matches a JSON Schema."""


class Text(Protocol):
    """A model's chat template and tokenizer."""

    @property
    def family(self) -> ToolCalling | None:
        """How the model calls tools and thinks; None if it does neither."""

    @property
    def vocabulary(self) -> int:
        """How many token ids there are."""

    @property
    def variables(self) -> frozenset[str]:
        """The variables that the chat template reads."""

    @property
    def beginning(self) -> list[int]:
        """The tokens of an empty prompt."""

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        arguments: Mapping[str, Any] | None = None,
        *,
        goes_on: bool = False,
    ) -> str:
        """Render a conversation up to the assistant's turn.

        Args:
            messages: as chat templates know them.
            tools: OpenAI's.
            arguments: further ones for the template.
            goes_on: whether the last message is the beginning of the answer.

        Raises:
            InvalidValue: the model's template refuses the conversation.
            ContextLengthExceeded: the conversation is too long.
        """

    def encode_rendered(self, text: str) -> list[int]:
        """Tokenise a rendered conversation."""

    def encode_text(self, text: str) -> list[int]:
        """Tokenise plain text, with the tokens that begin every text.

        Raises:
            ContextLengthExceeded: it is too long.
        """

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without the special ones."""

    def spelled(self, token: int) -> bytes:
        """Return the bytes of one token."""

    def decoder(self, before: Sequence[int] = (), *, read: bool = False) -> Decoder:
        """Return a fresh decoder for one answer.

        Args:
            before: the prompt's tokens.
            read: whether a ``Reader`` reads the answer: then the marks of calls and thoughts stay.
        """

    def reading(
        self, prompt: str, tools: Sequence[Mapping[str, Any]], *, formed: bool = False
    ) -> Reader | None:
        """Return a fresh reader for an answer to a rendered conversation; None if all is text.

        Args:
            prompt: the rendered conversation.
            tools: OpenAI's, as they were rendered.
            formed: whether a grammar holds the answer to calls or to a form.
        """


class ChatEngine(Protocol):
    """What the handler sees of a chat engine.

    Attributes:
        context: how many tokens a conversation may have, answer included.
    """

    context: int

    async def length(self, request: Prompt) -> int:
        """Return how many tokens a prompt has, pictures and all.

        Raises:
            RequestError: the prompt cannot be answered.
        """

    @property
    def text(self) -> Text:
        """The model's chat template and tokenizer."""
