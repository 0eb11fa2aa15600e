"""The chat engine against plain forward passes, on the same weights."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import torch

from handler.contract.chat.stops import StopStrings
from models.chat.detokenizer import Detokenizer
from models.chat.families import FAMILIES
from models.chat.grammar import Grammars
from models.chat.in_process.engine import TransformersChat
from models.chat.reading import Reading
from models.chat.request import Called, Grammar, Prompt, Sampling
from models.chat.text import ChatText
from models.device.hardware import Device
from models.errors import (
    ContextLengthExceeded,
    InvalidValue,
    OutOfMemory,
    UnsupportedParameter,
)
from tests.conftest import ROOT, decoded, needs, row, tiny
from tests.support import gguf_files
from tests.support.chatting import Heard, Reference, agree, alone, letters, ready, together
from tests.support.driving import Load

SMOL = row("SmolLM2_135M_Instruct")


@pytest.fixture(scope="module")
def llama(load: Load) -> Any:
    """With a cache of few pages, so that they are what is short."""
    small = tiny("Llama3_8B_Instruct", "llama")
    return load(replace(small, slug="llama", options={**small.options, "cache_tokens": 4096}))


@pytest.fixture(scope="module")
def reference(store: Any) -> Reference:
    from transformers import AutoModelForCausalLM

    folder = store.resolve(tiny("Llama3_8B_Instruct", "llama"))
    return Reference(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval())


SAMPLINGS = [
    {"temperature": 0.0},
    {"temperature": 0.0, "repetition_penalty": 1.3},
    {"temperature": 0.0, "repetition_penalty": 0.7},
    {"temperature": 0.0, "frequency_penalty": 0.9},
    {"temperature": 0.0, "presence_penalty": 1.7},
    {"temperature": 0.0, "frequency_penalty": -0.5, "presence_penalty": -1.0},
    {"temperature": 0.0, "logit_bias": {7: 100.0, 65: 5.0}},
    {"temperature": 0.0, "logit_bias": dict.fromkeys(range(128), -100.0)},
    {"temperature": 0.0, "logprobs": 3},
    {"temperature": 0.0, "logit_bias": {257: 100.0}, "min_tokens": 5},
    {"temperature": 0.0, "logit_bias": {257: 100.0}, "ignore_eos": True},
    {"temperature": 1.0},
    {"temperature": 0.7, "top_p": 0.8},
    {"temperature": 1.3, "top_k": 20},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.0, "top_p": 0.0},
    {"temperature": 1.9, "top_k": 50, "top_p": 0.5, "min_p": 0.02, "logprobs": 2},
    {"temperature": 1.0, "min_p": 0.3, "repetition_penalty": 1.2, "logprobs": 0},
]


def _asked(index: int, **more: Any) -> tuple[list[int], dict[str, Any]]:
    return letters(5 + 9 * index, index), {
        "seed": 11 + index, "max_tokens": 24, **SAMPLINGS[index], **more
    }  # fmt: skip


@pytest.mark.parametrize("index", range(len(SAMPLINGS)))
def test_tokens_are_the_references(llama, reference, index):
    prompt, rules = _asked(index)
    [heard] = together(llama, [Prompt(tuple(prompt), Sampling(**rules))])
    agree(heard, reference, prompt, rules)


@pytest.mark.parametrize("apart", [0, 1, 3])
def test_tokens_are_the_same_in_a_crowd(llama, reference, apart):
    asked = [_asked(index) for index in range(len(SAMPLINGS))]
    prompts = [Prompt(tuple(prompt), Sampling(**rules)) for prompt, rules in asked]
    for heard, (prompt, rules) in zip(together(llama, prompts, apart), asked, strict=True):
        agree(heard, reference, prompt, rules)


@pytest.mark.parametrize("length", [1, 7, 31, 32, 33, 300, 1200])
def test_greedy_tokens_are_generates(llama, reference, length):
    prompt = letters(length, length)
    ours, reason = alone(llama, prompt, temperature=0.0, max_tokens=40)
    ids = torch.tensor([prompt])
    out = reference.model.generate(
        ids, attention_mask=torch.ones_like(ids), pad_token_id=0, do_sample=False, max_new_tokens=40
    )
    theirs = [token for token in out[0, length:].tolist() if token not in reference.ends]
    assert ours == theirs
    assert reason == ("length" if len(ours) == 40 else "stop")


@pytest.mark.parametrize("temperature", [1e-320, 1e-45, 1e-6])
def test_the_coldest_sampling_is_greedy(llama, temperature):
    prompt = list(b"Once upon")
    cold, _ = alone(llama, prompt, max_tokens=10, temperature=temperature)
    assert cold == alone(llama, prompt, temperature=0.0, max_tokens=10)[0]


def spread(kind: str, rows: int = 6, size: int = 32_000) -> torch.Tensor:
    """Scores of a vocabulary."""
    dice = torch.manual_seed(4)
    scores = torch.randn(rows, size, generator=dice)
    made = {
        "a model's": scores * 3,
        "sharp": scores * 12,
        "flat": scores * 0.01,  # a thousand tokens have a thirtieth of the mass
        "equal": torch.zeros(rows, size),
        "rounded": (scores * 4).round() / 2,  # many are as likely
        "masked": scores.masked_fill(torch.rand(rows, size, generator=dice) < 0.999, -torch.inf),
    }
    return made[kind]


@pytest.mark.parametrize("kind", ["a model's", "sharp", "flat", "equal", "rounded", "masked"])
@pytest.mark.parametrize("top_k", [0, 1, 20, 1000, 1024, 1025, 5000])
@pytest.mark.parametrize("top_p", [0.0, 0.3, 0.9, 0.999, 1.0])
def test_the_likeliest_are_those_of_a_whole_sort(kind, top_k, top_p):
    """Which tokens stay, those that are as likely as the last one included."""
    from models.chat.in_process.sampling import _by_sorting, _likeliest

    scores = spread(kind)
    size = scores.shape[-1]
    k = torch.full((len(scores), 1), float(top_k or size))
    p = torch.full((len(scores), 1), top_p)
    found, expected = _likeliest(scores, k, p), _by_sorting(scores, k, p)
    different = (found != expected).sum(-1)
    # Sums of probabilities round otherwise: of two neighbours at the border one may be in or out.
    assert int(different.max()) <= (1 if 0 < top_p < 1 else 0)
    assert torch.equal(scores[found > -torch.inf], found[found > -torch.inf])


@pytest.mark.parametrize("top_k", [0, 1, 1024, 1025, 5000])
def test_a_top_p_of_1_cuts_nothing_whatever_sums_round_to(top_k):
    """The likeliest token has all of float32's mass; the others are kept all the same."""
    from models.chat.in_process.sampling import _by_sorting, _likeliest

    size = 32_000
    scores = -50 - torch.arange(float(size)).unsqueeze(0) / size
    scores[0, 0] = 0.0
    assert scores.softmax(-1)[0, :1000].sum() == 1
    k, p = torch.tensor([[float(top_k or size)]]), torch.ones(1, 1)
    for cut in (_likeliest, _by_sorting):
        kept = cut(scores, k, p)
        assert int((kept > -torch.inf).sum()) == (top_k or size)
        assert torch.equal(kept[:, : top_k or size], scores[:, : top_k or size])


