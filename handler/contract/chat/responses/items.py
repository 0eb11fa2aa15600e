"""The items of an input, as the messages of a chat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.errors import InvalidValue, UnsupportedParameter

_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}


def is_one_turn(before: Mapping[str, Any], message: Mapping[str, Any]) -> bool:
    """Join the assistant's text and calls, several items here, into one message of a chat."""
    return before["role"] == "assistant" and "tool_calls" in message


def messages(items: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Chat's messages for the items of an input: messages, calls, and what calls gave."""
    for index, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "message":
            content = _content(item, "content", index)
            yield index, {"role": item.get("role"), "content": content}
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            yield index, {"role": "assistant", "content": None, "tool_calls": [call]}
        elif kind == "function_call_output":
            output = _content(item, "output", index)
            told = {"role": "tool", "content": output, "tool_call_id": item.get("call_id")}
            yield index, told
        elif kind != "reasoning":  # of an earlier answer; a model is not told what it thought
            raise InvalidValue(
                f"input[{index}].type must be message, function_call or function_call_output.",
                param=f"input[{index}].type",
            )


def _content(item: Mapping[str, Any], field: str, index: int) -> Any:
    """Text, or the parts of it and the pictures between them."""
    content = item.get(field)
    if not isinstance(content, list):
        return content
    parts = [_part(part, f"input[{index}].{field}[{at}]") for at, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Any, param: str) -> dict[str, Any]:
    """A part as chat has it."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    text = part.get(_TEXTS[kind]) if isinstance(kind, str) and kind in _TEXTS else None
    if isinstance(text, str):
        return {"type": "text", "text": text}
    if kind == "input_image" and isinstance(part.get("image_url"), str) and part["image_url"]:
        picture = {"url": part["image_url"], "detail": part.get("detail")}
        return {"type": "image_url", "image_url": picture}
    address = part.get("file_data") or part.get("file_url") if kind == "input_file" else None
    if isinstance(address, str):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "file", "file": {"file_data": address, **detail}}
    if kind in ("input_image", "input_file") and part.get("file_id"):
        instead = "image_url" if kind == "input_image" else "file_data or file_url"
        raise UnsupportedParameter(
            f"{param}.file_id is not supported: no files are kept here; send {instead}.",
            param=f"{param}.file_id",
        )
    raise InvalidValue(
        f"{param} must be a text part, an image with an image_url, or a file with file_data or "
        "file_url.",
        param=param,
    )
