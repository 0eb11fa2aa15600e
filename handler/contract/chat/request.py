"""The body of a chat request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from handler.contract.base import NonEmpty, refuse_unsupported
from handler.contract.chat.generation import MAX_TOKENS, GenerationRequest

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


_MESSAGE_UNSUPPORTED: dict[str, tuple[object, ...]] = {
    "audio": (),
    "function_call": (),
    "name": (),
    "refusal": (),
    "tool_call_id": (),
    "tool_calls": ([],),
}


class ChatRequest(GenerationRequest):
    """The body of a chat request; a bare ``prompt`` stands for one user message."""

    unsupported: ClassVar = GenerationRequest.unsupported | {
        "audio": (),
        "function_call": ("none",),
        "functions": ([],),
        "logprobs": (False,),
        "modalities": (["text"],),
        "moderation": (),
        "parallel_tool_calls": (True, False),
        "prediction": (),
        "reasoning_effort": ("none",),
        "response_format": (_NEUTRAL_FORMAT,),
        "service_tier": ("auto", "default"),
        "store": (False,),
        "tool_choice": ("none", "auto"),
        "tools": ([],),
        "top_logprobs": (0,),
        "verbosity": ("medium",),
        "web_search_options": (),
    }

    informational: ClassVar = GenerationRequest.informational | {
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    }

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None

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

    @property
    def asked_tokens(self) -> int | None:
        """The answer's length, under its newer name or its older one."""
        return self.max_completion_tokens or self.max_tokens
