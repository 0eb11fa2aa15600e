"""Families of chat models, by how they call tools.

A catalog row names its family. transformers' ``ResponseParser`` reads an answer with the family's
template. If a call is forced, a grammar ensures the same format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """How a family of models calls tools.

    Attributes:
        response_template: of transformers' ``ResponseParser``; its field ``tool_calls`` is the
            text of one call or of a list of them, ``reasoning_content`` what was thought; a model
            without one of them does not do that.
        before, after: what stands around a call.
        special: tokens by which calls and thoughts are known, where they are special ones.
        arguments: the key of a call's arguments.
        listed: whether several calls form one list.
        prompt: instructions about tools, if the model's own template has none.
    """

    response_template: Mapping[str, Any]
    before: str
    after: str
    special: frozenset[str] = frozenset()
    arguments: str = "arguments"
    listed: bool = False
    prompt: str | None = None

    def told(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> Sequence[Mapping[str, Any]]:
        """Return the messages, with what the model's own template would leave out."""
        if self.prompt is None:
            return messages
        plain = [self._plain(message) for message in messages]
        if not tools:
            return plain
        text = self.prompt.replace("{tools}", json.dumps(list(tools), ensure_ascii=False))
        if plain[0]["role"] == "system":
            return [{**plain[0], "content": f"{plain[0]['content']}\n\n{text}"}, *plain[1:]]
        return [{"role": "system", "content": text}, *plain]

    def _plain(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return a message as text only: calls in the model's format, results in words."""
        content = message.get("content") or ""
        if message["role"] == "tool":
            # In words: small models repeat special markers.
            return {"role": "user", "content": f"The function answered: {content}"}
        calls = [self._call_text(call["function"]) for call in message.get("tool_calls") or ()]
        if calls:
            between = ", " if self.listed else f"{self.after}{self.before}"
            text = f"[{between.join(calls)}]" if self.listed else between.join(calls)
            content = f"{content}{self.before}{text}{self.after}"
        return {"role": message["role"], "content": content}

    def _call_text(self, function: Mapping[str, Any]) -> str:
        call = {"name": function["name"], self.arguments: function["arguments"]}
        return json.dumps(call, ensure_ascii=False)

    def forced(self, tools: Sequence[Mapping[str, Any]], *, several: bool) -> str:
        """Return a grammar of one call of these tools, or of several, in llguidance's Lark."""
        return f"start: calls\n{self._calls(tools, several)}"

    def strict(self, tools: Sequence[Mapping[str, Any]], *, several: bool) -> str:
        """Return a grammar of any text in which whatever begins like a call is a valid call."""
        if not self.mark:
            other = r"TEXT: /[^{\s](?s:.*)/"
            return f"start: TEXT | calls\n{other}\n{self._calls(tools, several)}"
        mark = json.dumps(self.mark)
        anything = f"/(?s:.*){re.escape(self.mark)}(?s:.*)/"
        return (
            f"start: TEXT | head rest\nTEXT: /(?s:.+)/ & ~{anything}\n"
            f"head[suffix={mark}]: /(?s:.*)/\n{self._calls(tools, several)}"
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

    def _calls(self, tools: Sequence[Mapping[str, Any]], several: bool) -> str:
        """Return the rules of ``call`` and ``calls``; ``rest`` is what follows the first mark."""
        rules = [f"call: {' | '.join(f'call{index}' for index in range(len(tools)))}"]
        for index, tool in enumerate(tools):
            function = tool["function"]
            head = json.dumps(f'{{"name": "{function["name"]}", "{self.arguments}": ')
            # A separate rule: "#" in a schema refers to the schema itself.
            rules.append(f'call{index}: {head} {self.rule(index)} "}}"')
            rules.append(f"{self.rule(index)}: %json {self.schema(function)}")
        call = "\n".join(rules)
        mark, space = json.dumps(self.mark), json.dumps(self.before[len(self.mark) :] or "")
        after = json.dumps(self.after)
        if not self.mark:
            return f"calls: call\n{call}"
        if self.listed:
            more = ' (", " call)*' if several else ""
            body = f'"[" call{more} "]" {after}'
        else:
            again = f' ("\\n" {mark} {space} call {after})*' if several else ""
            body = f"{space} call {after}{again}"
        return f"calls: {mark} rest\nrest: {body}\n{call}"


def _between(before: str, after: str) -> dict[str, Any]:
    """Return a template for ChatML with calls between two marks, and with reasoning."""
    return {
        "start_anchor": "<|im_start|>assistant\n",
        "fields": {
            "content": {},
            "reasoning_content": {"open": "<think>", "close": "</think>"},
            "tool_calls": {"open": before, "close": after, "repeats": True},
        },
    }


_WHOLE = {
    "start_anchor": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "fields": {
        "content": {},
        "tool_calls": {
            "open_pattern": r"\A\s*(?:<\|python_tag\|>)?(?=\{\s*\"name\"\s*:)",
            "repeats": True,
        },
    },
}
_THINKS = {
    "start_anchor": "<｜Assistant｜>",
    "fields": {"content": {}, "reasoning_content": {"open": "<think>", "close": "</think>"}},
}
# An answer of gpt-oss: thoughts in the channel "analysis", and then, or at once, one in "final".
_HARMONY = {
    "start_anchor": "<|start|>assistant",
    "fields": {
        "content": {},
        "reasoning_content": {
            "open_pattern": r"<\|channel\|>"
            r"(?:(?:analysis|commentary)<\|message\|>|(?=final<))",
            "close_pattern": r"(?:<\|start\|>assistant<\|channel\|>)?final<\|message\|>",
        },
    },
}
_PYTHON_TAG = frozenset({"<|python_tag|>"})
_CHATML = frozenset({"<tool_call>", "</tool_call>", "<think>", "</think>"})

_LLAMA_PROMPT = """You can call functions. These are the functions and their JSON schemas:
{tools}

To call one, answer with nothing but an object in this form:
{"name": "function", "parameters": {"argument": "value"}}
Where none of them helps, answer in words."""

_SMOLLM_PROMPT = """You can call functions. These are the functions and their JSON schemas:
<tools>{tools}</tools>

To call some, answer with nothing but a list of calls in this form:
<tool_call>[{"name": "function", "arguments": {"argument": "value"}}]</tool_call>
Where none of them helps, answer in words."""

FAMILIES = {
    # DeepSeek-R1 and its distills think, and call nothing in JSON.
    "deepseek-r1": Family(_THINKS, before="", after="", special=frozenset({"<think>", "</think>"})),
    # Qwen 2.5 and 3, Hermes 2 and 3, and most that follow ChatML; their templates tell of tools.
    "hermes": Family(
        _between("<tool_call>", "</tool_call>"),
        before="<tool_call>\n",
        after="\n</tool_call>",
        special=_CHATML,
    ),
    # gpt-oss; its calls are in a channel of their own, and not read here.
    "harmony": Family(
        _HARMONY,
        before="",
        after="",
        special=frozenset({"<|channel|>", "<|message|>", "<|start|>"}),
    ),
    # SmolLM2 knows the same marks around one list; its template knows nothing of tools.
    "smollm2": Family(
        _between("<tool_call>", "</tool_call>"),
        before="<tool_call>",
        after="</tool_call>",
        special=_CHATML,
        listed=True,
        prompt=_SMOLLM_PROMPT,
    ),
    # Llama 3.1 to 3.3: an answer that is a single object is a call.
    "llama3.1": Family(_WHOLE, before="", after="", special=_PYTHON_TAG, arguments="parameters"),
    # Llama 3's template does not describe tools.
    "llama3": Family(
        _WHOLE,
        before="",
        after="",
        special=_PYTHON_TAG,
        arguments="parameters",
        prompt=_LLAMA_PROMPT,
    ),
}
