"""Engines whose runs may be beside each other: the answers are those of runs alone."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from handler.assemble import assemble
from handler.settings.variables import Settings
from models.embeddings.request import EmbedRequest, RankRequest
from models.images.request import ImageRequest, Video
from models.images.video.engine import LtxVideo
from models.music.request import MusicRequest
from models.music.request import Output as SongOutput
from models.speech.request import Output, SpeakRequest
from models.transcribe.request import TranscribeRequest
from models.transcribe.whisper.selftest import CLIP
from models.work import Progress
from tests.conftest import needs, row
from tests.support.chatting import alone, letters
from tests.support.driving import Ticket, through

_TEXTS = tuple(f"{number} foxes jump over the lazy dog" * 4 for number in range(20))
_CASES: dict[str, tuple[Any, Any]] = {
    "All_MiniLM_L6_v2": (EmbedRequest(_TEXTS), EmbedRequest(("a fox",))),
    "Tiny_BGE_M3": (EmbedRequest(_TEXTS), EmbedRequest(("a fox",))),
    "Tiny_BGE_Reranker": (RankRequest("a fox", _TEXTS), RankRequest("a fox", ("a dog",))),
    "Whisper_Base": (
        TranscribeRequest(CLIP, mode="batched", temperatures=(0.0,)),
        TranscribeRequest(CLIP, mode="sequential", temperatures=(0.0,)),
    ),
    "Hibari_Heart": (
        SpeakRequest("The captain found a ring. " * 4, seed=3, output=Output("pcm")),
        SpeakRequest("Hello there.", seed=2, output=Output("pcm")),
    ),
    "Tiny_Flux": (
        ImageRequest("a fox", seeds=(7, 8), width=64, height=64, steps=6),
        ImageRequest("two dogs", seeds=(9,), width=64, height=64, steps=2),
    ),
    "Tiny_Ltx2": (
        ImageRequest("waves", (7,), width=96, height=64, video=Video(frames=17)),
        ImageRequest("a fox", (8,), width=64, height=64, video=Video(frames=9)),
    ),
    "Tiny_AceStep": (
        MusicRequest("loud drums", seeds=(7,), steps=5, duration_s=12.0, output=SongOutput("wav")),
        MusicRequest("calm piano", seeds=(8,), steps=2, duration_s=10.0, output=SongOutput("wav")),
    ),
}


def made(engine: Any, request: Any, ticket: Callable[[Any, Any], Ticket]) -> Any:
    """Run a request, and return what its answer says."""
    work = engine.prepare(request)
    work = asyncio.run(work) if asyncio.iscoroutine(work) else work
    outputs = through(engine, [ticket(part, work.kind) for part in work.parts])
    if isinstance(engine, LtxVideo):  # a file of the same frames differs now and then
        return [(frames.tobytes(), sound.tobytes()) for frames, (sound, _) in outputs]
    return said(work.finish(outputs))


def plain(engine: Any, request: Any) -> Any:
    return made(engine, request, lambda part, kind: Ticket(part, kind=kind))


def said(answer: Any) -> Any:
    """What an answer says, in a form that can be compared."""
    if hasattr(answer, "segments"):
        return [(segment["text"], segment["start"]) for segment in answer.segments]
    if hasattr(answer, "vectors"):
        return [vectors.dense.tobytes() for vectors in answer.vectors]
    if hasattr(answer, "pictures"):
        return [picture.content for picture in answer.pictures]
    if hasattr(answer, "songs"):
        return [song.content for song in answer.songs]
    return answer.scores if hasattr(answer, "scores") else answer


@pytest.mark.parametrize("slug", [pytest.param(slug, marks=needs(slug)) for slug in _CASES])
def test_two_runs_at_once_give_what_each_gives_alone(load, slug):
    engine, requests = load(row(slug)), _CASES[slug]
    assert engine.express
    single = [plain(engine, request) for request in requests]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(3):
            both = list(threads.map(partial(plain, engine), requests))
            assert both == single


@pytest.fixture
def as_while_another_model_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[], None]]:
    """Changes what the libraries change for all threads while they make a model.

    transformers sets torch's default type, and accelerate has new modules without data.
    """
    usual = torch.get_default_dtype()

    def refuse(module: Any, name: str, _: Any) -> None:
        raise AssertionError(f"{name} of {type(module).__name__} would have no data")

    def begin() -> None:
        torch.set_default_dtype(torch.bfloat16)
        monkeypatch.setattr(torch.nn.Module, "register_parameter", refuse)

    yield begin
    torch.set_default_dtype(usual)


@pytest.mark.parametrize("slug", [pytest.param(slug, marks=needs(slug)) for slug in _CASES])
def test_a_run_is_the_same_while_another_model_loads(load, slug, as_while_another_model_loads):
    engine, (_, request) = load(row(slug)), _CASES[slug]
    usual = plain(engine, request)
    as_while_another_model_loads()
    assert plain(engine, request) == usual


def test_a_chat_is_the_same_while_another_model_loads(load, as_while_another_model_loads):
    engine = load(replace(row("Tiny_Llama"), options={"family": "llama3", "cache_tokens": 8192}))
    ways: list[dict[str, Any]] = [
        {"temperature": 0.0},
        {"temperature": 1.0, "seed": 3, "top_p": 0.9},
    ]
    usual = [alone(engine, letters(20), max_tokens=12, ignore_eos=True, **way) for way in ways]
    as_while_another_model_loads()
    for way, answer in zip(ways, usual, strict=True):
        assert alone(engine, letters(20), max_tokens=12, ignore_eos=True, **way) == answer


@pytest.mark.parametrize("slug", ["Tiny_Flux", "Tiny_AceStep", "Tiny_Ltx2"])
def test_a_request_of_few_steps_runs_between_the_steps_of_one_of_many(load, slug):
    engine, (long, short) = load(row(slug)), _CASES[slug]
    steps, begun = list[str](), threading.Event()

    class Watched(Ticket):
        def __init__(self, name: str, act: Callable[[], None], item: Any, kind: Any) -> None:
            super().__init__(item, kind=kind)
            self.name, self.act = name, act

        def emit(self, event: Any, *, lasting: bool = True) -> None:
            super().emit(event, lasting=lasting)
            if isinstance(event, Progress):
                steps.append(self.name)
                self.act()

    def wait() -> None:
        begun.set()
        while not (engine._turns._waiting or "short" in steps):
            pass

    long = replace(long, seeds=(7,))
    single = [plain(engine, request) for request in (long, short)]
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(made, engine, long, partial(Watched, "long", wait))
        begun.wait(10)
        second = threads.submit(made, engine, short, partial(Watched, "short", lambda: None))
        assert [first.result(30), second.result(30)] == single
    count = steps.count("short")
    assert steps[:-1][: count + 1] == ["long", *["short"] * count]
    assert steps.count("long") == (8 if slug == "Tiny_Ltx2" else long.steps)


def test_the_work_of_a_picture_is_its_pixels_times_its_steps(load):
    engine = load(row("Tiny_Flux"))
    work = engine.prepare(ImageRequest("a", seeds=(1, 2), width=64, height=128, steps=3))
    assert work.total == 2 * 64 * 128 * 3
    assert list(work.sizes) == [64 * 128] * 2


@pytest.mark.skipif(not hasattr(os, "setpriority"), reason="no priorities here")
def test_the_thread_of_a_model_on_the_cpu_gives_way_to_the_others():
    async def priorities() -> tuple[int, int]:
        worker = assemble(Settings.from_env({"DEVICE": "cpu", "MODEL_SLUG": "Tiny_BGE_M3"}))
        async with worker.dispatcher.pool.lease(row("Tiny_BGE_M3")):
            [device] = [t for t in threading.enumerate() if t.name.startswith("device-Tiny_BGE")]
            own, other = threading.get_native_id(), device.native_id or 0
            return tuple(os.getpriority(os.PRIO_PROCESS, each) for each in (own, other))

    own, device = asyncio.run(priorities())
    assert device == own + 5
