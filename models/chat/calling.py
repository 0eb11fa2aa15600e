"""How a family of chat models calls tools: what it is told, and the grammars of its calls."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

_SHORT_ID = 9  # characters of a call's id, in Mistral's templates


@dataclass(frozen=True)
class Named:
    """A call that is a name and then its arguments, as opposed to one object.

    Attributes:
        before, between, after: what stands around the name and the arguments.
        pattern: of what stands before the arguments, with a group ``name``.
    """

    before: str
    between: str
    after: str
    pattern: str


@dataclass(frozen=True)
class Family:
    """How a family of models calls tools.

    Attributes:
        response_template: of transformers' ``ResponseParser``; its field ``tool_calls`` is the
            text of one call or of a list of them, ``reasoning_content`` what was thought; a model
            without one of them does not do that.
        before, after: what stands around a call, or around all of them.
        special: tokens by which calls and thoughts are known, where they are special ones.
        arguments: the key of a call's arguments.
        named: how a call is written that is no object.
        listed: whether several calls form one list.
        grouped: whether ``before`` and ``after`` stand around all calls together.
        joint: what stands between two calls that form no list.
        separators: what may stand between calls that are read, besides ``before`` and ``after``.
        thought: the rule of a strict grammar for what precedes a call or an answer.
        prompt: instructions about tools, if the model's own template has none.
        alternates: whether the template wants turns of user and assistant by turns, and no others.
        short_ids: whether the template wants ids of nine letters and digits.
    """

    response_template: Mapping[str, Any]
    before: str
    after: str
    special: frozenset[str] = frozenset()
    arguments: str = "arguments"
    named: Named | None = None
    listed: bool = False
    grouped: bool = False
    joint: str = "\n"
    separators: tuple[str, ...] = ()
    thought: str | None = None
    prompt: str | None = None
    alternates: bool = False
    short_ids: bool = False

    def told(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> Sequence[Mapping[str, Any]]:
        """Return the messages, with what the model's own template would leave out."""
        if self.short_ids:
            return [_with_short_ids(message) for message in messages]
        if self.prompt is None:
            return messages
        plain = [self._plain(message) for message in messages]
        if tools:
            functions = [tool["function"] for tool in tools]
            text = self.prompt.replace("{tools}", json.dumps(list(tools), ensure_ascii=False))
            text = text.replace("{functions}", json.dumps(functions, ensure_ascii=False))
            if plain[0]["role"] == "system":
                plain[0] = {**plain[0], "content": f"{plain[0]['content']}\n\n{text}"}
            else:
                plain = [{"role": "system", "content": text}, *plain]
        return _alternating(plain) if self.alternates else plain

    def _plain(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return a message as text only: calls in the model's format, results in words."""
        content = message.get("content") or ""
        if message["role"] == "tool":
            # In words: small models repeat special markers.
            return {"role": "user", "content": f"The function answered: {content}"}
        functions = [call["function"] for call in message.get("tool_calls") or ()]
        if functions:
            calls = [(function["name"], function["arguments"]) for function in functions]
            content = f"{content}{self.written(calls)}"
        return {"role": message["role"], "content": content}

    def written(self, calls: Sequence[tuple[str, Any]]) -> str:
        """Return calls, each a name and arguments, as the model writes them."""
        texts = [
            f"{self._head(name)}{json.dumps(arguments, ensure_ascii=False)}{self._tail}"
            for name, arguments in calls
        ]
        if self.listed:
            return f"{self.before}[{', '.join(texts)}]{self.after}"
        if self.grouped:
            return f"{self.before}{self.joint.join(texts)}{self.after}"
        between = f"{self.after}{self.joint if self.named else ''}{self.before}"
        return f"{self.before}{between.join(texts)}{self.after}"

    def forced(self, tools: Sequence[Mapping[str, Any]], *, several: bool) -> str:
        """Return a grammar of one call of these tools, or of several, in llguidance's Lark."""
        return f"start: calls\n{self._calls(tools, several)}"

    def strict(self, tools: Sequence[Mapping[str, Any]], *, several: bool) -> str:
        """Return a grammar of any text in which whatever begins like a call is a valid call."""
        calls = self._calls(tools, several)
        if not self.mark:
            other = r"TEXT: /[^{\s](?s:.*)/"
            return f"start: TEXT | calls\n{other}\n{calls}"
        mark = json.dumps(self.mark)
        anything = f"/(?s:.*){re.escape(self.mark)}(?s:.*)/"
        if self.thought is not None:
            text = f"TEXT: /(?s:.+)/ & ~{anything}"
            return f"start: TEXT | thought* (final | calls)\n{text}\n{self.thought}\n{calls}"
        return (
            f"start: TEXT | head rest\nTEXT: /(?s:.+)/ & ~{anything}\n"
            f"head[suffix={mark}]: /(?s:.*)/\n{calls}"
        )

    def instead(self, tools: Sequence[Mapping[str, Any]], schema: str, *, several: bool) -> str:
        """Return a grammar of calls, or of an answer that matches a JSON Schema."""
        return f"start: calls | answer\nanswer: %json {schema}\n{self._calls(tools, several)}"

    @staticmethod
    def schema(function: Mapping[str, Any]) -> str:
        """Return the JSON Schema of a function's arguments, an object, as text."""
        return json.dumps({"type": "object", **(function.get("parameters") or {"properties": {}})})

    @staticmethod
    def rule(place: int) -> str:
        """Return the name of the rule for the arguments of the function at an index."""
        return f"arguments{place}"

    @property
    def thinks(self) -> bool:
        """Whether such models may reason before they answer."""
        return "reasoning_content" in self.response_template["fields"]

    @property
    def calls(self) -> bool:
        """Whether it calls tools in a form that is read here."""
        return "tool_calls" in self.response_template["fields"]

    @property
    def mark(self) -> str:
        """The text that begins a call."""
        return self.before.strip()

    @property
    def head_pattern(self) -> str:
        """A pattern of what stands before a call's arguments, with a group ``name``."""
        if self.named is not None:
            return self.named.pattern
        return rf'\{{\s*"name"\s*:\s*"(?P<name>[^"]+)"\s*,\s*"{self.arguments}"\s*:\s*'

    def _head(self, name: str) -> str:
        """Return what stands before the arguments of a call."""
        if self.named is not None:
            return f"{self.named.before}{name}{self.named.between}"
        return f'{{"name": {json.dumps(name)}, "{self.arguments}": '

    @property
    def _tail(self) -> str:
        return "}" if self.named is None else self.named.after

    def _calls(self, tools: Sequence[Mapping[str, Any]], several: bool) -> str:
        """Return the rules of ``call`` and ``calls``; ``rest`` is what follows the first mark."""
        rules = [f"call: {' | '.join(f'call{index}' for index in range(len(tools)))}"]
        for index, tool in enumerate(tools):
            function = tool["function"]
            head, tail = _literal(self._head(function["name"])), _literal(self._tail)
            # A separate rule: "#" in a schema refers to the schema itself.
            rules.append(f"call{index}: {head} {self.rule(index)} {tail}")
            rules.append(f"{self.rule(index)}: %json {self.schema(function)}")
        call = "\n".join(rules)
        if not self.mark:
            return f"calls: call\n{call}"
        mark, space = _literal(self.mark), _literal(self.before[len(self.mark) :])
        after = _literal(self.after)
        if self.listed or self.grouped:
            joint = _literal(", " if self.listed else self.joint)
            more = f" ({joint} call)*" if several else ""
            first, last = ('"["', '"]"') if self.listed else ("", "")
            body = f"{space} {first} call{more} {last} {after}"
        else:
            again = f" ({_literal(self.joint)} {mark} {space} call {after})*" if several else ""
            body = f"{space} call {after}{again}"
        return f"calls: {mark} rest\nrest: {body}\n{call}"


def _literal(text: str) -> str:
    """Return a text as a literal of a grammar; nothing for no text."""
    return json.dumps(text) if text else ""


def _alternating(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return turns of user and assistant by turns: instructions begin the user's first one."""
    made: list[dict[str, Any]] = []
    for message in messages:
        turn = {**message, "role": "user" if message["role"] == "system" else message["role"]}
        if made and made[-1]["role"] == turn["role"]:
            turn["content"] = _joined(made.pop()["content"], turn["content"])
        made.append(turn)
    return made


def _joined(first: Any, second: Any) -> Any:
    """Join the contents of two turns, each a text or a list of parts."""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    lists = [
        [{"type": "text", "text": content}] if isinstance(content, str) else content
        for content in (first, second)
    ]
    return [*lists[0], *lists[1]]


def _with_short_ids(message: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(message)
    if "tool_call_id" in made:
        made["tool_call_id"] = _short(made["tool_call_id"])
    if made.get("tool_calls"):
        made["tool_calls"] = [{**call, "id": _short(call["id"])} for call in made["tool_calls"]]
    return made


def _short(name: str) -> str:
    """Return an id of nine letters and digits; the same for the same id."""
    fits = len(name) == _SHORT_ID and name.isascii() and name.isalnum()
    return name if fits else sha256(name.encode()).hexdigest()[:_SHORT_ID]
