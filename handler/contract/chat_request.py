"""The body of a chat request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from handler.contract.base import Call, NonEmpty, Request, refuse_unsupported
from models.chat import Sampling

MAX_TOKENS = 8192

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


class StreamOptions(BaseModel):
    """What a stream carries besides the text."""

    model_config = ConfigDict(strict=True)

    include_usage: bool = False
    include_obfuscation: bool = False  # random padding against eavesdroppers; taken, never sent


class ChatRequest(Request):
    """The body of a chat request; a bare ``prompt`` stands for one user message."""

    unsupported: ClassVar = {
        "audio": (),
        "frequency_penalty": (0,),
        "function_call": ("none",),
        "functions": ([],),
        "logit_bias": ({},),
        "logprobs": (False,),
        "modalities": (["text"],),
        "n": (1,),
        "moderation": (),
        "parallel_tool_calls": (True, False),
        "prediction": (),
        "presence_penalty": (0,),
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

    informational: ClassVar = Request.informational | {
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    }

    messages: Annotated[list[Message], Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    stop: NonEmpty | Annotated[list[NonEmpty], Field(max_length=4)] = Field(default=[])
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    webhook_url: str | None = None

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
    def stops(self) -> list[str]:
        """Stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop)

    def sampling(self, call: Call) -> Sampling:
        """The request's sampling, the model's defaults where it says nothing."""

        def pick(name: str, fallback: Any) -> Any:
            given = getattr(self, name)
            return call.default(name, fallback) if given is None else given

        return Sampling(
            max_tokens=self.max_completion_tokens or pick("max_tokens", None),
            temperature=pick("temperature", 1.0),
            top_p=pick("top_p", 1.0),
            top_k=pick("top_k", 0),
            min_p=pick("min_p", 0.0),
            repetition_penalty=pick("repetition_penalty", 1.0),
            seed=self.seed,
        )
