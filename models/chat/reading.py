"""An answer's text, read as it comes: what is said, what is thought, and what is called."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.chat.families import Family
from models.chat.request import Called, Piece, Said, Thought


class Reading:
    """Reads one answer.

    Nothing that is said is lost, but for white space around calls and thoughts.

    Args:
        family: how the model calls tools and thinks.
        prompt: the rendered conversation; a template, or the client, may begin the answer.
        tools: OpenAI's, that the model was told of; without any, nothing is a call.
        formed: whether a grammar holds the answer to calls or to a form: nothing is thought, and
            what spells a mark within a call is of its arguments.
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
            calls = {key: one for key, one in fields["tool_calls"].items() if key != "close"}
            fields["tool_calls"] = calls
        if formed:
            fields.pop("reasoning_content", None)
        self._family = family
        self._names = {tool["function"]["name"] for tool in tools}
        self._heard = ""  # of the answer, all
        self._raw = ""  # of what may be a call
        self._before = ""  # white space before it
        self._space = ""  # the end of what is said or thought, where that is white
        self._fresh = False  # whether the text has just become one of another kind
        self._called = False
        self._cut = False
        self._between = [one for one in (family.mark, family.after.strip()) if one]
        if family.listed:
            self._between += ["[", ",", "]"]
        head = r'\s*\{\s*"name"\s*:\s*"([^"]+)"\s*,\s*"%s"\s*:\s*(\{.*)'
        self._head = re.compile(head % family.arguments, re.DOTALL)
        self._again = 0  # characters to come that the prompt has said
        self._parser = ResponseParser({**family.response_template, "fields": fields}, prompt)
        list(self._read(self._parser.initial_events))
        self._space = ""
        # What may begin a mark is held back.
        self._again = len(self._parser._buffer) - self._parser._pos

    @property
    def thinks(self) -> bool:
        """Whether what comes is thought."""
        return bool(self._parser._current == "reasoning_content")

    def push(self, text: str) -> list[Piece]:
        """What further text brings."""
        self._heard += text
        return list(self._read(self._parser.feed(text)))

    def end(self, *, cut: bool = False) -> list[Piece]:
        """What was held back, at the end of the text; ``cut`` where more would have come.

        Of a call that is cut short comes what there is of its arguments, once its name is known.
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
        """Words, without the white space beside a call or a thought."""
        self._again, text = max(0, self._again - len(text)), text[self._again :]
        text = self._space + text
        told = text.rstrip()
        self._space = text[len(told) :]
        if told:
            yield kind(told.lstrip() if self._fresh else told)
            self._fresh = False

    def _calls(self, ended: bool) -> Iterator[Piece]:
        """The calls that were read; what is none is text, as the model wrote it."""
        values, rest = _values(self._raw, self._between)
        whole = [one for one in map(self._call, values) if one is not None]
        cut = ended and self._cut and bool(rest or not values)
        if len(whole) == len(values) and (cut or (values and not rest)):
            self._called = bool(whole)
            yield from whole
            begun = self._head.match(rest)
            if begun and begun[1] in self._names:
                yield Called(begun[1], begun[2], cut=True)
            return
        self._fresh = False
        if mark := self._family.mark:
            closed = "" if ended else self._family.after.strip()
            yield Said(f"{self._before}{mark}{self._raw}{closed}")
        else:
            yield Said(self._heard)

    def _call(self, value: Any) -> Called | None:
        if not isinstance(value, dict):
            return None
        name, arguments = value.get("name"), value.get(self._family.arguments)
        if not (isinstance(name, str) and name in self._names and isinstance(arguments, dict)):
            return None
        text = _dumped(arguments)
        return None if text is None else Called(name, text)


def _values(text: str, between: Sequence[str]) -> tuple[list[Any], str]:
    """The JSON values that a text begins with, and the rest of it.

    A list counts as its elements. ``between`` is what may stand around values.
    """
    decoder, found, rest = json.JSONDecoder(parse_constant=_none), list[Any](), text.strip()
    while rest:
        mark = next((one for one in between if rest.startswith(one)), None)
        if mark is not None:
            rest = rest[len(mark) :].lstrip()
            continue
        try:
            value, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError):
            break
        found += value if isinstance(value, list) else [value]
        rest = rest[end:].lstrip()
    return found, rest


def _none(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _dumped(value: Any) -> str | None:
    """A value as JSON; None where it holds a number that JSON has no word for (1e999)."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:  # half of a character is one as an escape only
        return json.dumps(value)
    except (ValueError, RecursionError):
        return None
    return text