def test_each_row_has_its_own_rules(monkeypatch):
    """One that needs the whole vocabulary is sorted, the others are not."""
    from models.chat.in_process import sampling

    rows = torch.cat([spread("sharp", 2), spread("flat", 2)])
    k, p = torch.tensor([[32_000.0], [5.0]] * 2), torch.tensor([[0.9], [0.5]] * 2)
    expected, by_sorting = sampling._by_sorting(rows, k, p), sampling._by_sorting
    sorted_rows: list[int] = []

    def counted(scores: Any, *rules: Any) -> Any:
        sorted_rows.append(len(scores))
        return by_sorting(scores, *rules)

    monkeypatch.setattr(sampling, "_by_sorting", counted)
    assert torch.equal(sampling._likeliest(rows, k, p), expected)
    assert sorted_rows == [1]  # flat, and all of it is wanted


def test_without_a_seed_chance_is_fresh(llama):
    prompt = list(b"Once upon")
    answers = {tuple(alone(llama, prompt, max_tokens=20)[0]) for _ in range(4)}
    assert len(answers) > 1


def test_choices_are_those_of_seeds_that_follow(llama, reference):
    prompt, rules = letters(70, 505), {"temperature": 1.0, "seed": 40, "max_tokens": 12}
    [heard] = together(llama, [Prompt(tuple(prompt), Sampling(**rules), n=4)])
    assert heard.cached == 0
    for choice in range(4):
        said, _, reason = reference.answer(prompt, choice, **rules)
        assert (heard.tokens[choice], heard.reasons[choice]) == (said, reason)
    assert len({tuple(one) for one in heard.tokens.values()}) == 4


def test_a_prefix_is_read_once(llama, reference):
    shared = letters(200, 77)
    first, second = [*shared, 1, 2, 3], [*shared, 9, 8]
    rules = {"temperature": 0.0, "max_tokens": 10}
    [cold] = together(llama, [Prompt(tuple(first), Sampling(**rules))])
    [warm] = together(llama, [Prompt(tuple(second), Sampling(**rules))])
    assert (cold.cached, warm.cached) == (0, 192)  # whole pages of 32
    agree(warm, reference, second, rules)


def test_a_choice_that_nobody_reads_is_let_go(llama):
    prompt = Prompt(tuple(letters(20)), Sampling(max_tokens=500, ignore_eos=True), n=3)
    llama.admit(0, ready(llama, prompt))
    heard = Heard()
    for _ in range(5):
        for _, event in llama.step():
            heard.note(event)
    prompt.dropped.add(1)
    before = len(heard.tokens[1])
    for _ in range(5):
        for _, event in llama.step():
            heard.note(event)
    assert len(heard.tokens[1]) == before
    assert len(heard.tokens[0]) == 10
    llama.drop(0)
    assert llama.step() == []


