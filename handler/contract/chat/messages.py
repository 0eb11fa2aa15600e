"""The messages of a conversation, as OpenAI has them and as chat templates know them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict

from handler.contract.request import Items, NonEmpty, Text, Unsupported, refuse_unsupported
from models.errors import InvalidValue, UnsupportedParameter

MAX_MESSAGES = 10_000
MAX_PARTS = 1000  # of a message
MAX_ALL_PARTS = 20_000  # and calls of all messages: each is an object of half a kilobyte
MAX_CALLS = 128  # of a message
_TEXT_ONLY = "this model reads text; send text parts alone"


class TextPart(BaseModel):
    """A part of a message's content; only text is understood."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: Text


class Function(BaseModel):
    """What was called, and with what: ``arguments`` are a JSON object, as text."""

    model_config = ConfigDict(strict=True)

    name: NonEmpty
    arguments: Text


class Call(BaseModel):
    """A call that the assistant made earlier."""

    model_config = ConfigDict(strict=True)

    id: NonEmpty
    type: Literal["function"] = "function"
    function: Function

    def plain(self, path: str) -> dict[str, Any]:
        """The call as chat templates know it: with arguments that are an object."""
        try:
            arguments = json.loads(self.function.arguments or "{}")
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            raise InvalidValue(
                f"{path}.function.arguments must be a JSON object, as text.",
                param=f"{path}.function.arguments",
            )
        function = {"name": self.function.name, "arguments": arguments}
        return {"type": "function", "id": self.id, "function": function}


class Message(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[TextPart], Items(MAX_PARTS, least=1)] | None = None
    name: NonEmpty | None = None
    tool_calls: Annotated[list[Call], Items(MAX_CALLS)] | None = None
    tool_call_id: NonEmpty | None = None
    reasoning_content: Text | None = None

    def check(self, path: str) -> None:
        """Whether its fields go together.

        Raises:
            InvalidValue: they do not.
        """
        if self.content is None and not self.tool_calls:
            null = "content" in self.model_fields_set
            wrong = "content", "must be a text or a list of text parts"
            code = "invalid_type" if null else "missing_required_parameter"
        elif self.tool_calls and self.role != "assistant":
            wrong, code = ("tool_calls", "belong in a message of the assistant"), "invalid_value"
        elif self.role == "tool" and self.tool_call_id is None:
            wrong = "tool_call_id", "is required in a message of role tool"
            code = "missing_required_parameter"
        else:
            return
        param = f"{path}.{wrong[0]}"
        raise InvalidValue(f"{param} {wrong[1]}.", param=param, code=code)

    def plain(self, path: str) -> dict[str, Any]:
        """The turn as chat templates know it: OpenAI's ``developer`` is their ``system``."""
        content = self.content or ""
        if not isinstance(content, str):
            content = "".join(part.text for part in content)
        turn: dict[str, Any] = {
            "role": "system" if self.role == "developer" else self.role,
            "content": content,
        }
        for field in ("name", "tool_call_id", "reasoning_content"):
            if (value := getattr(self, field)) is not None:
                turn[field] = value
        if self.tool_calls:
            calls = enumerate(self.tool_calls)
            turn["tool_calls"] = [call.plain(f"{path}.tool_calls[{at}]") for at, call in calls]
        return turn


_UNSUPPORTED: dict[str, Unsupported] = {
    "audio": Unsupported(instead=_TEXT_ONLY),
    "function_call": Unsupported(instead="send tool_calls"),
    "refusal": Unsupported(instead="send it as content"),
}


def check(messages: object) -> None:
    """Refuse by name what no model here reads, before anything else is said of it.

    What is no list of messages, or too long a one, is left to validation.

    Raises:
        UnsupportedParameter: a message holds a picture, a sound, or a field of old.
        InvalidValue: the messages have too many parts and calls together.
    """
    if not isinstance(messages, list) or len(messages) > MAX_MESSAGES:
        return
    count = 0
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        named = {name: f"messages[{index}].{name}" for name in _UNSUPPORTED}
        refuse_unsupported(message, _UNSUPPORTED, named)
        parts, calls = (_listed(message.get(name)) for name in ("content", "tool_calls"))
        count += len(parts) + len(calls)
        if count > MAX_ALL_PARTS:
            raise InvalidValue(
                f"messages may have {MAX_ALL_PARTS} parts and calls together; got more.",
                param="messages",
            )
        for at, part in enumerate(parts):
            _check_part(part, f"messages[{index}].content[{at}]")


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _check_part(part: object, param: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("image_url", "input_audio", "file", "video_url"):
        raise UnsupportedParameter(f"{param}: {kind} is not supported; {_TEXT_ONLY}.", param=param)
