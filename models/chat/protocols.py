"""The protocols of what the handler uses of a chat engine: its context and its text.

Every chat engine provides these, besides the methods of ``models.engine.StepEngine``. The type
checker compares the handler and ``models.chat.text`` with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from models.chat.request import Piece, Prompt


class Decoder(Protocol):
    """Converts an answer's token ids to text, token by token."""

    def push(self, token: int) -> str:
        """Return the text that ``token`` completes, perhaps none; whole characters only."""


class Reader(Protocol):
    """Splits an answer's text into text, reasoning and tool calls, as it grows."""

    @property
    def thinks(self) -> bool:
        """Whether the next text belongs to the reasoning."""

    def push(self, text: str) -> list[Piece]:
        """Return the pieces that further text completes."""

    def end(self, *, cut: bool = False) -> list[Piece]:
        """Return the pieces that were held back; ``cut`` says that the answer is incomplete."""


class ToolCalling(Protocol):
    """How a family of models calls tools; grammars are in llguidance's Lark."""

    @property
    def thinks(self) -> bool:
        """Whether such models may reason before they answer."""

    @property
    def calls(self) -> bool:
        """Whether such a model calls tools."""

    def rule(self, place: int) -> str:
        """Return the name of the rule for the arguments of the tool at an index."""

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
        """How the model calls tools and marks reasoning; None if it does neither."""

    @property
    def vocabulary(self) -> int:
        """The number of token ids."""

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
            messages: the messages, as chat templates expect them.
            tools: the tools, in OpenAI's format.
            arguments: further arguments of the template.
            goes_on: whether the last message is the beginning of the answer.

        Raises:
            InvalidValue: the model's template refuses the conversation.
            ContextLengthExceeded: the conversation is too long.
        """

    def encode_rendered(self, text: str) -> list[int]:
        """Tokenise a rendered conversation."""

    def encode_text(self, text: str) -> list[int]:
        """Tokenise plain text, with the special tokens that begin every text.

        Raises:
            ContextLengthExceeded: the text is too long.
        """

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special tokens."""

    def spelled(self, token: int) -> bytes:
        """Return the bytes of one token."""

    def decoder(self, before: Sequence[int] = (), *, read: bool = False) -> Decoder:
        """Return a new decoder for one answer.

        Args:
            before: the prompt's tokens.
            read: whether a ``Reader`` reads the text: then the marks of calls and reasoning stay.
        """

    def reading(
        self, prompt: str, tools: Sequence[Mapping[str, Any]], *, formed: bool = False
    ) -> Reader | None:
        """Return a new reader for an answer to a rendered conversation; None if all of it is text.

        Args:
            prompt: the rendered conversation.
            tools: the tools that were rendered, in OpenAI's format.
            formed: whether a grammar restricts the answer to calls or to a schema.
        """


class ChatEngine(Protocol):
    """The part of a chat engine that the handler uses.

    Attributes:
        context: the longest conversation, answer included, in tokens.
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