def test_no_page_is_lost_when_requests_are_dropped(llama):
    """Five hundred, at any point of their lives."""
    chance = random.Random(3)
    assert llama._paged.held() == 0.0
    left: dict[int, int] = {}
    for key in range(500):
        n = chance.choice([1, 1, 1, 2])
        rules = Sampling(max_tokens=200, ignore_eos=True)
        prompt = Prompt(tuple(letters(chance.randint(1, 150), key)), rules, n=n)
        llama.admit(key, ready(llama, prompt))
        left[key] = chance.randint(0, 3)
        if chance.random() < 0.5:
            llama.step()
        for one in [one for one, steps in left.items() if not steps]:
            llama.drop(one)
            del left[one]
        left = {one: steps - 1 for one, steps in left.items()}
    for one in left:
        llama.drop(one)
    assert llama.step() == []
    assert llama._paged.held() == 0.0
    assert not llama._choices
    assert not llama._paged._hits


class Stream:
    """A device's stream, which notes when it is to wait and for whom."""

    def __init__(self, noted: list[str]) -> None:
        self.noted = noted

    def wait_stream(self, other: Any) -> None:
        assert other is torch.cpu.current_stream()
        self.noted.append("waits")

    def synchronize(self) -> None:
        self.noted.append("is waited for")


def test_a_step_computes_when_its_inputs_are_there(llama, monkeypatch):
    """The library prepares a step on one stream and computes on another; on a GPU they overlap."""
    noted: list[str] = []
    processor = llama._paged._processor
    prepare, compute = processor.prepare_next_batch, processor.model_runner.compute_batch

    def prepared() -> bool:
        noted.append("prepared")
        return bool(prepare())

    def computed(*args: Any) -> None:
        noted.append("computed")
        compute(*args)

    monkeypatch.setattr(processor.inputs_and_outputs, "compute_stream", Stream(noted))
    monkeypatch.setattr(processor, "prepare_next_batch", prepared)
    monkeypatch.setattr(processor.model_runner, "compute_batch", computed)
    alone(llama, [1, 2, 3], max_tokens=2, ignore_eos=True)
    assert noted[:4] == ["prepared", "waits", "computed", "is waited for"]


def test_who_finds_no_room_waits_in_turn(llama):
    """Twelve requests that take a third of the cache each."""
    rules = Sampling(temperature=0.0, max_tokens=100, ignore_eos=True)
    prompts = [Prompt(tuple(letters(1300, 50 + index)), rules) for index in range(12)]
    order: list[int] = []
    for key, prompt in enumerate(prompts):
        llama.admit(key, ready(llama, prompt))
    heard = [Heard() for _ in prompts]
    while len(order) < len(prompts):
        for key, event in llama.step():
            if heard[key].note(event):
                order.append(key)
    assert all(len(one.tokens[0]) == 100 for one in heard)
    assert order == sorted(order)


def test_out_of_memory_costs_the_newest_alone(llama, reference, monkeypatch):
    asked = [_asked(index, max_tokens=12) for index in range(4)]
    prompts = [Prompt(tuple(prompt), Sampling(**rules)) for prompt, rules in asked]
    for key, prompt in enumerate(prompts):
        llama.admit(key, ready(llama, prompt))
    heard = [Heard() for _ in prompts]
    done, steps, real = 0, 0, llama._model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if steps == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **kwargs)

    monkeypatch.setattr(llama._model, "forward", forward)
    while done < len(prompts):
        steps += 1
        for key, event in llama.step():
            done += heard[key].note(event)
    assert isinstance(heard[3].error, OutOfMemory)
    for one, (prompt, rules) in list(zip(heard, asked, strict=True))[:3]:
        agree(one, reference, prompt, rules)
    assert llama._paged.held() == 0.0


def test_the_end_of_turn_stops_and_is_not_shown(llama):
    assert alone(llama, [1, 2, 3], temperature=0.0, logit_bias={257: 100.0}) == ([], "stop")


def test_context_length(llama):
    with pytest.raises(
        ContextLengthExceeded, match="maximum context length is 2048 tokens.*2049"
    ) as caught:
        ready(llama, Prompt((1,) * 2049, Sampling()))
    assert caught.value.param == "messages"
    with pytest.raises(ContextLengthExceeded) as caught:
        ready(llama, Prompt((1,) * 2048, Sampling(), param="prompt"))
    assert caught.value.param == "prompt"
    ours, reason = alone(llama, [1] * 2040, temperature=0.0, max_tokens=100, ignore_eos=True)
    assert (len(ours), reason) == (8, "length")


def test_adapters_are_refused(llama):
    with pytest.raises(UnsupportedParameter) as caught:
        ready(llama, Prompt((1,), Sampling(), adapter="mine"))
    assert caught.value.param == "model"


# Forms -------------------------------------------------------------------------------------------


def said(engine: Any, grammar: Grammar, seed: int, **more: Any) -> tuple[str, str]:
    rules = {"max_tokens": 400, "seed": seed, "temperature": 1.0, **more}
    [heard] = together(engine, [Prompt(tuple(b"Say: "), Sampling(**rules), grammar=grammar)])
    return engine.text.decode(heard.tokens.get(0, [])), heard.reasons[0]


