"""A model that is closed leaves the memory, also one that was loaded before the worker settled.

``settle`` sets everything that is loaded aside from collections, so that a model in a circle of
references would stay for as long as the process.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch

from models.catalog import CATALOG
from models.device.memory import free_memory, settle
from models.embeddings.encoder.library import LibraryClassifier, LibraryEncoder
from models.embeddings.inputs.texts import Texts
from models.images.request import ImageRequest, ScreenRequest
from models.music.request import MusicRequest
from models.pictures.request import InputPicture, ReadRequest
from models.row import Row
from models.speech.request import SpeakRequest
from models.transcribe.request import TranscribeRequest
from models.transcribe.whisper.selftest import CLIP
from models.warm.loader import Loader, engine_class
from tests.conftest import CPU, needs, row, tiny
from tests.support import driving
from tests.support.chatting import alone, letters
from tests.support.drawings import drawing, encoded
from tests.support.driving import run
from tests.support.kokoro import write_kokoro
from tests.support.repositories import judge

Use = Callable[[Any], Any]


def say(engine: Any) -> None:
    alone(engine, letters(20), max_tokens=4, ignore_eos=True)


def paint(engine: Any) -> None:
    asked = ImageRequest("a fox", seeds=(1, 2), width=64, height=64, steps=2, previews=1)
    run(engine, asked)


def film(engine: Any) -> None:
    run(engine, ImageRequest("waves", seeds=(1,)))


def edit(engine: Any) -> None:
    run(engine, ImageRequest("", images=(encoded(drawing(40, 40)),)))


def screen(engine: Any) -> None:
    run(engine, ScreenRequest((encoded(drawing(40, 40)),)))


def transcribe(engine: Any) -> None:
    for mode in ("sequential", "batched"):
        run(engine, TranscribeRequest(CLIP, language="en", mode=mode))


def embed(engine: Any) -> None:
    kinds = () if not hasattr(engine, "kinds") else (frozenset({"dense"}),)
    engine.forward(engine.texts.read(("a", "b c"), str).tokens, *kinds)


def speak(engine: Any) -> None:
    run(engine, SpeakRequest("The old ship left."))


def compose(engine: Any) -> None:
    run(engine, MusicRequest("calm piano", steps=1))


def voice(engine: Any) -> None:
    run(engine, SpeakRequest("The old ship left.", max_tokens=8))


def read(engine: Any) -> None:
    run(engine, ReadRequest((InputPicture(encoded(drawing(40, 40)), "image"),)))


LLAMA = replace(row("Tiny_Llama"), options={"family": "llama3", "cache_tokens": 8192})
USES: dict[str, tuple[Row, Use]] = {
    "chat": (LLAMA, say),
    "flux": (row("Tiny_Flux"), paint),
    "klein": (tiny("Flux_2_Klein_4B_BF16", "flux2-klein"), paint),
    "sdxl": (tiny("SDXL", "sdxl"), paint),
    "z-image": (tiny("ZImageTurbo_INT8", "z-image"), paint),
    "ltx": (row("Tiny_Ltx2"), film),
    "esrgan": (row("Tiny_ESRGAN"), edit),
    "ben2": (row("Tiny_Ben2"), edit),
    "u2net": (row("U2Net_P"), edit),
    "safety": (row("Tiny_Safety_Checker"), screen),
    "whisper": (row("Tiny_Whisper"), transcribe),
    "embeddings": (row("Tiny_BGE_M3"), embed),
    "reranker": (row("Tiny_BGE_Reranker"), embed),
    "judge": (row("Qwen3_Reranker_0_6B"), embed),
    "music": (row("Tiny_AceStep"), compose),
    "hibari": (row("Hibari_Heart"), speak),
    "kokoro": (row("Kokoro_82M"), speak),
    "qwen-tts": (tiny("Qwen3_TTS_12Hz_1_7B_CustomVoice", "qwen-tts"), voice),
    "printed": (row("PP_OCRv6_Small"), read),
}
# The weights of these are not on every machine, and are made here.
MADE: dict[str, Callable[[Path, Row], Any]] = {
    "judge": lambda folder, _: judge(folder),
    "kokoro": write_kokoro,
}
FETCHED = {"u2net": "U2Net_P", "hibari": "Hibari_Heart", "printed": "PP_OCRv6_Small",
           "kokoro": "Hibari_Heart"}  # fmt: skip
# What holds the weights of an engine without tensors.
HOLDERS = {
    "FasterWhisper": "_model.model",
    "U2NetCutout": "_session",
    "PrintedText": "_read",
    "HibariSpeaker": "_model.sess",
    "KokoroSpeaker": "_session",
}
# The graph's own test has weights that are made there; speakers are told apart in processes.
ELSEWHERE = {
    "models.embeddings.onnx:OnnxEmbeddings",
    "models.transcribe.diarization.engine:SherpaSpeakers",
}


@pytest.fixture
def thawed() -> Iterator[None]:
    """What a test sets aside counts again after it.

    What other tests have left is set aside first: a look through all of it takes seconds.
    """
    gc.freeze()
    yield
    gc.unfreeze()


def tensors() -> list[torch.Tensor]:
    gc.collect()
    return [one for one in gc.get_objects() if type(one) in (torch.Tensor, torch.nn.Parameter)]


def largest(engine: Any, before: set[int]) -> weakref.ref[Any]:
    """The largest tensor that came with an engine; of a library in C++ the model itself."""
    new = [one for one in tensors() if id(one) not in before]
    if new:
        return weakref.ref(max(new, key=lambda one: one.nbytes))
    return weakref.ref(attrgetter(HOLDERS[type(engine).__name__])(engine))


def loaded(load: Callable[[], Any]) -> tuple[Any, weakref.ref[Any]]:
    before = {id(one) for one in tensors()}
    engine = load()
    return engine, largest(engine, before)


def test_every_engine_is_looked_at():
    assert {one.engine for one in CATALOG.rows} == {
        *(one.engine for one, _ in USES.values()),
        *ELSEWHERE,
    }


NAMES = [pytest.param(name, marks=needs(FETCHED[name]) if name in FETCHED else ()) for name in USES]


def used(name: str, folder: Path) -> tuple[Row, Use]:
    """A model and its use; weights that are made here are written to the folder."""
    model, use = USES[name]
    if name in MADE:
        MADE[name](folder, model)
        model = replace(model, weights=folder.as_uri())
    return model, use


@pytest.mark.parametrize("name", NAMES)
def test_an_engine_that_was_settled_is_gone_once_it_is_closed(store, thawed, tmp_path, name):
    """At once, as it hangs in no circle: nobody has to look through all objects for it."""
    model, use = used(name, tmp_path)
    engine, weights = loaded(lambda: Loader(store, CPU)(model))
    use(engine)
    assert weights() is not None
    settle()
    gc.disable()
    try:
        engine.close()
        at_once = weights() is None
    finally:
        gc.enable()
    free_memory()
    assert weights() is None
    assert at_once


@pytest.mark.parametrize("name", NAMES)
def test_a_request_is_gone_with_its_answer(store, tmp_path, monkeypatch, name):
    """At once: what a part holds, as a file of sound, does not wait for a full collection."""
    model, use = used(name, tmp_path)
    held: list[weakref.ref[Any]] = []

    class Watched(driving.Ticket):
        def __init__(self, item: Any, **more: Any) -> None:
            super().__init__(item, **more)
            held.append(weakref.ref(self))
            if hasattr(item, "__weakref__"):
                held.append(weakref.ref(item))

    monkeypatch.setattr(driving, "Ticket", Watched)
    engine = Loader(store, CPU)(model)
    gc.collect()
    gc.disable()
    try:
        use(engine)
        left = [each() for each in held if each() is not None]
    finally:
        gc.enable()
    assert not left
    engine.close()


def test_what_hangs_in_a_circle_and_was_set_aside_is_given_back(thawed):
    class Pipeline:
        """As a library's, whose parts know it."""

    pipeline = Pipeline()
    pipeline.itself, pipeline.weights = pipeline, torch.zeros(1000)
    weights = weakref.ref(pipeline.weights)
    settle()
    del pipeline
    gc.collect()
    assert weights() is not None
    free_memory()
    assert weights() is None


@pytest.mark.parametrize(
    ("slug", "kind"), [("Tiny_BGE_M3", LibraryEncoder), ("Tiny_BGE_Reranker", LibraryClassifier)]
)
def test_what_a_library_made_is_gone_too(store, thawed, slug, kind):
    folder: Path = store.resolve(row(slug))

    def load() -> Any:
        model = kind.load(folder, "cpu", torch.float32)
        texts = Texts(model.tokenizer, 64, row(slug))
        made = engine_class(row(slug))
        return made(model, *({} for _ in range(slug == "Tiny_BGE_M3")), texts, row(slug))

    engine, weights = loaded(load)
    embed(engine)
    settle()
    engine.close()
    free_memory()
    assert weights() is None


def test_a_collection_that_sets_nothing_aside_leaves_it_so(thawed):
    gc.unfreeze()
    free_memory()
    assert gc.get_freeze_count() == 0
    settle()
    before = gc.get_freeze_count()
    free_memory()
    assert gc.get_freeze_count() > 0.9 * before
