"""A small job of nobody's before the first: what it is for each model, and that it stops nobody."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from handler.contract import SURFACES
from handler.contract.samples import SQUARE
from models.catalog import CATALOG
from models.errors import OutOfMemory

pytestmark = pytest.mark.anyio
SERVED = [row for row in CATALOG.rows if row.surface in SURFACES]


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row.slug)
async def test_every_model_has_one_that_its_surface_understands(row, make_worker):
    """But those that write speech down: on a GPU they have tried themselves on a known clip."""
    worker = make_worker(FAKE_ENGINES="0", SURFACE=row.surface, MODEL_SLUG=row.slug)
    rehearsal = SURFACES[row.surface].rehearsal(row)
    if row.surface == "transcribe":
        assert rehearsal is None
        return
    route, body = rehearsal
    raw = {"id": "j", "input": {"openai_route": route, "openai_input": body}}
    task = worker.accept(raw)
    assert task.row.slug == row.slug
    assert task.surface.name == row.surface


def test_the_picture_is_one():
    image = Image.open(io.BytesIO(base64.b64decode(SQUARE.partition(",")[2])))
    image.load()
    assert image.size == (64, 64)


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    from handler.dispatch import Dispatcher

    seen: list[Any] = []
    answer = Dispatcher.answer

    async def counted(self: Any, task: Any, *more: Any) -> Any:
        seen.append(task)
        return await answer(self, task, *more)

    monkeypatch.setattr(Dispatcher, "answer", counted)
    return seen


async def test_it_is_answered_before_any_other(make_worker, answered):
    worker = make_worker(SURFACE="chat")
    await worker.warm()
    [task] = answered
    assert task.job.id == "rehearsal"
    assert task.request.max_tokens == 2


async def test_not_where_it_is_not_wanted(make_worker, answered):
    worker = make_worker(SURFACE="chat", REHEARSE="false")
    await worker.warm()
    assert worker.dispatcher.pool.warm
    assert answered == []


async def test_it_leaves_nothing_in_the_bucket(make_worker, answered):
    """The store is nowhere: an upload would fail, and be logged."""
    worker = make_worker(
        SURFACE="images", BUCKET_ENDPOINT_URL="http://127.0.0.1:9", BUCKET_NAME="results",
        BUCKET_ACCESS_KEY_ID="a", BUCKET_SECRET_ACCESS_KEY="b",
    )  # fmt: skip
    assert worker.dispatcher.bucket is not None
    await worker.warm()
    assert len(answered) == 1


async def test_one_that_fails_is_logged_and_the_worker_is_warm(make_worker, caplog):
    worker = make_worker(SURFACE="embeddings")
    row = worker.expected

    async with worker.dispatcher.pool.lease(row) as model:

        def full(batch: Any) -> Any:
            raise OutOfMemory("The device is full.")

        model.engine.run = full
    await worker.warm()
    assert "the rehearsal failed: The device" in caplog.text
    assert worker.dispatcher.pool.warm == [row.slug]


async def test_weights_are_read_ahead_of_the_model_that_is_expected(make_worker):
    worker, read = make_worker(SURFACE="images"), []
    worker.dispatcher.pool.prefetch = read.append
    worker.prefetch()
    assert read == [worker.expected]
    several = make_worker(SURFACE="all")
    several.dispatcher.pool.prefetch = read.append
    several.prefetch()
    assert len(read) == 1