@pytest.mark.parametrize("seed", range(6))
def test_an_answer_has_its_form(llama, seed):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    text, reason = said(llama, Grammar("json_schema", json.dumps(schema)), seed)
    if reason == "stop":
        value = json.loads(text)
        assert isinstance(value["a"], int)
        assert value["b"] in ("x", "y")
    text, reason = said(llama, Grammar("regex", "[ab]{3}-[0-9]{2}"), seed)
    assert reason == "stop"
    assert text[:3].strip("ab") == ""
    assert text[3] == "-"
    assert text[4:].isdecimal()
    text, reason = said(llama, Grammar("lark", 'start: "yes" | "no"'), seed, ignore_eos=True)
    assert (text in ("yes", "no"), reason) == (True, "stop")


def test_a_form_holds_in_a_crowd(llama):
    rules = Sampling(max_tokens=50, temperature=1.5)
    forms = [Grammar("regex", f"{letter}{{5}}") for letter in "abcdef"]
    prompts = [Prompt(tuple(b"x"), rules, n=2, grammar=form) for form in forms]
    prompts.append(Prompt(tuple(b"x"), rules))
    heard = together(llama, prompts)
    for letter, one in zip("abcdef", heard, strict=False):
        assert {llama.text.decode(one.tokens[choice]) for choice in (0, 1)} == {letter * 5}


def test_blanks_in_a_form_are_bounded(llama):
    """A model that would go on with blanks for ever still ends its answer."""
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"enum": [1]}, "minItems": 2, "maxItems": 2}
        },
        "required": ["a"],
        "additionalProperties": False,
    }
    blanks = {llama.text.encode_rendered(blank)[0]: 100.0 for blank in " \n\t"}
    grammar = Grammar("json_schema", json.dumps(schema))
    text, reason = said(llama, grammar, 1, logit_bias=blanks)
    assert (json.loads(text), reason) == ({"a": [1, 1]}, "stop")
    assert 20 <= sum(text.count(blank) for blank in " \n\t") <= 40


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        (
            {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}},
            "#/properties/a/uniqueItems",
        ),
        ({"properties": {"a": {"not": {"minLength": 3}}}}, "#/properties/a/not"),
        ({"not": {}}, ": #/not is"),
        ({"$defs": {"x": {"items": {"not": {"pattern": "a"}}}}, "$ref": "#/$defs/x"}, ": #/$defs/x/items/not is"),
        ({"properties": {"b/c": {"not": {"pattern": "a"}}}}, "#/properties/b~1c/not"),
        ({"if": {"minLength": 3}, "then": {"pattern": "^a"}}, "#/if, #/then"),
        ({"properties": {"a": {"oneOf": [{"type": "string"}, {"maxLength": 3}]}}}, "#/properties/a/oneOf is a keyword that no answer can be held to; use anyOf"),
        ({"properties": {"a": {"type": "robot"}}}, "#/properties/a: Invalid type: robot"),
        ({"properties": {"a": 5}}, "#/properties/a: a schema must be an object, true or false"),
        ({"prefixItems": [5]}, "#/prefixItems/0: a schema must be"),
        ({"properties": {"a": {"items": {"$ref": "#/nowhere"}}}}, "#/properties/a/items: "),
        ({"properties": {"a": {"type": "string", "pattern": "(?=a)b"}}}, "#/properties/a: look-around"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"),
        ({"properties": {"a": {"type": "array", "minItems": 10**9}}}, "#/properties/a/minItems is 1e+09"),
        ({"type": "array", "maxItems": 2**31 - 1}, "#/maxItems is"),
        ({"type": "integer", "const": 10**20}, "#/const is 1e+20"),
        ({"enum": [1, -(10**30)]}, "#/enum is"),
        ({"type": "string", "maxLength": 10**25}, "#/maxLength is"),
    ],
)  # fmt: skip
def test_a_form_that_cannot_be_kept_says_where(llama, schema, where):
    grammar = Grammar("json_schema", json.dumps(schema), "response_format.json_schema.schema")
    with pytest.raises(InvalidValue) as caught:
        ready(llama, Prompt((1,), Sampling(), grammar=grammar))
    assert where in caught.value.message
    assert caught.value.param == "response_format.json_schema.schema"
    assert caught.value.code == "unsupported_schema"
    assert "\n" not in caught.value.message


def test_a_keyword_that_asks_for_nothing_is_no_keyword(llama):
    schema = {"type": "array", "uniqueItems": False, "items": {"const": 1}, "maxItems": 2}
    text, reason = said(llama, Grammar("json_schema", json.dumps(schema)), 1)
    assert (reason, set(json.loads(text)) <= {1}) == ("stop", True)


TOO_COMPLEX = Grammar("regex", "(a{1000000}b)+", "guided_regex")


