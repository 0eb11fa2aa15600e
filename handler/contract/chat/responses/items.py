"""The items of an input, as the messages of a chat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.errors import InvalidValue

_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}


def is_one_turn(before: Mapping[str, Any], message: Mapping[str, Any]) -> bool:
    """What the assistant says and calls is one message of a chat, and several items here."""
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
    """Text, or the texts of its parts."""
    content = item.get(field)
    if not isinstance(content, list):
        return content
    texts: list[str] = []
    for at, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get(_TEXTS[kind]) if isinstance(kind, str) and kind in _TEXTS else None
        if not isinstance(text, str):
            raise InvalidValue(
                f"input[{index}].{field}[{at}] must be a text part; this model reads text.",
                param=f"input[{index}].{field}[{at}]",
            )
        texts.append(text)
    return "".join(texts)
