"""Chat on a GPU, on both engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.chat.request import Logprob, Prompt, Sampling
from models.device.hardware import Device
from models.errors import InvalidValue
from models.row import Row
from tests.conftest import row
from tests.gpu.conftest import need
from tests.support.chat_folders import folder
from tests.support.chatting import Heard, Reference, letters, ready, together

pytestmark = pytest.mark.gpu
__all__ = ["folder"]  # a fixture

LLAMA = replace(
    row("Tiny_Llama"),
    options={"family": "llama3", "cache_tokens": 16_384},
    memory_bytes=6 * 10**9,  # of a GPU, whose libraries alone take a part of it
)
LENGTHS, SAID = (1, 5, 40, 200, 333), 24
TOP, TIE = 8, 1e-4  # of two tokens that are as near to each other, rounding decides
On = Callable[[Row, Device], Any]


@pytest.fixture(scope="module")
def fits() -> None:
    """Our engine is made for one version of transformers."""
    need("chat")


def prompts(**rules: Any) -> list[Prompt]:
    rules = {"max_tokens": SAID, "logprobs": TOP, "ignore_eos": True, "temperature": 0.0, **rules}
    return [
        Prompt(tuple(letters(length, seed)), Sampling(**rules))
        for seed, length in enumerate(LENGTHS)
    ]


def answers(engine: Any, at_once: bool = True, **rules: Any) -> list[list[Logprob]]:
    """Each chosen token, with its logprob and the likeliest ones'."""
    asked = prompts(**rules)
    heard: list[Heard] = []
    for group in [asked] if at_once else [[one] for one in asked]:
        heard += together(engine, group, apart=1)
    for one in heard:
        assert one.error is None
        assert len(one.tokens[0]) == rules.get("max_tokens", SAID)
    return [one.logprobs[0] for one in heard]


def agree(
    ours: list[list[Logprob]], theirs: list[list[Logprob]], tolerance: float, tie: float = TIE
) -> None:
    """Equal tokens and near logprobs, up to where two tokens are as likely."""
    compared = 0
    for one, other in zip(ours, theirs, strict=True):
        for mine, expected in zip(one, other, strict=True):
            (_, first), (_, second), *_ = expected.top
            if first - second < tie:
                break
            assert mine.token == expected.token
            assert mine.logprob == pytest.approx(expected.logprob, abs=tolerance)
            compared += 1
    assert compared > SAID * len(LENGTHS) / 2


def near(ours: list[list[Logprob]], theirs: list[list[Logprob]], tolerance: float) -> None:
    """The first token's likeliest ones have near logprobs; later ones may go other ways."""
    compared = 0
    for one, other in zip(ours, theirs, strict=True):
        known = dict(other[0].top)
        both = [(value, known[token]) for token, value in one[0].top if token in known]
        for value, expected in both:
            assert value == pytest.approx(expected, abs=tolerance)
        compared += len(both)
    assert compared > TOP * len(LENGTHS) / 2


def test_greedy_answers_in_float32_are_those_of_the_cpu(
    fits: None, on: On, exact: Device, here: Device
) -> None:
    agree(answers(on(LLAMA, exact)), answers(on(LLAMA, here)), tolerance=2e-4)


def test_many_at_once_say_what_each_says_alone(fits: None, on: On, exact: Device) -> None:
    engine = on(LLAMA, exact)
    agree(answers(engine), answers(engine, at_once=False), tolerance=2e-4)


def test_logprobs_in_its_own_precision_are_near(
    fits: None, on: On, gpu: Device, here: Device
) -> None:
    near(answers(on(LLAMA, gpu)), answers(on(LLAMA, here)), tolerance=0.02)


def test_seeds_are_honoured_on_the_device(fits: None, on: On, exact: Device) -> None:
    engine = on(LLAMA, exact)
    hot = {"temperature": 1.0, "seed": 11}
    first, again = answers(engine, **hot), answers(engine, at_once=False, **hot)
    agree_by_token = [
        sum(a.token == b.token for a, b in zip(one, other, strict=True))
        for one, other in zip(first, again, strict=True)
    ]
    assert sum(agree_by_token) > 0.9 * SAID * len(LENGTHS)  # of dice near an edge rounding decides


def refuses_what_would_break_it(engine: Any) -> None:
    """And lives on: out of its tables it would read what ends the process for everybody."""
    many = dict.fromkeys(range(256), 1.0)
    fine = Prompt(tuple(letters(9)), Sampling(logit_bias=many, max_tokens=4, ignore_eos=True))
    for wrong in (
        replace(fine, tokens=(1, 10**6)),
        replace(fine, tokens=(1, -1)),
        replace(fine, sampling=Sampling(logit_bias={10**6: 1.0})),
    ):
        with pytest.raises(InvalidValue):
            ready(engine, wrong)
    [heard] = together(engine, [fine])
    assert heard.error is None
    assert len(heard.tokens[0]) == 4


def test_a_request_that_would_break_the_engine_is_refused(fits: None, on: On, gpu: Device) -> None:
    refuses_what_would_break_it(on(LLAMA, gpu))


# vLLM ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(gpu: Device, folder: Path) -> Reference:
    """Plain forward passes on the CPU in float32: our engine may be of no use beside vllm."""
    pytest.importorskip("vllm", reason="vllm is not installed")
    from transformers import AutoModelForCausalLM

    return Reference(AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval())


@pytest.fixture
def vllm(gpu: Device, folder: Path) -> Iterator[Callable[[Device], Any]]:
    """One engine after the other: each takes nine tenths of the GPU.

    The folder's model has heads of 64 numbers, as vLLM's kernels want them, and scores far apart.
    """
    pytest.importorskip("vllm", reason="vllm is not installed")
    loaded: list[Any] = []

    def load(device: Device) -> Any:
        from models.chat.vllm.engine import VllmChat

        loaded.append(VllmChat.load(folder, LLAMA, device))
        return loaded[-1]

    yield load
    for engine in loaded:
        engine.close()


def expected(reference: Reference, said: int) -> list[list[Logprob]]:
    rules = {"max_tokens": said, "logprobs": TOP, "ignore_eos": True, "temperature": 0.0}
    return [reference.answer(list(one.tokens), **rules)[1] for one in prompts()]


def test_vllm_in_float32_says_what_plain_passes_say(
    vllm: Callable[[Device], Any], reference: Reference, exact: Device
) -> None:
    """Its kernels may multiply in TF32, which has ten bits."""
    agree(answers(vllm(exact)), expected(reference, SAID), tolerance=0.1, tie=0.2)


def test_a_request_that_would_end_vllms_process_is_refused(
    vllm: Callable[[Device], Any], gpu: Device
) -> None:
    refuses_what_would_break_it(vllm(gpu))


def test_vllm_in_its_own_precision_begins_alike(
    vllm: Callable[[Device], Any], reference: Reference, gpu: Device
) -> None:
    begun = zip(answers(vllm(gpu)), expected(reference, 1), strict=True)
    assert sum(one[0].token == other[0].token for one, other in begun) >= len(LENGTHS) - 1
