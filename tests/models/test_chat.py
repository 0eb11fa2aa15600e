"""The chat engine against transformers, on the same weights."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import torch

from handler.contract.chat.stops import StopStrings
from models.chat.request import Generated, Prompt, Sampling
from models.chat.text import ChatText
from models.errors import (
    ContextLengthExceeded,
    InvalidValue,
)
from tests.conftest import ROOT, decoded, needs, row, tiny
from tests.models.driving import Load, Ticket, prepare

SMOL = row("SmolLM2_135M_Instruct")


@pytest.fixture(scope="module")
def llama(load: Load) -> Any:
    from dataclasses import replace

    return load(replace(tiny("Llama3_8B_Instruct", "llama"), slug="llama"))


def tokens(engine: Any, prompt: list[int], **sampling: Any) -> tuple[list[int], str]:
    ticket = Ticket(prepare(engine, Prompt(tuple(prompt), Sampling(**sampling))))
    [output] = engine.run([ticket])
    assert isinstance(output, Generated)
    return ticket.events, output.finish_reason


def generate(engine: Any, prompt: list[int], **arguments: Any) -> list[int]:
    """What transformers' own ``generate`` says."""
    ids = torch.tensor([prompt])
    out = engine._model.generate(
        ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **arguments
    )
    said: list[int] = out[0, len(prompt) :].tolist()
    return [token for token in said if token not in engine._ends]


@pytest.mark.parametrize(
    "sampling",
    [{"temperature": 1e-320}, {"temperature": 1e-45}, {"temperature": 1e-6}, {"top_p": 0.0}],
)
def test_the_coldest_sampling_is_greedy(llama, sampling):
    prompt = list(b"Once upon")
    cold, _ = tokens(llama, prompt, max_tokens=10, **sampling)
    assert cold == tokens(llama, prompt, temperature=0.0, max_tokens=10)[0]


@pytest.mark.parametrize("length", [1, 7, 300])
def test_greedy_tokens_are_generates(llama, length):
    prompt = torch.randint(0, 256, (length,), generator=torch.manual_seed(length)).tolist()
    ours, reason = tokens(llama, prompt, temperature=0.0, max_tokens=40)
    assert ours == generate(llama, prompt, do_sample=False, max_new_tokens=40)
    assert reason == "length"


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_p": 0.8},
        {"temperature": 1.3, "top_k": 20},
        {"temperature": 1.0, "min_p": 0.05, "repetition_penalty": 1.2},
    ],
)
def test_sampled_tokens_are_generates_for_the_same_seed(llama, sampling):
    prompt = list(b"Once upon a time")
    ours, _ = tokens(llama, prompt, seed=11, max_tokens=40, **sampling)
    torch.manual_seed(11)
    arguments = {"top_k": 0, **sampling}
    assert ours == generate(llama, prompt, do_sample=True, max_new_tokens=40, **arguments)
    again, _ = tokens(llama, prompt, seed=11, max_tokens=40, **sampling)
    other, _ = tokens(llama, prompt, seed=12, max_tokens=40, **sampling)
    assert again == ours != other


def test_the_end_of_turn_stops_and_is_not_shown(llama):
    """Every token but the one that ends is penalised away."""
    head = llama._model.lm_head.weight
    with torch.no_grad():
        kept = head.clone()
        head.zero_()
        head[max(llama._ends)] = 1e4 * torch.sign(_last_hidden(llama, [1, 2, 3]))
    try:
        assert tokens(llama, [1, 2, 3], temperature=0.0) == ([], "stop")
    finally:
        with torch.no_grad():
            head.copy_(kept)


def _last_hidden(engine: Any, prompt: list[int]) -> Any:
    with torch.inference_mode():
        out = engine._model.model(torch.tensor([prompt])).last_hidden_state[0, -1]
    return out.clone()


def test_context_length(llama):
    with pytest.raises(ContextLengthExceeded, match="at most 2048 tokens.*2049") as caught:
        llama.prepare(Prompt((1,) * 2049, Sampling()))
    assert caught.value.param == "messages"
    with pytest.raises(ContextLengthExceeded, match="100 for the answer"):
        llama.prepare(Prompt((1,) * 2000, Sampling(max_tokens=100)))
    ours, reason = tokens(llama, [1] * 2040, temperature=0.0)
    assert len(ours) <= 8
    assert reason in ("length", "stop")


def test_a_cancelled_generation_stops_at_the_next_token(llama):
    ticket = Ticket(Prompt((1, 2), Sampling(temperature=0.0, max_tokens=500)), cancel_at=3)
    llama.run([ticket])
    assert len(ticket.events) == 3


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
    assert ChatText(folder, 2048).encode(messages) == reference


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
    kept = text._template.chat_template
    text._template.chat_template = "{{ raise_exception('roles must alternate') }}"
    try:
        with pytest.raises(InvalidValue) as caught:
            text.encode([{"role": "user", "content": "x"}])
        assert caught.value.param == "messages"
    finally:
        text._template.chat_template = kept


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
    import random

    chance = random.Random(5)
    for letters in itertools.product("abcd", repeat=5):
        text = "".join(letters)
        ends = [text.find(stop) for stop in stops if stop in text]
        expected = text[: min(ends)] if ends else text
        finder, shown, left = StopStrings(stops), "", text
        while left and not finder.found:
            size = chance.randint(1, 3)
            shown += finder.push(left[:size])
            left = left[size:]
            assert expected.startswith(shown)
        assert shown + finder.flush() == expected
        assert finder.found == bool(ends)


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
