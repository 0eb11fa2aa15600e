"""The messages of a conversation, as OpenAI has them and as chat templates know them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict

from handler.contract.chat.parts import IMAGE, ContentPart, FilePart, ImagePart, TextPart
from handler.contract.chat.pictures import Reference
from handler.contract.chat.tool_calls import ToolCall
from handler.contract.request import Items, NonEmpty, Text, refuse_unsupported
from handler.contract.unsupported import Unsupported
from models.errors import InvalidValue, UnsupportedParameter

MAX_MESSAGES = 10_000
MAX_PARTS = 1000  # of a message
MAX_ALL_PARTS = 20_000  # and calls of all messages: each is an object of half a kilobyte
MAX_CALLS = 128  # of a message
_NO_SOUND = "no model here hears; write it down first: POST /v1/audio/transcriptions"
_NO_VIDEO = "send text or image_url parts"
_NO_FILE = "no files are kept here; send file_data"


class Message(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[ContentPart], Items(MAX_PARTS, least=1)] | None = None
    refusal: Text | None = None
    name: NonEmpty | None = None
    tool_calls: Annotated[list[ToolCall], Items(MAX_CALLS)] | None = None
    tool_call_id: NonEmpty | None = None
    reasoning_content: Text | None = None

    def check(self, path: str) -> None:
        """Whether its fields go together.

        Raises:
            InvalidValue: they do not.
        """
        if self.content is None and not self.tool_calls and self.refusal is None:
            null = "content" in self.model_fields_set
            wrong = "content", "must be a text or a list of parts"
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

    def references(self, path: str) -> list[Reference]:
        """The pictures of the turn, in their order."""
        if self.content is None or isinstance(self.content, str):
            return []
        return [
            part.reference(f"{path}.content[{at}]")
            for at, part in enumerate(self.content)
            if isinstance(part, ImagePart | FilePart)
        ]

    def turns(self, further: int, counts: Iterator[int]) -> list[dict[str, Any]]:
        """The turn as chat templates know it, and what they have no place for within it.

        Args:
            further: pictures that come before the turn's own content.
            counts: of the pictures of each reference, a PDF's pages; as many as are used are taken.
        """
        content = self.content or self.refusal or ""
        if isinstance(content, str):
            content = [TextPart(type="text", text=content)] if content else []
        parts = [IMAGE] * further
        for part in content:
            seen = isinstance(part, ImagePart | FilePart)
            parts += [IMAGE] * next(counts) if seen else [{"type": "text", "text": part.text}]
        if self.role != "tool" or IMAGE not in parts:
            return [self._turn(parts)]
        # A template writes what a call gave as text.
        pictures = [part for part in parts if part is IMAGE]
        texts_alone = [part for part in parts if part is not IMAGE]
        return [self._turn(texts_alone), {"role": "user", "content": pictures}]

    def _turn(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The turn: OpenAI's ``developer`` is templates' ``system``."""
        seen = IMAGE in parts
        content = list(parts) if seen else "".join(str(part["text"]) for part in parts)
        turn: dict[str, Any] = {
            "role": "system" if self.role == "developer" else self.role,
            "content": content,
        }
        for field in ("name", "tool_call_id", "reasoning_content"):
            if (value := getattr(self, field)) is not None:
                turn[field] = value
        if self.tool_calls:
            turn["tool_calls"] = [call.plain() for call in self.tool_calls]
        return turn


_UNSUPPORTED: dict[str, Unsupported] = {
    "audio": Unsupported(instead="send its transcript as content"),
    "function_call": Unsupported(instead="send tool_calls"),
}


def check(messages: object) -> None:
    """Refuse by name what no model here reads, before anything else is said of it.

    What is no list of messages, or too long a one, is left to validation.

    Raises:
        UnsupportedParameter: a message holds a sound, a file, or a field of old.
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
    instead = {"input_audio": _NO_SOUND, "audio_url": _NO_SOUND, "video_url": _NO_VIDEO}.get(
        kind if isinstance(kind, str) else ""
    )
    if instead is not None:
        raise UnsupportedParameter(f"{param}: {kind} is not supported; {instead}.", param=param)
    file = part.get("file") if isinstance(part, dict) and kind == "file" else None
    if isinstance(file, dict) and file.get("file_id") and not file.get("file_data"):
        raise UnsupportedParameter(f"{param}: file_id is not supported; {_NO_FILE}.", param=param)
