"""What holds for every chat engine, on the same weights: the same assertions against each.

Here the embedded one; ``tests/system/test_vllm.py`` runs them on vLLM, in an environment of its own.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from models.chat.request import Grammar, Prompt, Sampling
from models.device.hardware import Device
from models.errors import ContextLengthExceeded, InvalidValue
from tests.conftest import row
from tests.support.chat_folders import folder  # noqa: F401 - a fixture
from tests.support.chatting import Heard, Reference, agree, alone, letters, ready, together

ENGINES = {
    "transformers": "models.chat.in_process.engine:TransformersChat",
    "vllm": "models.chat.vllm.engine:VllmChat",
}
TESTED = os.environ.get("TESTED_CHAT_ENGINE", "transformers")
CPU = Device("cpu", memory_bytes=8 * 10**9, bf16=False)
END = 257
TOLERANCE = 1e-3  # of logprobs: the engines round otherwise


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Any]:
    module, name = ENGINES[TESTED].split(":")
    small = replace(row("Tiny_Llama"), options={"family": "llama3", "cache_tokens": 8192})
    made = getattr(import_module(module), name).load(folder, small, CPU)
    yield made
    made.close()


@pytest.fixture(scope="module")
def reference(folder: Path) -> Reference:
    from transformers import AutoModelForCausalLM

    return Reference(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval())


RULES: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7},
    {"frequency_penalty": 0.9},
    {"presence_penalty": 1.7},
    {"frequency_penalty": -0.5, "presence_penalty": -1.0, "repetition_penalty": 1.1},
    {"logit_bias": {7: 100.0, 65: 5.0}},
    {"logit_bias": dict.fromkeys(range(128), -100.0)},
    {"logprobs": 3},
    {"logprobs": 0},
    {"logprobs": 2, "repetition_penalty": 1.4, "logit_bias": {9: 3.0}},
    {"logit_bias": {END: 100.0}},
    {"logit_bias": {END: 100.0}, "min_tokens": 5},
    {"logit_bias": {END: 100.0}, "ignore_eos": True},
]


def _asked(index: int) -> tuple[list[int], dict[str, Any]]:
    return letters(5 + 9 * index, index), {"temperature": 0.0, "max_tokens": 24, **RULES[index]}


@pytest.mark.parametrize("index", range(len(RULES)))
def test_tokens_and_logprobs_are_the_references(engine, reference, index):
    prompt, rules = _asked(index)
    [heard] = together(engine, [Prompt(tuple(prompt), Sampling(**rules))])
    agree(heard, reference, prompt, rules, tolerance=TOLERANCE)


def test_they_are_the_same_in_a_crowd(engine, reference):
    asked = [_asked(index) for index in range(len(RULES))]
    prompts = [Prompt(tuple(prompt), Sampling(**rules)) for prompt, rules in asked]
    for heard, (prompt, rules) in zip(together(engine, prompts), asked, strict=True):
        agree(heard, reference, prompt, rules, tolerance=TOLERANCE)


@pytest.mark.parametrize("rules", [{"top_k": 20}, {"top_p": 0.9}, {"min_p": 0.01}, {"top_p": 0.0}])
def test_a_seed_gives_the_same_tokens_alone_and_in_a_crowd(engine, rules):
    sampling = Sampling(seed=-7, temperature=1.4, max_tokens=20, **rules)
    prompt = Prompt(tuple(letters(30, 90)), sampling)
    [first] = together(engine, [prompt])
    crowd = [Prompt(tuple(letters(9, seed)), Sampling(max_tokens=20)) for seed in range(6)]
    again = together(engine, [*crowd[:3], prompt, *crowd[3:]])[3]
    [other] = together(engine, [replace(prompt, sampling=replace(sampling, seed=8))])
    assert first.tokens == again.tokens
    assert first.tokens != other.tokens or rules.get("top_p") == 0.0


def test_choices_are_those_of_seeds_that_follow(engine):
    prompt = tuple(letters(70, 505))
    rules = {"temperature": 1.4, "max_tokens": 12}
    [heard] = together(engine, [Prompt(prompt, Sampling(seed=40, **rules), n=3)])
    for choice in range(3):
        said, reason = alone(engine, list(prompt), seed=40 + choice, **rules)
        assert (heard.tokens[choice], heard.reasons[choice]) == (said, reason)


def test_a_prefix_is_read_once(engine, reference):
    shared = letters(200, 77)
    rules = {"temperature": 0.0, "max_tokens": 10}
    [cold] = together(engine, [Prompt((*shared, 1, 2, 3), Sampling(**rules))])
    [warm] = together(engine, [Prompt((*shared, 9, 8), Sampling(**rules))])
    assert cold.cached == 0
    assert warm.cached is not None
    assert 128 <= warm.cached <= 200
    agree(warm, reference, [*shared, 9, 8], rules, tolerance=TOLERANCE)


def test_a_choice_that_nobody_reads_is_let_go(engine):
    prompt = Prompt(tuple(letters(20)), Sampling(max_tokens=300, ignore_eos=True), n=3)
    engine.admit(0, ready(engine, prompt))
    heard = Heard()

    def step(count: int) -> None:
        for _ in range(count):
            for _, event in engine.step():
                heard.note(event)

    step(9)
    prompt.dropped.add(1)
    step(3)  # what was under way
    before = len(heard.tokens[1])
    step(9)
    assert len(heard.tokens[1]) == before
    assert len(heard.tokens[0]) > before
    engine.drop(0)
    assert alone(engine, [1, 2], temperature=0.0, max_tokens=3)[1] in ("length", "stop")


def test_many_that_are_dropped_leave_room_for_all(engine, reference):
    chance = random.Random(3)
    left: dict[int, int] = {}
    for key in range(100, 300):
        rules = Sampling(max_tokens=200, ignore_eos=True)
        prompt = Prompt(tuple(letters(chance.randint(1, 150), key)), rules)
        engine.admit(key, ready(engine, prompt))
        left[key] = chance.randint(0, 3)
        if chance.random() < 0.5:
            engine.step()
        for one in [one for one, steps in left.items() if not steps]:
            engine.drop(one)
            del left[one]
        left = {one: steps - 1 for one, steps in left.items()}
    for one in left:
        engine.drop(one)
    rules = {"temperature": 0.0, "max_tokens": 100, "ignore_eos": True}
    prompts = [Prompt(tuple(letters(900, seed)), Sampling(**rules)) for seed in range(400, 408)]
    for one in together(engine, prompts):
        assert len(one.tokens[0]) == 100


def test_context_length(engine):
    with pytest.raises(
        ContextLengthExceeded, match="maximum context length is 1024 tokens.*1024"
    ) as caught:
        ready(engine, Prompt((1,) * 1024, Sampling(), param="prompt"))
    assert caught.value.param == "prompt"
    said, reason = alone(engine, [1] * 1016, temperature=0.0, max_tokens=100, ignore_eos=True)
    assert (len(said), reason) == (8, "length")


@pytest.mark.parametrize("seed", range(3))
def test_an_answer_has_its_form(engine, seed):
    def said(grammar: Grammar) -> tuple[str, str]:
        rules = Sampling(max_tokens=300, seed=seed, temperature=1.0)
        [heard] = together(engine, [Prompt(tuple(letters(9)), rules, grammar=grammar)])
        return engine.text.decode(heard.tokens.get(0, [])), heard.reasons[0]

    schema = {
        "type": "object",
        "properties": {"a": {"enum": [1, 22]}, "b": {"enum": ["x", "y"]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    text, reason = said(Grammar("json_schema", json.dumps(schema)))
    assert reason == "length" or set(json.loads(text)) == {"a", "b"}
    text, reason = said(Grammar("regex", "[ab]{3}-[0-9]{2}"))
    assert (len(text), reason) == (6, "stop")
    assert said(Grammar("lark", 'start: "yes" | "no"'))[0] in ("yes", "no")


def test_a_form_that_cannot_be_kept_says_where(engine):
    schema = {"properties": {"a": {"type": "array", "uniqueItems": True}}}
    grammar = Grammar("json_schema", json.dumps(schema), "guided_json")
    with pytest.raises(InvalidValue, match="#/properties/a/uniqueItems") as caught:
        ready(engine, Prompt((1,), Sampling(), grammar=grammar))
    assert (caught.value.code, caught.value.param) == ("unsupported_schema", "guided_json")


def test_a_form_that_breaks_on_the_way_fails_its_request_alone(engine, reference):
    """A regular expression may turn out too large only when it is followed."""
    form = Grammar("regex", "(a{1000000}b)+", "guided_regex")
    bad = Prompt(tuple(b"x"), Sampling(max_tokens=400), n=2, grammar=form)
    prompt, rules = _asked(0)
    good, broken = together(engine, [Prompt(tuple(prompt), Sampling(**rules)), bad])
    assert isinstance(broken.error, InvalidValue)
    assert (broken.error.code, broken.error.param) == ("unsupported_schema", "guided_regex")
    agree(good, reference, prompt, rules, tolerance=TOLERANCE)


def test_a_form_may_be_nested_as_deep_as_it_likes(engine):
    schema: dict[str, Any] = {"enum": [1, 22]}
    for _ in range(80):
        schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": 1}
    grammar = Grammar("json_schema", json.dumps(schema), "guided_json")
    rules = Sampling(max_tokens=500, seed=1)
    [heard] = together(engine, [Prompt(tuple(letters(9)), rules, grammar=grammar)])
    assert heard.error is None
    if heard.reasons[0] == "stop":
        value = json.loads(engine.text.decode(heard.tokens[0]))
        for _ in range(80):
            [value] = value
        assert value in (1, 22)


def test_what_only_the_engine_refuses_is_the_clients_error_too(engine):
    grammar = Grammar("regex", "a\x00b", "guided_regex")
    prompt = Prompt((1,), Sampling(max_tokens=9), grammar=grammar)
    if TESTED == "vllm":
        with pytest.raises(InvalidValue, match="NUL"):
            engine.admit(0, ready(engine, prompt))
        engine.drop(0)
    else:
        [heard] = together(engine, [prompt])
        assert engine.text.decode(heard.tokens[0]) == "a\x00b"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"tokens": (1, 2, 10**6)}, "messages"),
        ({"tokens": (1, -2, 3), "param": "prompt"}, "prompt"),
        ({"tokens": ()}, "messages"),
        ({"sampling": Sampling(logit_bias={10**6: 1.0})}, "logit_bias"),
    ],
)
def test_a_token_outside_the_vocabulary_is_refused(engine, changes, param):
    """On a GPU it is read outside of a table, which ends the process for everybody."""
    with pytest.raises(InvalidValue) as caught:
        ready(engine, replace(Prompt((1, 2, 3), Sampling(max_tokens=2)), **changes))
    assert caught.value.param == param
    assert alone(engine, [1, 2, 3], max_tokens=2, ignore_eos=True)[1] == "length"
