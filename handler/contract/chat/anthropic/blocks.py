"""Turns and their content blocks, as the messages of a chat."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from handler.contract.chat.anthropic.turns import Turn
from models.errors import InvalidValue, UnsupportedParameter, shorten

# The first block of Claude Code's system prompt: another one with every request, so that no prefix
# of the prompt would be found in the cache. It is no text for a model.
_BILLING = "x-anthropic-billing-header:"
_ROLES = ("user", "assistant", "system")


def system_text(system: str | Sequence[Mapping[str, Any]]) -> str:
    """Return a system prompt as one text.

    Raises:
        InvalidValue: a block is not text.
    """
    if isinstance(system, str):
        return system
    texts = [_text_of(block, f"system[{at}]") for at, block in enumerate(system)]
    return "\n".join(text for text in texts if not text.startswith(_BILLING))


def cited(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the field of each document that asks for citations."""
    for index, message in enumerate(messages):
        content = message.get("content")
        for at, block in enumerate(content if isinstance(content, list) else ()):
            wish = block.get("citations") if isinstance(block, dict) else None
            if isinstance(wish, dict) and wish.get("enabled") is True:
                yield f"messages[{index}].content[{at}].citations"


def turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    """Yield chat's messages for Anthropic's.

    Raises:
        InvalidValue: a turn or a block is not of a known form.
        UnsupportedParameter: a block is of a kind that no model here reads.
    """
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        role, content = message.get("role"), message.get("content")
        if role not in _ROLES:
            raise InvalidValue(
                f"{path}.role must be one of {', '.join(_ROLES)}.", param=f"{path}.role"
            )
        if isinstance(content, list) and content:
            within = _assistant if role == "assistant" else _user
            yield from within(role, path, content)
        elif isinstance(content, str | list):
            yield Turn({"role": role, "content": content or ""}, path)
        else:
            raise InvalidValue(
                f"{path}.content must be a text or a list of content blocks.",
                param=f"{path}.content",
                code="missing_required_parameter" if content is None else "invalid_type",
            )


def _user(role: str, path: str, blocks: Sequence[Any]) -> Iterator[Turn]:
    """Yield what calls gave as messages of their own, and the other blocks between them."""
    turn = Turn({"role": role, "content": []}, path)
    for at, block in enumerate(blocks):
        where = f"{path}.content[{at}]"
        if _kind(block, where) != "tool_result":
            _add_parts(turn, block, where)
            continue
        if turn.parts:
            yield turn
        turn = Turn({"role": role, "content": []}, path)
        yield _result(block, where)
    if turn.parts:
        yield turn


