"""An answer's text, read as it comes: what is said, what is thought, and what is called."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.chat.families import Family
from models.chat.request import Called, Piece, Said, Thought


class Reading:
    """Reads one answer.

    Args:
        family: how the model calls tools and thinks.
        prompt: the rendered conversation; a template may begin the answer.
        tools: OpenAI's, that the model was told of; without any, nothing is a call.
    """

    def __init__(self, family: Family, prompt: str, tools: Sequence[Mapping[str, Any]]) -> None:
        from transformers.utils.chat_parsing import ResponseParser

        fields = dict(family.response_template["fields"])
        if not tools:
            fields.pop("tool_calls", None)
        if "tool_calls" in fields:
            # What is no JSON comes back as text, instead of failing the answer.
            fields["tool_calls"] = {
                **fields["tool_calls"], "content_args": {"allow_non_json": True}
            }  # fmt: skip
        template = {**family.response_template, "fields": fields}
        self._arguments = family.arguments
        self._family = family
        self._names = {tool["function"]["name"] for tool in tools}
        self._parser = ResponseParser(template, prefix=prompt, tools=list(tools))
        self._raw = ""

    def push(self, text: str) -> list[Piece]:
        """What further text brings."""
        return list(self._read(self._parser.feed(text)))

    def end(self) -> list[Piece]:
        """What was held back, at the end of the text."""
        return list(self._read(self._parser.finalize()[1]))

    def _read(self, events: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
        for event in events:
            field, kind = event["field"], event["type"]
            if field == "tool_calls":
                if kind == "region_open":
                    self._raw = ""
                elif kind == "region_chunk":
                    self._raw += event["text"]
                else:
                    yield from self._calls(event["value"])
            elif kind == "region_chunk":
                yield Said(event["text"]) if field == "content" else Thought(event["text"])

    def _calls(self, value: Any) -> Iterator[Piece]:
        """The calls that were read; what is none is text, as the model wrote it."""
        calls = value if isinstance(value, list) else [value]
        if calls and all(self._is_call(one) for one in calls):
            for one in calls:
                arguments = json.dumps(one[self._arguments], ensure_ascii=False)
                yield Called(one["name"], arguments)
        else:
            yield Said(f"{self._family.before}{self._raw}{self._family.after}")

    def _is_call(self, value: Any) -> bool:
        return (
            isinstance(value, dict)
            and value.get("name") in self._names
            and isinstance(value.get(self._arguments), dict)
        )