def test_a_form_that_breaks_on_the_way_fails_its_request_alone(llama, reference):
    """A regular expression may turn out too large only when it is followed."""
    asked = [_asked(index, max_tokens=12) for index in range(2)]
    prompts = [Prompt(tuple(prompt), Sampling(**rules)) for prompt, rules in asked]
    bad = Prompt(tuple(b"x"), Sampling(max_tokens=400), n=2, grammar=TOO_COMPLEX)
    *good, broken = together(llama, [*prompts, bad])
    assert isinstance(broken.error, InvalidValue)
    assert (broken.error.code, broken.error.param) == ("unsupported_schema", "guided_regex")
    assert "too complex" in broken.error.message
    for one, (prompt, rules) in zip(good, asked, strict=True):
        agree(one, reference, prompt, rules)
    assert llama._paged.held() == 0.0


def _schema(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    """A schema of any kind; now and then one that cannot be kept."""
    kinds = ["integer", "number", "string", "boolean", "null", "enum", "const", "odd"]
    if depth < 3:
        kinds += ["object", "array", "anyOf"] * 2
    kind = chance.choice(kinds)
    if kind == "object":
        names = chance.sample(["a", "b", "with space", "ü", "nested", "x-1"], chance.randint(0, 3))
        properties = {name: _schema(chance, depth + 1) for name in names}
        required = [name for name in names if chance.random() < 0.7]
        closed = {"additionalProperties": False} if chance.random() < 0.8 else {}
        return {"type": "object", "properties": properties, "required": required, **closed}
    if kind == "array":
        low = chance.randint(0, 2)
        bounds = {"minItems": low, "maxItems": low + chance.randint(0, 2)}
        return {"type": "array", "items": _schema(chance, depth + 1), **bounds}
    if kind == "anyOf":
        return {"anyOf": [_schema(chance, depth + 1) for _ in range(chance.randint(1, 3))]}
    plain: dict[str, dict[str, Any]] = {
        "integer": {"type": "integer", "minimum": chance.randint(-9, 0), "maximum": 99},
        "number": {"type": "number", "minimum": 0, "exclusiveMaximum": 10},
        "string": chance.choice([
            {"type": "string", "maxLength": 5},
            {"type": "string", "pattern": "^[a-c]{2,4}$"},
            {"type": "string", "format": "date"},
        ]),
        "boolean": {"type": "boolean"},
        "null": {"type": "null"},
        "enum": {"enum": ["x", 1, None, "\u00e9\n"]},
        "const": {"const": {"k": [1, True]}},
        "odd": chance.choice([
            {"type": "array", "uniqueItems": True},
            {"type": "object", "propertyNames": {"pattern": "^a"}, "not": {}},
            {"type": "string", "pattern": "(?!a)b"},
            {"type": "string", "format": "nothing-known"},
        ]),
    }  # fmt: skip
    return plain[kind]


def _refusal(engine: Any, prompt: Prompt) -> InvalidValue | None:
    try:
        ready(engine, prompt)
    except InvalidValue as error:
        return error
    return None


def test_three_hundred_schemas(llama):
    """Every answer that was completed is valid; what cannot be kept is refused, and says where."""
    chance = random.Random(17)
    prompts, schemas, refused = [], [], 0
    for seed in range(300):
        schema = _schema(chance)
        rules = Sampling(max_tokens=300, seed=seed, temperature=1.0)
        form = Grammar("json_schema", json.dumps(schema), "guided_json")
        prompt = Prompt(tuple(b"JSON:"), rules, grammar=form)
        error = _refusal(llama, prompt)
        if error is None:
            prompts.append(prompt)
            schemas.append(schema)
            continue
        assert error.param == "guided_json"
        assert error.message.startswith("guided_json cannot be honoured: ")
        refused += 1
    assert 10 < refused < 150
    completed = 0
    for schema, heard in zip(schemas, together(llama, prompts), strict=True):
        if heard.reasons[0] == "stop":
            value = json.loads(llama.text.decode(heard.tokens[0]))
            jsonschema.validate(value, schema, format_checker=jsonschema.FormatChecker())
            completed += 1
    assert completed > 0.6 * len(prompts)


def test_a_regex_that_cannot_be_kept(llama):
    with pytest.raises(InvalidValue, match="look-around") as caught:
        ready(llama, Prompt((1,), Sampling(), grammar=Grammar("regex", "(?=a)b", "guided_regex")))
    assert caught.value.param == "guided_regex"


def test_a_mask_is_of_the_models_size(llama):
    """A model may have more scores than its tokenizer has words."""
    grammars = Grammars(llama.text.tokenizer, 300, {257})
    matcher = grammars.compile(Grammar("regex", "ab")).matcher()
    scores = torch.zeros(300)
    matcher.mask(scores)
    [first] = llama.text.encode_rendered("a")
    allowed = scores.isfinite().nonzero().flatten().tolist()
    assert first in allowed
    assert all(llama.text.spelled(one) in (b"a", b"ab") for one in allowed)


# Text --------------------------------------------------------------------------------------------


def test_prompts_are_the_templates(llama, store):
    from transformers import AutoTokenizer

    folder = store.resolve(tiny("Llama3_8B_Instruct", "llama"))
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Grüße 日本 <|eot_id|>"},
    ]
    reference = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    assert ChatText(folder, 2048, {}).encode(messages) == reference


