"""What clients ask of a model's reasoning, as the variables of its chat template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from handler.contract.chat.request import ChatRequest
from models.chat.text import ChatText
from models.errors import UnsupportedParameter
from models.leniency import Leniency
from models.tiny import build
from tests.conftest import decoded

QWEN, GPT_OSS, GRANITE = {"enable_thinking"}, {"reasoning_effort"}, {"thinking"}
BOTH = {"enable_thinking", "reasoning_effort"}
HELLO = [{"role": "user", "content": "Hello"}]


def made(known: set[str], **fields: Any) -> tuple[dict[str, Any], list[str]]:
    request = ChatRequest.parse({"messages": HELLO, **fields})
    leniency = Leniency(request.strict)
    arguments = request.wish.arguments("Model", known, True, leniency)
    return dict(arguments), [one.param for one in leniency.left_out]


@pytest.mark.parametrize(
    ("known", "fields", "arguments", "left_out"),
    [
        (QWEN, {}, {}, []),
        (QWEN, {"reasoning_effort": "none"}, {"enable_thinking": False}, []),
        (QWEN, {"reasoning_effort": "high"}, {"enable_thinking": True}, ["reasoning_effort"]),
        (QWEN, {"reasoning": {"enabled": False}}, {"enable_thinking": False}, []),
        (GPT_OSS, {"reasoning_effort": "high"}, {"reasoning_effort": "high"}, []),
        (GPT_OSS, {"reasoning_effort": "none"}, {"reasoning_effort": "none"}, []),
        (GPT_OSS, {"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}, []),
        (BOTH, {"reasoning_effort": "low"}, {"enable_thinking": True, "reasoning_effort": "low"}, []),
        (BOTH, {"reasoning_effort": "none"}, {"enable_thinking": False}, []),
        (GRANITE, {"thinking": {"type": "enabled"}}, {"thinking": True}, []),
        (GRANITE, {"thinking": {"type": "disabled"}}, {"thinking": False}, []),
        (QWEN, {"thinking": {"type": "enabled", "budget_tokens": 9}}, {"enable_thinking": True}, ["thinking.budget_tokens"]),
        (QWEN, {"reasoning": {"max_tokens": 9}}, {}, ["reasoning.max_tokens"]),
        (set(), {"reasoning_effort": "high"}, {}, ["reasoning_effort"]),
        (set(), {"reasoning": {"effort": "high"}}, {}, ["reasoning.effort"]),
    ],
)  # fmt: skip
def test_wishes_become_variables(known, fields, arguments, left_out):
    assert made(known, **fields) == (arguments, left_out)


def test_a_strict_request_is_refused():
    with pytest.raises(UnsupportedParameter) as refused:
        made(set(), reasoning_effort="high", strict=True)
    assert refused.value.param == "reasoning_effort"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose template has switches, and a block of transformers' own."""
    folder = tmp_path_factory.mktemp("reasons")
    build("llama", folder)
    file = folder / "chat_template.jinja"
    switches = "{% if enable_thinking is defined and not enable_thinking %}OFF{% endif %}{{ reasoning_effort }}"
    file.write_text(f"{{%- generation -%}}{{%- endgeneration %}}{switches}{file.read_text()}")
    return folder


def test_the_variables_of_a_template_are_known(folder):
    assert ChatText(folder, 100, {}).variables >= BOTH
    assert "m" not in ChatText(folder, 100, {}).variables


def test_they_reach_the_template(folder):
    text = ChatText(folder, 100, {})
    wish = made(set(text.variables), reasoning_effort="high")[0]
    assert text.render(HELLO, arguments=wish).startswith("high")
    assert text.render(
        HELLO, arguments=made(set(text.variables), reasoning_effort="none")[0]
    ).startswith("OFF")


@pytest.mark.anyio
async def test_a_model_without_a_switch_answers_with_a_warning(make_worker):
    worker = make_worker(FAKE_ENGINES="0", SURFACE="chat", MODEL_SLUG="Tiny_Llama")
    body = {"messages": HELLO, "max_tokens": 2, "reasoning_effort": "high"}
    answer = decoded(await worker.answer({"input": body}))
    [warning] = answer["warnings"]
    assert warning["param"] == "reasoning_effort"
    route = {"openai_route": "/v1/chat/completions", "openai_input": {**body, "stream": True}}
    events = [one async for one in worker.stream({"input": route})]
    assert json.loads(events[0].removeprefix("data: "))["warnings"] == [warning]
    assert "warnings" not in json.loads(events[1].removeprefix("data: "))
