"""Calls as models of each family write them, from their authors' pages and peers' bug reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from models.chat.families import FAMILIES
from models.chat.grammar import Grammars
from models.chat.reading import Reading
from models.chat.request import Called, Embedded, Grammar, Said, Thought
from tests.support import repositories as made

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("get_weather", "stop")
]
OSLO = ("get_weather", {"city": "Oslo"})
STOP = ("stop", {})

# Family, prompt, answer as the reader gets it, what is read: thought, text, calls.
WRITTEN = {
    "mistral": (
        "mistral", "[INST]?[/INST]",
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Oslo"}}, {"name": "stop", "arguments": {}}]',
        "", "", [OSLO, STOP],
    ),
    "mistral with ids": (
        "mistral", "[INST]?[/INST]",
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Oslo"}, "id": "abc123def"}]',
        "", "", [OSLO],
    ),
    "mistral after text": (
        "mistral", "[TOOL_CALLS] [{}] [TOOL_RESULTS]x[/TOOL_RESULTS]",
        'I look. [TOOL_CALLS] [{"name": "stop", "arguments": {}}]', "", "I look.", [STOP],
    ),
    "mistral of version 13": (
        "mistral-named", "[INST]?[/INST]",
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]stop[ARGS]{}', "", "", [OSLO, STOP],
    ),
    "mistral of version 11": (
        "mistral-named", "[INST]?[/INST]",
        '[TOOL_CALLS]get_weather[CALL_ID]abc123def[ARGS]{"city": "Oslo"}', "", "", [OSLO],
    ),
    "mistral without a mark of arguments": (
        "mistral-named", "[INST]?[/INST]", '[TOOL_CALLS]stop{}', "", "", [STOP],
    ),
    "deepseek v3": (
        "deepseek-v3", "<｜User｜>?<｜Assistant｜>",
        "I look.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Oslo"}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>stop\n```json\n{}'
        "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "", "I look.", [OSLO, STOP],
    ),
    "deepseek r1 thinks": (
        "deepseek-v3", "<｜User｜>?<｜Assistant｜><think>\n",
        "Cold?\n</think>\n\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>stop\n```json\n{}\n"
        "```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "Cold?", "", [STOP],
    ),
    "deepseek v3.1": (
        "deepseek-v3.1", "<｜User｜>?<｜Assistant｜></think>",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Oslo"}<｜tool▁call▁end｜>'
        "<｜tool▁call▁begin｜>stop<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "", "", [OSLO, STOP],
    ),
    "gpt-oss": (
        "harmony", "<|start|>user<|message|>?<|end|><|start|>assistant",
        "<|channel|>analysis<|message|>Cold?<|start|>assistant<|channel|>commentary to=functions.get_weather "
        'json<|message|>{"city": "Oslo"}',
        "Cold?", "", [OSLO],
    ),
    "gpt-oss, the function first": (
        "harmony", "<|start|>user<|message|>?<|end|><|start|>assistant",
        "<|channel|>analysis<|message|>Cold?<|start|>assistant to=functions.get_weather<|channel|>commentary "
        'json<|message|>{"city": "Oslo"}',
        "Cold?", "", [OSLO],
    ),
    "gpt-oss at once": (
        "harmony", "<|start|>user<|message|>?<|end|><|start|>assistant",
        " to=functions.stop<|channel|>commentary json<|message|>{}", "", "", [STOP],
    ),
    "gpt-oss without a form": (
        "harmony", "<|start|>assistant",
        "<|channel|>commentary to=functions.stop<|message|>{}", "", "", [STOP],
    ),
    "gpt-oss answers": (
        "harmony", "<|start|>assistant",
        "<|channel|>analysis<|message|>Easy.<|start|>assistant<|channel|>final<|message|>Cold.",
        "Easy.", "Cold.", [],
    ),
    "phi": (
        "phi4", "<|user|>?<|end|><|assistant|>",
        'functools[{"name": "get_weather", "arguments": {"city": "Oslo"}}, {"name": "stop", "arguments": {}}]',
        "", "", [OSLO, STOP],
    ),
    "phi speaks of functools": (
        "phi4", "<|assistant|>", "Use functools.cache, or functools[0].", "",
        "Use functools.cache, or functools[0].", [],
    ),
    "gemma": (
        "gemma", "<start_of_turn>model\n", '{"name": "stop", "parameters": {}}', "", "", [STOP],
    ),
    "gemma in a fence": (
        "gemma", "<start_of_turn>model\n",
        '```json\n{"name": "get_weather", "parameters": {"city": "Oslo"}}\n```', "", "", [OSLO],
    ),
    "gemma writes code": (
        "gemma", "<start_of_turn>model\n", "```python\nprint(1)\n```", "", "```python\nprint(1)\n```", [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "prompt", "answer", "thought", "text", "calls"), WRITTEN.values(), ids=WRITTEN
)
def test_what_a_model_writes_is_read_in_pieces_of_any_size(
    family, prompt, answer, thought, text, calls
):
    for size in (1, 2, 3, 5, 8, 13, 1000):
        reading = Reading(FAMILIES[family], prompt, TOOLS)
        pieces: list[Any] = []
        for at in range(0, len(answer), size):
            pieces += reading.push(answer[at : at + size])
        pieces += reading.end()
        of = {kind: [one for one in pieces if isinstance(one, kind)] for kind in (Thought, Said)}
        assert "".join(one.text for one in of[Thought]).strip() == thought
        assert "".join(one.text for one in of[Said]) == text
        read = [(one.name, json.loads(one.arguments)) for one in pieces if isinstance(one, Called)]
        assert read == calls, size


@pytest.mark.parametrize(
    ("family", "answer"),
    [
        ("mistral", '[TOOL_CALLS] [{"name": "unknown", "arguments": {}}]'),
        ("mistral-named", "[TOOL_CALLS]unknown[ARGS]{}"),
        ("mistral-named", "[TOOL_CALLS]stop[ARGS][1]"),
        ("mistral-named", "[TOOL_CALLS]stop[ARGS]"),
        ("deepseek-v3.1", "<｜tool▁calls▁begin｜>nonsense<｜tool▁calls▁end｜>"),
        ("harmony", "<|channel|>commentary to=functions.unknown json<|message|>{}"),
    ],
)
def test_what_is_no_call_is_said(family, answer):
    reading = Reading(FAMILIES[family], "", TOOLS)
    pieces = [*reading.push(answer), *reading.end()]
    assert [type(one) for one in pieces] == [Said]
    assert pieces[0].text == answer


# Grammars with marks that are special tokens ------------------------------------------------------

MARKS = {
    "mistral": ["[TOOL_CALLS]"],
    "mistral-named": ["[TOOL_CALLS]", "[ARGS]"],
    "deepseek-v3": sorted(FAMILIES["deepseek-v3"].special),
    "deepseek-v3.1": sorted(FAMILIES["deepseek-v3.1"].special),
    "harmony": ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>", "<|end|>"],
    "hermes": ["<tool_call>", "</tool_call>"],
}


def with_marks(family: str) -> Any:
    from tokenizers import AddedToken

    tokenizer = made.words()
    marks = [AddedToken(mark, special=True) for mark in MARKS[family]]
    tokenizer.add_tokens(marks, special_tokens=True)
    return tokenizer


def takes(grammar: Grammar, tokenizer: Any, text: str) -> bool:
    matcher = Grammars(tokenizer, len(tokenizer), [4]).compile(grammar).matcher()._matcher
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    if matcher.validate_tokens(tokens) < len(tokens):
        return False
    matcher.consume_tokens(tokens)
    return bool(matcher.is_accepting())


@pytest.mark.parametrize("name", MARKS)
@pytest.mark.parametrize("kind", ["forced", "strict", "instead"])
def test_a_grammar_has_the_special_tokens_of_the_model(name, kind):
    family, tokenizer = FAMILIES[name], with_marks(name)
    mark = MARKS[name][0]
    enum = {"type": "object", "properties": {"a": {"enum": [mark, "b"]}}, "required": ["a"], "additionalProperties": False}  # fmt: skip
    tools = [{"type": "function", "function": {"name": "f", "parameters": enum}}]
    more = ('{"type": "integer"}',) if kind == "instead" else ()
    source = getattr(family, kind)(tools, *more, several=True)
    grammar = Grammar("lark", source, "tools", (Embedded(family.rule(0), "x", closed=True),))
    call = family.written([("f", {"a": "b"})])
    assert takes(grammar, tokenizer, call)
    assert not takes(grammar, tokenizer, family.written([("f", {"a": "c"})]))
    assert not takes(grammar, tokenizer, family.written([("g", {"a": "b"})]))
    assert takes(grammar, tokenizer, "Hello") == (kind == "strict")
    two = family.written([("f", {"a": "b"}), ("f", {"a": "b"})])
    if name not in ("hermes", "harmony"):
        assert takes(grammar, tokenizer, two)
    if kind == "strict" and name not in ("harmony",):
        assert takes(grammar, tokenizer, f"I look.{call}")


def test_thoughts_of_gpt_oss_may_precede_a_strict_call():
    family, tokenizer = FAMILIES["harmony"], with_marks("harmony")
    source = family.strict(TOOLS, several=False)
    within = tuple(Embedded(family.rule(place), "x", closed=True) for place in (0, 1))
    grammar = Grammar("lark", source, "tools", within)
    thought = "<|channel|>analysis<|message|>Cold?<|end|><|start|>assistant"
    assert takes(grammar, tokenizer, thought + family.written([STOP]))
    assert takes(grammar, tokenizer, thought + "<|channel|>final<|message|>Cold.")
    assert not takes(grammar, tokenizer, thought + family.written([("go", {})]))


def test_a_clients_choice_of_a_mark_is_text():
    tokenizer = with_marks("mistral")
    grammar = Grammar("lark", 'start: "[TOOL_CALLS]" | "b"', "guided_choice")
    assert takes(grammar, tokenizer, "b")
    assert not takes(grammar, tokenizer, "[TOOL_CALLS]"), "the special token is no text"


# What models are told ----------------------------------------------------------------------------


def test_mistrals_templates_want_short_ids():
    call = {"type": "function", "id": "call_0123456789", "function": {"name": "f", "arguments": {}}}
    asked = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "1", "tool_call_id": "call_0123456789"},
    ]
    told = FAMILIES["mistral"].told(asked, TOOLS)
    ident = told[1]["tool_calls"][0]["id"]
    assert len(ident) == 9
    assert ident.isalnum()
    assert told[2]["tool_call_id"] == ident
    assert asked[2]["tool_call_id"] == "call_0123456789", "what is given stays as it is"
    own = FAMILIES["mistral"].told([{**asked[2], "tool_call_id": "abc123DEF"}], [])
    assert own[0]["tool_call_id"] == "abc123DEF"


def test_gemmas_templates_want_turns_by_turns():
    call = {"type": "function", "id": "1", "function": {"name": "stop", "arguments": {"a": 1}}}
    told = FAMILIES["gemma"].told(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "7", "tool_call_id": "1"},
            {"role": "tool", "content": "8", "tool_call_id": "2"},
        ],
        TOOLS,
    )
    assert [one["role"] for one in told] == ["user", "assistant", "user"]
    first = told[0]["content"]
    assert first[0]["text"].startswith("Be brief.")
    assert '"get_weather"' in first[0]["text"]
    assert first[1:] == [{"type": "image"}, {"type": "text", "text": "?"}]
    assert told[1]["content"] == '{"name": "stop", "parameters": {"a": 1}}'
    assert "7" in told[2]["content"]
    assert "8" in told[2]["content"]


def test_phi_is_told_of_functions_in_its_own_marks():
    [system, _] = FAMILIES["phi4"].told([{"role": "user", "content": "?"}], TOOLS)
    shown = system["content"].partition("<|tool|>")[2].removesuffix("<|/tool|>")
    assert [one["name"] for one in json.loads(shown)] == ["get_weather", "stop"]


def test_a_template_that_joins_arguments_as_text_gets_text(tmp_path):
    from models.chat.text import ChatText

    template = (
        "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
        "{{ c.function.name + '\\n' + c.function.arguments }}{% endfor %}{% endfor %}"
    )
    made.chat(tmp_path, template=template)
    text = ChatText(tmp_path, 512, {"family": "deepseek-v3"})
    call = {"type": "function", "id": "1", "function": {"name": "f", "arguments": {"ö": 1}}}
    said = text.render([{"role": "assistant", "content": "", "tool_calls": [call]}])
    assert said == 'f\n{"ö": 1}'


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["mistral-named", "deepseek-v3.1", "harmony"])
async def test_a_worker_forces_such_calls(make_worker, tmp_path, name):
    """The whole way, with marks that are special tokens, by a model that knows nothing of them."""
    from tests.conftest import decoded

    shape = {
        "mistral-named": "{# tools #}[INST]{{ messages[0].content }}[/INST]{# [TOOL_CALLS][ARGS] #}",
        "deepseek-v3.1": "{# tools <｜tool▁calls▁begin｜> #}{{ messages[0].content }}<｜Assistant｜>",
        "harmony": "{{ messages[0].content }}<|start|>assistant{# <|channel|>analysis<|message|> #}",
    }
    tokenizer = with_marks(name)
    made.chat(tmp_path / "m", template=shape[name], tokenizer=tokenizer)
    worker = make_worker(FAKE_ENGINES="0", DTYPE="float32", MODEL=f"file://{tmp_path / 'm'}")
    city = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}  # fmt: skip
    tool = {"type": "function", "function": {"name": "count", "parameters": city}}
    body = {
        "messages": [{"role": "user", "content": "Hi"}], "tools": [tool],
        "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 100, "temperature": 0,
    }  # fmt: skip
    answer = decoded(await worker.answer({"id": "1", "input": body}))
    [choice] = answer["choices"]
    [call] = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "count"
    assert json.loads(call["function"]["arguments"])["n"] in (1, 2)
    assert choice["finish_reason"] == "tool_calls"
    assert not choice["message"]["content"]