def _sentencepiece() -> Any:
    """A vocabulary as Llama 2's and Mixtral's: words begin with a space, bytes are tokens."""
    from tokenizers import Tokenizer, decoders
    from tokenizers.models import BPE

    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["\u2581Hello", "\u2581world", "\u2581a"]
    vocabulary = {word: index for index, word in enumerate(words)}
    made = Tokenizer(BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    made.decoder = decoders.Sequence([
        decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    return made


def test_a_space_before_the_first_word_is_kept_where_a_prompt_goes_before():
    backend = _sentencepiece()
    hello, world, a = (backend.token_to_id(f"\u2581{word}") for word in ("Hello", "world", "a"))

    def decoded(tokens: list[int], before: list[int]) -> str:
        decoder = Detokenizer(backend, frozenset({1, 2}), before)
        return "".join(decoder.push(token) for token in tokens)

    assert decoded([hello, world], [1, a]) == " Hello world"
    assert decoded([hello, world], []) == "Hello world"
    assert decoded([hello, world], [1]) == "Hello world"
    accent = [3 + byte for byte in "\u00e9".encode()]
    assert decoded([*accent, 2, world], [a]) == "\u00e9 world"
    # A prompt that ends within a character, and bytes that are none.
    assert decoded([accent[1], hello], [a, accent[0]]).endswith(" Hello")
    assert decoded([accent[0], world, 3 + 0xFF, hello], [a]).endswith(" Hello")


def test_special_tokens_have_no_text_but_the_marks_of_calls(llama):
    text = llama.text
    [turn] = text.encode_rendered("<|eot_id|>")
    read, plain = text.decoder(read=True), text.decoder()
    for decoder in (read, plain):
        assert decoder.push(turn) == ""
    special = {str(word) for word in text.tokenizer.added_tokens_decoder.values()}
    if "<|python_tag|>" in special:
        [tag] = text.encode_rendered("<|python_tag|>")
        assert read.push(tag) == "<|python_tag|>"
        assert plain.push(tag) == ""


def test_megabytes_are_refused_before_they_are_tokenised(load):

    text = load(SMOL).text
    start = time.monotonic()
    with pytest.raises(ContextLengthExceeded, match="bytes"):
        text.encode([{"role": "user", "content": "word " * 2_000_000}])
    with pytest.raises(ContextLengthExceeded, match="bytes"):
        text.encode_text("word " * 2_000_000)
    assert time.monotonic() - start < 2
    assert text.encode_text("Hello")


def test_a_template_that_refuses_is_the_clients_error(llama):
    text = llama.text
    kept = text.tokenizer.chat_template
    text.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    try:
        with pytest.raises(InvalidValue) as caught:
            text.encode([{"role": "user", "content": "x"}])
        assert caught.value.param == "messages"
        assert caught.value.message.endswith(": roles must alternate.")
    finally:
        text.tokenizer.chat_template = kept


@pytest.mark.parametrize("template", [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os.environ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{% set x = messages.append('x') %}",
    "{{ (''|attr('__class__')).mro() }}",
])  # fmt: skip
def test_a_template_runs_in_a_sandbox(llama, template):
    """A repository brings its template, which is a program."""
    text = llama.text
    kept = text.tokenizer.chat_template
    text.tokenizer.chat_template = template
    try:
        with pytest.raises(InvalidValue):
            text.encode([{"role": "user", "content": "x"}])
    finally:
        text.tokenizer.chat_template = kept


def test_streamed_text_is_the_decoded_text(llama):
    words = "naïve 日本語 👩‍🚀 \n end"
    ids = llama.text._backend.encode(words, add_special_tokens=False).ids
    decoder = llama.text.decoder()
    pieces = [decoder.push(one) for one in ids]
    assert "".join(pieces) == words
    assert not any("\ufffd" in piece for piece in pieces)
    half = llama.text.decoder()
    assert (
        "".join(half.push(one) for one in ids[: ids.index(ids[-5]) - 6]).endswith("\ufffd") is False
    )


@pytest.mark.parametrize("stops", [[], ["b"], ["abc", "bd"], ["aab", "ab"], ["ccc"]])
def test_stop_strings_however_the_text_is_cut(stops):
    import itertools

    chance = random.Random(5)
    for drawn in itertools.product("abcd", repeat=5):
        text = "".join(drawn)
        ends = [text.find(stop) for stop in stops if stop in text]
        expected = text[: min(ends)] if ends else text
        finder, shown, left = StopStrings(stops), "", text
        while left and not finder.found:
            size = chance.randint(1, 3)
            shown += finder.push(left[:size])
            left = left[size:]
            assert expected.startswith(shown)
        assert shown + finder.flush() == expected
        assert (finder.found is not None) == bool(ends)


@needs("SmolLM2_135M_Instruct")
@pytest.mark.anyio
async def test_the_default_model_knows_paris(make_worker):
    worker = make_worker(FAKE_ENGINES="0", SURFACE="chat")
    job = json.loads((ROOT / "test_input.json").read_text())
    answer = decoded(await worker.answer(job))
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["model"] == "SmolLM2_135M_Instruct"
    assert "notice" not in answer
    stream = {"input": {**job["input"], "stream": True}}
    pieces = [e["choices"][0]["delta"].get("content", "") async for e in worker.stream(stream)]
    assert "".join(pieces) == answer["choices"][0]["message"]["content"]


# Calls -------------------------------------------------------------------------------------------

NODE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}},
    "required": ["value", "next"],
    "additionalProperties": False,
}  # fmt: skip
TOOLS = [
    {"type": "function", "function": {"name": "put.node", "parameters": {**NODE, "$defs": {"n": NODE}}}},
    {"type": "function", "function": {"name": "stop", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}},
]  # fmt: skip


