"""The body of a chat request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from handler.contract.chat.generation import GenerationRequest
from handler.contract.request import NonEmpty, Text, Unsupported, refuse_unsupported
from models.errors import InvalidValue

_NEUTRAL_FORMAT = {"type": "text"}


class TextPart(BaseModel):
    """A part of a message's content; only text is understood."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: NonEmpty


class Message(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: NonEmpty | Annotated[list[TextPart], Field(min_length=1)]

    def plain(self) -> dict[str, str]:
        """The turn as chat templates know it: OpenAI's ``developer`` is their ``system``."""
        role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return {"role": role, "content": self.content}
        return {"role": role, "content": "".join(part.text for part in self.content)}


_MESSAGE_UNSUPPORTED: dict[str, Unsupported] = {
    "audio": Unsupported(),
    "function_call": Unsupported(),
    "name": Unsupported(),
    "refusal": Unsupported(),
    "tool_call_id": Unsupported(),
    "tool_calls": Unsupported([]),
}


class ChatRequest(GenerationRequest):
    """The body of a chat request; a bare ``prompt`` stands for one user message.

    ``system`` stands for a first message of that role, as other APIs have it.
    """

    unsupported: ClassVar = GenerationRequest.unsupported | {
        "audio": Unsupported(),
        "function_call": Unsupported("none"),
        "functions": Unsupported([]),
        "logprobs": Unsupported(False),
        "modalities": Unsupported(["text"]),
        "moderation": Unsupported(),
        "parallel_tool_calls": Unsupported(True, False),
        "prediction": Unsupported(),
        "reasoning_effort": Unsupported("none"),
        "response_format": Unsupported(_NEUTRAL_FORMAT),
        "service_tier": Unsupported("auto", "default"),
        "store": Unsupported(False),
        "tool_choice": Unsupported("none", "auto"),
        "tools": Unsupported([]),
        "top_logprobs": Unsupported(0),
        "verbosity": Unsupported("medium"),
        "web_search_options": Unsupported(),
    }

    informational: ClassVar = GenerationRequest.informational | {
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    }

    aliases: ClassVar = GenerationRequest.aliases | {"max_completion_tokens": "max_tokens"}

    messages: Annotated[list[Message], Field(min_length=1)]
    system: Text = ""

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Validate a body; also inside the messages nothing known is ignored in silence."""
        messages = body.get("messages")
        for index, message in enumerate(messages if isinstance(messages, list) else ()):
            if isinstance(message, dict):
                refuse_unsupported(message, _MESSAGE_UNSUPPORTED, f"messages[{index}].")
        return super().parse(body)

    @model_validator(mode="before")
    @classmethod
    def _prompt_as_message(cls, body: Any) -> Any:
        if (
            isinstance(body, dict)
            and "messages" not in body
            and isinstance(body.get("prompt"), str)
        ):
            return {**body, "messages": [{"role": "user", "content": body["prompt"]}]}
        return body

    @model_validator(mode="after")
    def _one_system_message(self) -> Self:
        if self.system and self.messages[0].role in {"system", "developer"}:
            raise InvalidValue(
                "system and messages both hold a system message; send one of them.", param="system"
            )
        return self

    @property
    def conversation(self) -> list[dict[str, str]]:
        """Every turn as chat templates know it."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return system + [message.plain() for message in self.messages]
