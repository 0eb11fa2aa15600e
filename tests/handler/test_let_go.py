"""A job is gone with its answer, however it ends: nothing of it waits for a full collection.

Its texts, its files and the sound that was made of them may be hundreds of megabytes.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from benchmarks.fairness import recording
from models.errors import let_go
from tests.conftest import error_of
from tests.handler.test_entry import JOB, with_surface, with_timeout

pytestmark = pytest.mark.anyio

OURS = ("handler.", "models.")
_REST_S = 0.1  # until what a job has left to the loop is done


@pytest.fixture
def kept() -> Iterator[Callable[[], list[str]]]:
    """The classes of the project whose objects only a garbage collection finds.

    Nothing is logged meanwhile: pytest keeps the records, and those of bugs hold the error.
    """

    def look() -> list[str]:
        gc.collect()
        found = sorted(
            f"{type(each).__module__}.{type(each).__qualname__}"
            for each in gc.garbage
            if type(each).__module__.startswith(OURS)
        )
        gc.garbage.clear()
        return found

    gc.collect()
    gc.freeze()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    logging.disable(logging.CRITICAL)
    yield look
    logging.disable(logging.NOTSET)
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()
    gc.unfreeze()


def job(**body: Any) -> dict[str, Any]:
    return {"id": "j", "input": body}


FAILING = {
    "refused": (job(messages=[]), "invalid_value"),
    "a value of pydantic's": (job(prompt="x", size="3x3"), "invalid_value"),
    "of no surface": (job(x=1), "surface_unknown"),
    "a dead address": (job(audioUrl="http://127.0.0.1:9/a.wav"), "media_address_forbidden"),
    "no address": (job(audioUrl="http://nowhere.invalid/a.wav"), "media_unreachable"),
    "a damaged file": (job(audioUrl="data:audio/wav;base64,UklGRg=="), "media_undecodable"),
}


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("streams", [False, True])
async def test_one_that_fails(make_worker, kept, name, streams):
    real = {"FAKE_ENGINES": "", "SURFACE": "transcribe", "MODEL_SLUG": "Tiny_Whisper"}
    worker = make_worker(**real if "file" in name else {})
    raw, code = FAILING[name]

    async def end() -> Any:
        if not streams:
            return await worker.answer(raw)
        return [event async for event in worker.stream(raw)][-1]

    await end()  # what is imported and cached the first time
    kept()
    assert error_of(await end())["code"] == code
    await asyncio.sleep(_REST_S)
    assert kept() == []


async def broken(call: Any) -> Any:
    try:
        raise KeyError(call)
    except KeyError as error:
        raise ZeroDivisionError(call) from error


async def late(call: Any) -> Any:
    await asyncio.sleep(10)


@pytest.mark.parametrize(
    ("act", "limit_s", "code"), [(broken, 60, "internal_error"), (late, 1.2, "job_timeout")]
)
async def test_one_whose_surface_fails(worker, kept, act, limit_s, code):
    worker = with_timeout(with_surface(worker, answer=act), limit_s)
    assert error_of(await worker.answer(JOB))["code"] == code
    assert kept() == []


@pytest.mark.parametrize("surface", ["embeddings", "images", "transcribe", "speech"])
async def test_one_whose_engine_fails(worker, kept, surface):
    body = {
        "embeddings": {"input": "x"},
        "images": {"prompt": "x"},
        "transcribe": {"audioUrl": recording(0.01)},
        "speech": {"input": "x", "voice": "alloy"},
    }[surface]
    row = worker.endpoint.pick(surface, None)

    def fail(batch: Any) -> Any:
        raise RuntimeError(batch)

    async with worker.dispatcher.pool.lease(row) as model:
        model.engine.run = fail
    raw = {**job(**body), "surface": surface}
    assert error_of(await worker.answer(raw))["code"] == "engine_failed"
    await asyncio.sleep(_REST_S)
    assert kept() == []


@pytest.mark.parametrize("streams", [False, True])
async def test_one_that_is_cancelled(make_worker, kept, streams):
    worker = make_worker(FAKE_DELAY_S="0.05")
    await worker.answer(JOB)
    kept()

    async def end() -> None:
        if not streams:
            await worker.answer(JOB)
            return
        async for _ in worker.stream({"id": "j", "input": {**JOB["input"], "stream": True}}):
            pass

    task = asyncio.create_task(end())
    await asyncio.sleep(_REST_S)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    del task
    await asyncio.sleep(_REST_S)
    assert kept() == []


async def test_a_stream_that_its_reader_leaves(make_worker, kept):
    worker = make_worker(FAKE_DELAY_S="0.05")
    events = worker.stream({"id": "j", "input": {**JOB["input"], "stream": True}})
    await anext(events)
    kept()
    await events.aclose()
    del events
    await asyncio.sleep(_REST_S)
    assert kept() == []


@pytest.mark.parametrize("format_", ["mp3", "opus", "flac", "aac"])
async def test_sound_that_nobody_waits_for_any_more(kept, format_):
    from models.sound.encoding import encoder

    for streamed in (False, True):
        for _ in range(2):
            unfinished = encoder(format_, 24_000, 24_000, streamed=streamed)
            kept()
            del unfinished
        assert kept() == []
    assert not [each for each in gc.get_objects() if type(each).__name__ == "OutputContainer"]


def test_an_error_has_neither_frames_nor_causes_afterwards():
    inner = ValueError("inner")
    group = ExceptionGroup("some", [inner])
    with suppress(KeyError):
        try:
            try:
                raise inner
            except ValueError:
                raise group from inner
        except ExceptionGroup as caught:
            error = KeyError("outer")
            raise error from caught
    let_go(error)
    assert [each.__traceback__ for each in (error, group, inner)] == [None, None, None]
    assert (error.__cause__, error.__context__, group.__cause__) == (None, None, None)