# Of families that write a call's name before its arguments: a call, and what joins two.
NAMED = {
    "deepseek-v3": (
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}\n```json\n{}\n```<｜tool▁call▁end｜>", "\n",
    ),
    "deepseek-v3.1": ("<｜tool▁call▁begin｜>{}<｜tool▁sep｜>{}<｜tool▁call▁end｜>", ""),
    "harmony": ("{} <|constrain|>json<|message|>{}", "<|start|>assistant<|channel|>commentary to=functions."),
    "mistral-named": ("{}[ARGS]{}", "[TOOL_CALLS]"),
}  # fmt: skip


def _said(family: Any, *calls: tuple[str, dict[str, Any]]) -> str:
    if family.named is not None:
        [name] = [name for name, one in FAMILIES.items() if one is family]
        form, joint = NAMED[name]
        texts = [form.format(name, json.dumps(arguments)) for name, arguments in calls]
        return f"{family.before}{joint.join(texts)}{family.after}"
    told = [json.dumps({"name": name, family.arguments: arguments}) for name, arguments in calls]
    if family.listed:
        return f"{family.before}[{', '.join(told)}]{family.after}"
    return "\n".join(f"{family.before}{one}{family.after}" for one in told)


CALLING = [name for name, family in FAMILIES.items() if family.calls]


@pytest.mark.parametrize("name", CALLING)
@pytest.mark.parametrize("kind", ["forced", "strict", "instead"])
def test_calls_of_every_family(llama, name, kind):
    """What the grammar lets through is what the family's reader reads."""
    family = FAMILIES[name]
    several = bool(family.after)
    schema = ('{"type": "integer"}',) if kind == "instead" else ()
    text = getattr(family, kind)(TOOLS, *schema, several=several)
    grammars = Grammars(llama.text.tokenizer, llama.text.vocabulary, llama.ends)
    form = grammars.compile(Grammar("lark", text, "tools"))

    def takes(said: str) -> bool:
        matcher = form.matcher()._matcher
        tokens = llama.text.encode_rendered(said)
        if matcher.validate_tokens(tokens) < len(tokens):
            return False
        matcher.consume_tokens(tokens)
        return bool(matcher.is_accepting())

    list_ = {"value": 1, "next": {"value": 2, "next": None}}
    one = _said(family, ("put.node", list_))
    assert takes(one)
    assert takes(_said(family, ("stop", {})))
    assert not takes(_said(family, ("put.node", {"value": 1})))
    assert not takes(_said(family, ("put.node", {"value": 1, "next": {"value": "x"}})))
    assert not takes(_said(family, ("go", {})))
    assert takes("Hello") == (kind == "strict")
    assert takes("7") == (kind in ("strict", "instead"))
    reading = Reading(family, "", TOOLS)
    pieces = [*reading.push(one), *reading.end()]
    assert [(piece.name, json.loads(piece.arguments)) for piece in pieces] == [("put.node", list_)]
    if several:
        both = _said(family, ("put.node", list_), ("stop", {}))
        assert takes(both)
        reading = Reading(family, "", TOOLS)
        read = [*reading.push(both), *reading.end()]
        assert [piece.name for piece in read if isinstance(piece, Called)] == ["put.node", "stop"]


def _read(reading: Reading, text: str, size: int) -> list[Any]:
    """What a text is read as that comes in pieces."""
    cuts = range(0, len(text), size)
    pieces = [piece for at in cuts for piece in reading.push(text[at : at + size])]
    return [*pieces, *reading.end()]


@pytest.mark.parametrize("name", CALLING)
def test_calls_however_the_text_is_cut(name):
    family = FAMILIES[name]
    text = _said(family, ("stop", {}))
    for size in range(1, 9):
        reading = Reading(family, "", TOOLS)
        pieces = _read(reading, text, size)
        assert [type(piece) for piece in pieces] == [Called]