def _result(block: Mapping[str, Any], path: str) -> Turn:
    """Return what a call gave as chat's message."""
    message = {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": ""}
    turn, content = Turn(message, path), block.get("content")
    inner = Turn({"content": []}, path)
    if isinstance(content, list):
        for at, one in enumerate(content):
            _add_parts(inner, one, f"{path}.content[{at}]")
    elif isinstance(content, str):
        inner.message["content"] = [{"type": "text", "text": content}]
    elif content is not None:
        raise InvalidValue(
            f"{path}.content must be a text or a list of content blocks.",
            param=f"{path}.content",
            code="invalid_type",
        )
    parts = inner.message["content"]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    if block.get("is_error") is True and "error" not in text[:40].lower():
        text = f"Error: {text}"
    message["content"] = text
    pictures = [at for at, part in enumerate(parts) if part["type"] != "text"]
    if pictures:
        message["content"] = [{"type": "text", "text": text}, *(parts[at] for at in pictures)]
        turn.parts = [path, *(inner.parts[at] for at in pictures)]
    return turn


def _assistant(role: str, path: str, blocks: Sequence[Any]) -> Iterator[Turn]:
    """Yield an answer of before as one message."""
    turn = Turn({"role": role, "content": []}, path)
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for at, block in enumerate(blocks):
        where = f"{path}.content[{at}]"
        kind = _kind(block, where)
        if kind == "tool_use":
            calls.append(_call(block, where))
            turn.calls.append(where)
        elif kind == "thinking":
            thoughts.append(_string(block, "thinking", where))
        elif kind != "redacted_thinking":  # nobody here can read it
            _add_parts(turn, block, where)
    texts = [part["text"] for part in turn.message["content"] if part["type"] == "text"]
    if len(texts) == len(turn.parts):
        turn.message["content"] = "".join(texts)
    if thoughts:
        turn.message["reasoning_content"] = "\n".join(thoughts)
    if calls:
        turn.message["tool_calls"] = calls
    yield turn


def _call(block: Mapping[str, Any], path: str) -> dict[str, Any]:
    given = block.get("input")
    if not isinstance(given, dict):
        raise InvalidValue(
            f"{path}.input must be an object.", param=f"{path}.input", code="invalid_type"
        )
    try:
        arguments = json.dumps(given, ensure_ascii=False)
    except RecursionError:
        raise InvalidValue(f"{path}.input is nested too deeply.", param=f"{path}.input") from None
    function = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _add_parts(turn: Turn, block: Any, path: str) -> None:
    """Add what a block says to a turn.

    Raises:
        InvalidValue: it is not of the form that its type has.
        UnsupportedParameter: no model here reads blocks of its type.
    """
    kind = _kind(block, path)
    if kind not in _READ:
        raise UnsupportedParameter(
            f"{path}: {shorten(kind)} blocks are not read here; send text or image.", param=path
        )
    for part in _READ[kind](block, path):
        turn.message["content"].append(part)
        turn.parts.append(path)


def _text(block: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": _string(block, "text", path)}]


def _image(block: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    source = _source(block, path)
    where = f"{path}.source"
    if source.get("type") == "base64":
        kind, data = source.get("media_type"), _string(source, "data", where)
        kind = kind if isinstance(kind, str) else "image/png"
        return [{"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}]
    if source.get("type") == "url":
        return [{"type": "image_url", "image_url": {"url": _string(source, "url", where)}}]
    raise UnsupportedParameter(
        f"{where}: no files are kept here; send a source of type base64 or url.", param=where
    )


def _document(block: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """Return a document: its title and context, then its text, or its pages as a file."""
    source, where = _source(block, path), f"{path}.source"
    heads = [block[name] for name in ("title", "context") if isinstance(block.get(name), str)]
    made = [{"type": "text", "text": f"{head}\n"} for head in heads if head]
    if source.get("type") == "text":
        return [*made, {"type": "text", "text": _string(source, "data", where)}]
    content = source.get("content")
    if source.get("type") == "content" and isinstance(content, str):
        return [*made, {"type": "text", "text": content}]
    if source.get("type") == "content" and isinstance(content, list):
        inner = Turn({"content": made}, where)
        for at, one in enumerate(content):
            _add_parts(inner, one, f"{where}.content[{at}]")
        return made
    kept = {"base64": "data", "url": "url"}.get(str(source.get("type")))
    if kept is None:
        raise UnsupportedParameter(
            f"{where}: no files are kept here; send a source of type base64, url, text or content.",
            param=where,
        )
    return [*made, {"type": "file", "file": {"file_data": _string(source, kept, where)}}]


def _search_result(block: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    content = block.get("content")
    heads = [block[name] for name in ("title", "source") if isinstance(block.get(name), str)]
    inner = Turn({"content": [{"type": "text", "text": f"{head}\n"} for head in heads]}, path)
    for at, one in enumerate(content if isinstance(content, list) else ()):
        _add_parts(inner, one, f"{path}.content[{at}]")
    parts: list[dict[str, Any]] = inner.message["content"]
    return parts


_READ: Mapping[str, Callable[[Mapping[str, Any], str], list[dict[str, Any]]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
}


def _kind(block: Any, path: str) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str):
        raise InvalidValue(f"{path} must be a content block with a type.", param=path)
    return kind


def _source(block: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    source = block.get("source")
    if not isinstance(source, dict):
        raise InvalidValue(
            f"{path}.source must be an object.", param=f"{path}.source", code="invalid_type"
        )
    return source


def _string(block: Mapping[str, Any], name: str, path: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise InvalidValue(
            f"{path}.{name} must be a string.",
            param=f"{path}.{name}",
            code="missing_required_parameter" if value is None else "invalid_type",
        )
    return value


def _text_of(block: Any, path: str) -> str:
    if _kind(block, path) != "text":
        raise InvalidValue(f"{path} must be a text block.", param=path)
    return _string(block, "text", path)
