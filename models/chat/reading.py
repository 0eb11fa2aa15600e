"""Split an answer's text, as it is generated, into text, reasoning and tool calls."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from models.chat.calling import Family
from models.chat.request import Called, Piece, Said, Thought


class Reading:
    """Reads one answer.

    No text is lost, except white space around calls and reasoning.

    Args:
        family: how the model calls tools and marks reasoning.
        prompt: the rendered conversation; the template or the client may begin the answer in it.
        tools: the tools in the prompt, in OpenAI's format; without any, nothing is a call.
        formed: whether a grammar restricts the answer to calls or to a schema. Then there is no
            reasoning, and a mark inside a call belongs to its arguments.
    """

    def __init__(
        self,
        family: Family,
        prompt: str,
        tools: Sequence[Mapping[str, Any]],
        *,
        formed: bool = False,
    ) -> None:
        from transformers.utils.chat_parsing import ResponseParser

        fields = dict(family.response_template["fields"])
        if not tools:
            fields.pop("tool_calls", None)
        elif formed:
            calls = {key: rule for key, rule in fields["tool_calls"].items() if key != "close"}
            fields["tool_calls"] = calls
        if formed:
            fields.pop("reasoning_content", None)
        self._family = family
        self._names = {tool["function"]["name"] for tool in tools}
        self._heard = ""  # the answer so far
        self._raw = ""  # text that may be a call
        self._before = ""  # white space before that text
        self._space = ""  # trailing white space of text or reasoning
        self._fresh = False  # whether a new kind of text has just begun
        self._called = False
        self._cut = False
        self._between = [mark for mark in (family.mark, family.after.strip()) if mark]
        self._between += family.separators
        if family.listed:
            self._between += ["[", ",", "]"]
        self._head = re.compile(family.head_pattern)
        self._again = 0  # characters to skip, because the prompt contains them
        self._parser = ResponseParser({**family.response_template, "fields": fields}, prompt)
        list(self._read(self._parser.initial_events))
        self._space = ""
        # The parser holds back what may be the beginning of a mark.
        self._again = len(self._parser._buffer) - self._parser._pos

    @property
    def thinks(self) -> bool:
        """Whether the next text belongs to the reasoning."""
        return bool(self._parser._current == "reasoning_content")

    def push(self, text: str) -> list[Piece]:
        """Return the pieces that further text completes."""
        self._heard += text
        return list(self._read(self._parser.feed(text)))

    def end(self, *, cut: bool = False) -> list[Piece]:
        """Return the pieces that were held back; ``cut`` says that the answer is incomplete.

        If a call is cut short and its name is known, the arguments so far are returned.
        """
        self._cut = cut
        pieces = list(self._read(self._parser.finalize()[1], ended=True))
        if self._space and not self._fresh and not self._called:
            pieces.append(Said(self._space))
        return pieces

    def _read(self, events: Sequence[Mapping[str, Any]], *, ended: bool = False) -> Iterator[Piece]:
        for event in events:
            field, kind = event["field"], event["type"]
            if kind == "region_chunk":
                if field == "tool_calls":
                    self._raw += event["text"]
                else:
                    yield from self._words(Said if field == "content" else Thought, event["text"])
            elif field != "content":
                before = self._space
                self._space, self._fresh, self._again = "", True, 0
                if field == "tool_calls" and kind == "region_open":
                    self._raw, self._before = "", before
                elif field == "tool_calls":
                    yield from self._calls(ended)

    def _words(self, kind: type[Said | Thought], text: str) -> Iterator[Piece]:
        """Yield a piece of text, without the white space beside a call or reasoning."""
        self._again, text = max(0, self._again - len(text)), text[self._again :]
        text = self._space + text
        visible = text.rstrip()
        self._space = text[len(visible) :]
        if visible:
            yield kind(visible.lstrip() if self._fresh else visible)
            self._fresh = False

    def _calls(self, ended: bool) -> Iterator[Piece]:
        """Yield the calls in the text so far; text that is no valid call is yielded unchanged."""
        named = None if self._family.named is None else self._named
        values, rest = _values(self._raw, self._between, named)
        whole = [call for call in map(self._call, values) if call is not None]
        cut = ended and self._cut and bool(rest or not values)
        if len(whole) == len(values) and (cut or (values and not rest)):
            self._called = bool(whole)
            yield from whole
            begun = self._head.match(rest)
            arguments = rest[begun.end() :] if begun else ""
            if begun and begun["name"] in self._names and arguments.startswith("{"):
                yield Called(begun["name"], arguments, cut=True)
            return
        self._fresh = False
        if mark := self._family.mark:
            closed = "" if ended else self._family.after.strip()
            yield Said(f"{self._before}{mark}{self._raw}{closed}")
        else:
            yield Said(self._heard)

    def _named(self, text: str) -> tuple[str, str] | None:
        """Return the name of the call that a text begins with, and what follows it."""
        begun = self._head.match(text)
        return None if begun is None else (begun["name"].strip(), text[begun.end() :])

    def _call(self, value: Any) -> Called | None:
        if not isinstance(value, dict):
            return None
        name, arguments = value.get("name"), value.get(self._family.arguments)
        if not (isinstance(name, str) and name in self._names and isinstance(arguments, dict)):
            return None
        text = _dumped(arguments)
        return None if text is None else Called(name, text)


def _values(
    text: str,
    between: Sequence[str],
    named: Callable[[str], tuple[str, str] | None] | None = None,
) -> tuple[list[Any], str]:
    """Return the JSON values at the beginning of a text, and the remaining text.

    The elements of a list count as separate values. ``between`` lists what may separate values.
    With ``named``, each value is the arguments of a call, behind its name.
    """
    decoder, values, rest = json.JSONDecoder(parse_constant=_none), list[Any](), text.strip()
    while rest:
        mark = next((mark for mark in between if rest.startswith(mark)), None)
        if mark is not None:
            rest = rest[len(mark) :].lstrip()
            continue
        head = ("", rest) if named is None else named(rest)
        if head is None:
            break
        try:
            value, end = decoder.raw_decode(head[1])
        except (ValueError, RecursionError):
            break
        if named is not None:
            values.append({"name": head[0], "arguments": value})
            rest = head[1][end:].lstrip()
            continue
        values += value if isinstance(value, list) else [value]
        rest = rest[end:].lstrip()
    return values, rest


def _none(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _dumped(value: Any) -> str | None:
    """Return a value as JSON; None if it contains a number that JSON cannot express (1e999)."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:  # JSON can express an unpaired surrogate as an escape only
        return json.dumps(value)
    except (ValueError, RecursionError):
        return None
    return text