@pytest.mark.parametrize("name", CALLING)
@pytest.mark.parametrize("kind", ["forced", "strict", "instead"])
@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (  # a schema may refer to all of itself
            {
                "type": "object",
                "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
                "required": ["next"],
                "additionalProperties": False,
            },
            {"next": {"next": None}},
            {"next": {"name": "f"}},
        ),
        (  # or to a part of itself
            {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/properties/a"}},
                "required": ["b"],
                "additionalProperties": False,
            },
            {"b": 1},
            {"b": "x"},
        ),
        # Arguments are an object, even where the schema does not say so.
        ({"properties": {"a": {"type": "integer"}}}, {"a": 1}, 5),
        ({}, {}, [1]),
    ],
)
def test_arguments_of_any_schema(llama, name, kind, schema, good, bad):
    family = FAMILIES[name]
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    more = ('{"type": "integer"}',) if kind == "instead" else ()
    grammars = Grammars(llama.text.tokenizer, llama.text.vocabulary, llama.ends)
    form = grammars.compile(Grammar("lark", getattr(family, kind)(tools, *more, several=False)))

    def taken(arguments: Any) -> bool:
        tokens = llama.text.encode_rendered(_said(family, ("f", arguments)))
        return bool(form.matcher()._matcher.validate_tokens(tokens) == len(tokens))

    assert taken(good)
    assert not taken(bad)


@pytest.mark.parametrize("name", CALLING)
def test_what_is_no_call_is_said_as_it_was(name):
    """With all the white space, and no mark that the model has not made."""
    family = FAMILIES[name]
    mark, after = family.mark, family.after.strip()
    texts = [f'\n {mark}{{"name": "go", "arguments": {{}}, "parameters": {{}}}}']
    if name == "llama3.1":
        texts.append('<|python_tag|>{"name" : "go", "parameters": {}}')
    if after:
        texts += [f"a \n{mark}\n{{}} {after} b", f"a {mark}", f"a {mark} x {after}\n\nb"]
    for text in texts:
        for size in (1, 7, 100):
            reading = Reading(family, "", TOOLS)
            pieces = _read(reading, text, size)
            assert "".join(piece.text for piece in pieces) == text


def test_weights_of_llama_cpp(store, reference, tmp_path):
    """GGUF, as transformers reads it: the same tokens as the weights that it was made of."""
    from transformers import AutoTokenizer

    source = store.resolve(tiny("Llama3_8B_Instruct", "llama"))
    gguf_files.write(
        reference.model, AutoTokenizer.from_pretrained(source), tmp_path / "model.gguf"
    )
    device = Device("cpu", memory_bytes=8 * 10**9, bf16=False)
    small = replace(row("Tiny_Llama"), options={"cache_tokens": 2048})
    engine = TransformersChat.load(tmp_path, small, device)
    prompt, rules = _asked(1)
    [heard] = together(engine, [Prompt(tuple(prompt), Sampling(**rules))])
    agree(heard, reference, prompt, rules)
    assert engine.text.encode([{"role": "user", "content": "Hi"}])
    engine.close()


@pytest.mark.parametrize("way", ["drop", "unread"])
def test_who_waits_is_let_in_though_somebody_had_to_leave_the_cache(llama, way):
    """The library lets nobody in from then on, until a request ends by itself."""
    rules = Sampling(temperature=0.0, max_tokens=1900, ignore_eos=True)
    prompts = [Prompt(tuple(letters(100, 70 + index)), rules) for index in range(3)]
    for key, prompt in enumerate(prompts):
        llama.admit(key, ready(llama, prompt))
    steps = 0
    while not llama._paged._scheduler.block_new_requests:
        llama.step()
        steps += 1
        assert steps < 5000
    for key, prompt in enumerate(prompts):
        if way == "drop":
            llama.drop(key)
        else:
            prompt.dropped.add(0)
    llama.step()
    said, _ = alone(llama, letters(20), temperature=0.0, max_tokens=3)
    assert len(said) == 3
    assert llama._paged.held() == 0.0


@pytest.mark.parametrize("name", CALLING)
def test_a_mark_within_the_arguments_of_a_forced_call_is_of_them(name):
    family = FAMILIES[name]
    tools = [{"type": "function", "function": {"name": "f"}}]
    odd = {"a": f"x{family.after.strip()}y{family.mark}<think>z</think>"}
    calls = [("f", odd), ("f", {"b": 1})] if family.after else [("f", odd)]
    text = _said(family, *calls)
    for size in (1, 5, 1000):
        reading = Reading(family, "", tools, formed=True)
        pieces = _read(reading, text, size)
        assert [(one.name, json.loads(one.arguments)) for one in pieces] == calls


@pytest.mark.parametrize("name", CALLING)
def test_calls_that_are_cut_short(name):
    """Those that are whole come, and what there is of the last one's arguments."""
    family = FAMILIES[name]
    tools = [{"type": "function", "function": {"name": "f"}}]
    calls = [("f", {"a": 1}), ("f", {"b": "xyz"})] if family.after else [("f", {"b": "xyz"})]
    text = _said(family, *calls)
    text = text[: text.index('"xyz') + 3]
    reading = Reading(family, "", tools, formed=True)
    pieces = [*reading.push(text), *reading.end(cut=True)]
    assert [one.name for one in pieces] == ["f"] * len(calls)
    assert pieces[-1].arguments == '{"b": "xy'
