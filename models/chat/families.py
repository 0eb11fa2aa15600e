"""Families of chat models, by how they call tools.

A row names its family. transformers' ``ResponseParser`` reads an answer with the family's template.
If a call is forced, a grammar ensures the same format.
"""

from __future__ import annotations

from typing import Any

from models.chat.calling import Family, Named


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
# An answer of gpt-oss: thoughts in the channel "analysis", and then, or at once, an answer in
# "final", or a call: a message to a function. Where the function stands differs.
_HARMONY = {
    "start_anchor": "<|start|>assistant",
    "fields": {
        "content": {},
        "reasoning_content": {
            "open_pattern": r"<\|channel\|>"
            r"(?:(?:analysis|commentary)<\|message\|>|(?=final<))",
            "close_pattern": r"(?:<\|start\|>assistant<\|channel\|>)?final<\|message\|>"
            r"|(?=<\|start\|>assistant(?:<\|channel\|>\w+)? to=functions\.)",
        },
        "tool_calls": {
            "open_pattern": r"(?:<\|start\|>assistant)?(?:<\|channel\|>\w+)? to=functions\.",
            "repeats": True,
        },
    },
}
_HARMONY_CALL = Named(
    before="",
    between=" <|constrain|>json<|message|>",
    after="",
    pattern=r"(?P<name>[^\s<]+)(?:<\|channel\|>\w+)?\s*(?:<\|constrain\|>)?(?:json)?"
    r"<\|message\|>\s*",
)
_HARMONY_THOUGHT = r"""thought: "<|channel|>" /analysis|commentary/ "<|message|>" WORDS end
end: "<|end|>" "<|start|>assistant"
final: "<|channel|>" "final" "<|message|>" WORDS
WORDS: /(?s:.*)/"""


_MISTRAL = {
    "start_anchor_pattern": r"\[/(?:INST|TOOL_RESULTS)\]",
    "fields": {"content": {}, "tool_calls": {"open": "[TOOL_CALLS]", "repeats": True}},
}
_FUNCTOOLS = {
    "start_anchor": "<|assistant|>",
    "fields": {
        "content": {},
        "tool_calls": {"open_pattern": r"functools(?=\[)", "repeats": True},
    },
}
_DEEPSEEK_MARKS = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>")
_DEEPSEEK = {
    "start_anchor": "<｜Assistant｜>",
    "fields": {
        "content": {},
        "reasoning_content": {"open": "<think>", "close": "</think>"},
        "tool_calls": {"open": _DEEPSEEK_MARKS[0], "close": _DEEPSEEK_MARKS[1], "repeats": True},
    },
}
_DEEPSEEK_CALL = "<｜tool▁call▁begin｜>"
_DEEPSEEK_TOKENS = frozenset(
    {
        *_DEEPSEEK_MARKS,
        _DEEPSEEK_CALL,
        "<｜tool▁sep｜>",
        "<｜tool▁call▁end｜>",
        "<think>",
        "</think>",
    }
)
# A fence of Markdown around the object is read, as Gemma likes to write one.
_FENCED = {
    "start_anchor": "<start_of_turn>model\n",
    "fields": {
        "content": {},
        "tool_calls": {
            "open_pattern": r"\A\s*(?:```\w*\s*)?(?=\{\s*\"name\"\s*:)",
            "repeats": True,
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

_PHI_PROMPT = """You can call functions. To call some, answer with nothing but a list of calls in
this form: functools[{"name": "function", "arguments": {"argument": "value"}}]
Where none of them helps, answer in words.<|tool|>{functions}<|/tool|>"""

_SMOLLM_PROMPT = """You can call functions. These are the functions and their JSON schemas:
<tools>{tools}</tools>

To call some, answer with nothing but a list of calls in this form:
<tool_call>[{"name": "function", "arguments": {"argument": "value"}}]</tool_call>
Where none of them helps, answer in words."""

FAMILIES = {
    # DeepSeek-R1 and its distills: their template tells of no tools.
    "deepseek-r1": Family(_THINKS, before="", after="", special=frozenset({"<think>", "</think>"})),
    # DeepSeek-V3 and R1-0528, with a template that tells of tools.
    "deepseek-v3": Family(
        _DEEPSEEK,
        *_DEEPSEEK_MARKS,
        special=_DEEPSEEK_TOKENS,
        named=Named(
            before=f"{_DEEPSEEK_CALL}function<｜tool▁sep｜>",
            between="\n```json\n",
            after="\n```<｜tool▁call▁end｜>",
            pattern=rf"{_DEEPSEEK_CALL}\w+<｜tool▁sep｜>(?P<name>[^\n]+)\n```json\s*",
        ),
        grouped=True,
        separators=("```", "<｜tool▁call▁end｜>"),
    ),
    # DeepSeek-V3.1.
    "deepseek-v3.1": Family(
        _DEEPSEEK,
        *_DEEPSEEK_MARKS,
        special=_DEEPSEEK_TOKENS,
        named=Named(
            before=_DEEPSEEK_CALL,
            between="<｜tool▁sep｜>",
            after="<｜tool▁call▁end｜>",
            pattern=rf"{_DEEPSEEK_CALL}(?P<name>[^<\n]+)<｜tool▁sep｜>\s*",
        ),
        grouped=True,
        joint="",
        separators=("<｜tool▁call▁end｜>",),
    ),
    # Gemma 2 and 3 were made for no form; Google's guide asks for this object.
    "gemma": Family(
        _FENCED,
        before="",
        after="",
        arguments="parameters",
        separators=("```",),
        prompt=_LLAMA_PROMPT,
        alternates=True,
    ),
    # Qwen 2.5 and 3, Hermes 2 and 3, and most that follow ChatML; their templates tell of tools.
    "hermes": Family(
        _between("<tool_call>", "</tool_call>"),
        before="<tool_call>\n",
        after="\n</tool_call>",
        special=_CHATML,
    ),
    # gpt-oss.
    "harmony": Family(
        _HARMONY,
        before="<|channel|>commentary to=functions.",
        after="",
        special=frozenset({"<|channel|>", "<|message|>", "<|start|>"}),
        named=_HARMONY_CALL,
        joint="<|start|>assistant",
        thought=_HARMONY_THOUGHT,
    ),
    # Mistral 7B to Small 3: a list.
    "mistral": Family(
        _MISTRAL,
        before="[TOOL_CALLS] ",
        after="",
        special=frozenset({"[TOOL_CALLS]"}),
        listed=True,
        short_ids=True,
    ),
    # Mistral Small 3.1 and later, Devstral, Magistral: the name, and then the arguments.
    "mistral-named": Family(
        _MISTRAL,
        before="[TOOL_CALLS]",
        after="",
        special=frozenset({"[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"}),
        named=Named(
            before="",
            between="[ARGS]",
            after="",
            pattern=r"(?P<name>[\w.-]+)(?:\[CALL_ID\]\w*)?(?:\[ARGS\])?\s*",
        ),
        joint="",
        short_ids=True,
    ),
    # Phi-4-mini: a list behind a word; its template shows what the system's text says of tools.
    "phi4": Family(
        _FUNCTOOLS,
        before="functools",
        after="",
        listed=True,
        prompt=_PHI_PROMPT,
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
