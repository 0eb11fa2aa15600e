"""Pictures that are shown while they are made, and how far they are."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import pytest
from openai.types import (
    ImageEditCompletedEvent,
    ImageEditPartialImageEvent,
    ImageGenCompletedEvent,
    ImageGenPartialImageEvent,
)
from PIL import Image

from handler.doors.queue.progress import Updates
from tests.conftest import error_of
from tests.support.bodies import check
from tests.support.buckets import read as get
from tests.support.buckets import store as store
from tests.support.buckets import variables
from tests.support.pictures import by_route, data_uri
from tests.support.sdk_platform import Platform, running, until, worker

pytestmark = pytest.mark.anyio

OURS = {"index", "seed", "width", "height", "model", "notice", "warnings"}
BODY = {"prompt": "a fox", "size": "64x64", "steps": 4, "seed": 7, "stream": True}
GENERATED = (ImageGenPartialImageEvent, ImageGenCompletedEvent)
EDITED = (ImageEditPartialImageEvent, ImageEditCompletedEvent)


@pytest.fixture
def tiny(make_worker):
    return make_worker(FAKE_ENGINES="0", SURFACE="images", MODEL_SLUG="Tiny_Flux")


async def told(one: Any, job: dict[str, Any]) -> list[Any]:
    return [event async for event in one.stream(job)]


def opened(event: Any) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(event["b64_json"])))


def checked(event: dict[str, Any], types: Any) -> dict[str, Any]:
    check(types["completed" in event["type"]], event, OURS)
    return event


# Events --------------------------------------------------------------------------------------------


async def test_previews_come_before_the_picture(tiny):
    events = await told(tiny, {"input": {**BODY, "partial_images": 2}})
    for event in events:
        checked(event, GENERATED)
        assert opened(event).size == (64, 64)
    *previews, last = events
    assert [one["partial_image_index"] for one in previews] == [0, 1]
    assert {one["type"] for one in previews} == {"image_generation.partial_image"}
    assert (last["type"], last["seed"]) == ("image_generation.completed", 7)
    assert last["usage"]["output_tokens"] == (64 // 16) ** 2
    assert last["usage"]["input_tokens"] == len("▁a▁fox") + 1  # a character a token, and the end
    assert "random weights" in last["notice"]
    plain = json.loads((await tiny.answer({"input": {**BODY, "stream": False}})).content)
    assert last["b64_json"] == plain["data"][0]["b64_json"]
    assert plain["usage"] == last["usage"]


async def test_on_a_route_they_are_server_sent(tiny):
    lines = await told(tiny, by_route("/v1/images/generations", **BODY, partial_images=1))
    assert [line.splitlines()[0] for line in lines] == [
        "event: image_generation.partial_image", "event: image_generation.completed"
    ]  # fmt: skip
    for line in lines:
        checked(json.loads(line.split("data: ")[1]), GENERATED)


@pytest.mark.parametrize("job", ["route", "plain"])
async def test_edits_have_events_of_their_own(tiny, job):
    body = {**BODY, "image": data_uri(64, 64), "partial_images": 1, "strength": 1}
    events = await told(
        tiny, by_route("/v1/images/edits", **body) if job == "route" else {"input": body}
    )
    if job == "route":
        events = [json.loads(line.split("data: ")[1]) for line in events]
    assert [checked(event, EDITED)["type"] for event in events] == [
        "image_edit.partial_image", "image_edit.completed"
    ]  # fmt: skip


async def test_several_pictures_say_which_they_are(tiny):
    events = await told(tiny, {"input": {**BODY, "n": 2, "partial_images": 1}})
    previews = [one["index"] for one in events if "partial" in one["type"]]
    assert sorted(previews) == [0, 1]
    done = [one for one in events if "completed" in one["type"]]
    assert [(one["index"], one["seed"]) for one in done] == [(0, 7), (1, 8)]
    assert done[0]["b64_json"] != done[1]["b64_json"]


async def test_a_stream_of_what_has_no_previews_is_its_picture(make_worker):
    one = make_worker(FAKE_ENGINES="0", SURFACE="images")
    body = {"image": data_uri(), "model": "Tiny_ESRGAN", "stream": True, "partial_images": 2}
    [event] = await told(one, {"input": body})
    assert opened(event).size == (96, 64)
    assert [warned["param"] for warned in event["warnings"]] == ["partial_images"]


async def test_an_event_fits_into_what_the_queue_takes(make_worker):
    """A chunk has a megabyte at most: without a named format one is found, with one it is refused."""
    one = make_worker(FAKE_ENGINES="0", SURFACE="images", MODEL_SLUG="Tiny_Flux")
    body = {**BODY, "size": "1024x1024", "steps": 1}
    error = error_of((await told(one, {"input": {**body, "output_format": "png"}}))[-1])
    assert (error["code"], error["param"]) == ("output_too_large", "output_format")
    assert "an event of a stream holds 1.0" in error["message"]
    [event] = await told(one, {"input": body})
    assert event["output_format"] in ("png", "webp")
    assert len(json.dumps(event)) < 1_000_000


@pytest.mark.parametrize(
    ("steps", "previews", "shown"),
    [(1, 3, 0), (2, 1, 1), (2, 3, 1), (3, 2, 2), (3, 3, 2), (4, 3, 3), (5, 3, 3), (9, 2, 2)],
)
async def test_previews_are_counted_without_a_gap(make_worker, steps, previews, shown):
    """Few steps have fewer of them; the first is always 0."""
    one = make_worker(FAKE_ENGINES="0", SURFACE="images", MODEL_SLUG="Tiny_Flux")
    body = {**BODY, "steps": steps, "partial_images": previews}
    events = [event for event in await told(one, {"input": body}) if "partial" in event["type"]]
    assert [event["partial_image_index"] for event in events] == list(range(shown))


# Beside a link -------------------------------------------------------------------------------------


async def test_an_event_has_its_picture_beside_the_link(make_worker, store):
    """The package's users read ``b64_json`` of it; a link is what they do not know."""
    kept, url = store
    one = make_worker(**variables(url), FAKE_ENGINES="0", SURFACE="images", MODEL_SLUG="Tiny_Flux")
    for job in ({"input": {**BODY, "n": 2}}, by_route("/v1/images/generations", **BODY, n=2)):
        events = await told(one, job)
        if "openai_route" in job["input"]:
            events = [json.loads(line.split("data: ")[1]) for line in events]
        for event in events:
            read = ImageGenCompletedEvent.construct(**event)  # as the package does
            stored = await get(event["url"])
            assert base64.b64decode(read.b64_json) == stored
            assert "warnings" not in event
    assert len(kept.objects) == 4


async def test_one_is_no_larger_than_an_event_may_be(make_worker, store):
    """A picture of four megabytes as png: what the event carries is smaller, and says so."""
    _, url = store
    one = make_worker(**variables(url), FAKE_ENGINES="0", SURFACE="images")
    body = {"model": "Tiny_ESRGAN", "image": data_uri(320, 320), "stream": True}
    [event] = await told(one, {"input": {**body, "output_format": "png"}})
    assert len(json.dumps(event)) < 1_000_000
    assert event["output_format"] == "png"
    stored = await get(event["url"])
    assert len(stored) > 3_000_000
    assert Image.open(io.BytesIO(stored)).size == (1280, 1280)
    assert opened(event).format == "WEBP"
    [warning] = event["warnings"]
    assert warning["param"] == "b64_json"
    assert "1280x1280 as it was made" in warning["message"]
    ImageEditCompletedEvent.model_validate(event)


async def test_several_are_no_larger_together_than_other_media(make_worker, store):
    """The platform keeps a list of a stream's events, and it has a limit as a whole."""
    _, url = store
    limits = {"INLINE_LIMIT_BYTES": "20000"}
    one = make_worker(**variables(url), **limits, FAKE_ENGINES="0", SURFACE="images")
    body = {**BODY, "model": "Tiny_Flux", "size": "128x128", "n": 4, "steps": 1}
    events = await told(one, {"input": {**body, "output_format": "png"}})
    assert len(events) == 4
    assert sum(len(event["b64_json"]) for event in events) <= 20_000
    for event in events:
        assert len(await get(event["url"])) > 15_000


async def test_who_asks_for_links_has_no_more(make_worker, store):
    _, url = store
    one = make_worker(**variables(url))
    [event] = await told(one, {"input": {**BODY, "response_format": "url"}})
    assert "b64_json" not in event
    assert await get(event["url"])
    [event] = await told(one, {"input": {**BODY, "response_format": "b64_json"}})
    assert "url" not in event
    assert opened(event).size == (64, 64)


async def test_a_video_that_an_event_cannot_hold_is_a_link_alone(make_worker, store):
    _, url = store
    limits = {"INLINE_LIMIT_BYTES": "1000"}
    one = make_worker(**variables(url), **limits, FAKE_ENGINES="0", SURFACE="images")
    body = {"model": "Tiny_Ltx2", "prompt": "waves", "size": "96x64", "frames": 9, "stream": True}
    [event] = await told(one, {"input": body})
    assert "b64_json" not in event
    assert (await get(event["url"]))[4:8] == b"ftyp"
    assert [warned["param"] for warned in event["warnings"]] == ["b64_json"]


async def test_previews_without_a_stream_are_left_out(make_worker):
    one = make_worker()
    body = {**BODY, "stream": False, "partial_images": 2}
    answer = json.loads((await one.answer({"input": body})).content)
    assert [warned["param"] for warned in answer["warnings"]] == ["partial_images"]
    error = error_of(await one.answer({"input": {**body, "strict": True}}))
    assert (error["code"], error["param"]) == ("unsupported_parameter", "partial_images")


@pytest.mark.parametrize("amount", [-1, 4, "2"])
async def test_how_many_previews_there_may_be(make_worker, amount):
    error = error_of((await told(make_worker(), {"input": {**BODY, "partial_images": amount}}))[-1])
    assert error["param"] == "partial_images"


async def test_variations_are_refused_by_name(make_worker):
    one = make_worker()
    error = error_of(await one.answer(by_route("/v1/images/variations", image=data_uri())))
    assert (error["code"], error["param"]) == ("unknown_url", "openai_route")
    assert "/v1/images/edits" in error["message"]
    error = error_of(await one.answer(by_route("/v1/images/nothing", image=data_uri())))
    assert "variations" not in error["message"]


# How far it is ---------------------------------------------------------------------------------------

SLOW = {"prompt": "a fox", "steps": 10}


OFTEN = {"update_every_s": 0.05}


async def test_progress_is_told_in_order_and_never_after_the_result():
    platform = Platform()
    async with running(platform, worker(FAKE_DELAY_S="0.05"), **OFTEN):
        platform.put("j", SLOW)
        await until(platform.results)
        await until(lambda: any("error" in one or "data" in str(one) for *_, one in platform.posts))
        await asyncio.sleep(0.3)
    *updates, result = [content for _, _, content in platform.posts]
    assert {one["status"] for one in updates} == {"IN_PROGRESS"}
    done = [one["output"]["done"] for one in updates]
    assert done == sorted(set(done))
    assert 3 <= len(done) <= 11
    assert {(one["output"]["total"], one["output"]["unit"]) for one in updates} == {(10, "steps")}
    assert result["output"]["data"]


async def test_a_short_job_and_a_stream_have_no_updates():
    platform = Platform()
    async with running(platform, worker()):
        platform.put("short", SLOW)
        await until(lambda: "short" in platform.results())
        platform.put("stream", {**SLOW, "stream": True})
        await until(lambda: "stream" in platform.results())
    assert [kind for kind, _, content in platform.posts if "status" in content] == []


async def test_a_platform_that_takes_no_updates_still_gets_the_result():
    platform = Platform()
    refused = []

    def status(kind: str) -> int:
        if len(refused) < 3:
            refused.append(kind)
            return 500
        return 200

    platform.status = status
    async with running(platform, worker(FAKE_DELAY_S="0.05"), **OFTEN):
        platform.put("j", SLOW)
        await until(lambda: any("data" in str(content) for *_, content in platform.posts))


async def test_a_stopped_job_tells_no_more():
    platform = Platform()
    async with running(platform, worker(FAKE_DELAY_S="0.05"), **OFTEN):
        platform.put("j", {**SLOW, "steps": 100})
        await until(lambda: len(platform.posts) > 2)
        platform.stops.put_nowait("j")
        await asyncio.sleep(0.3)
        count = len(platform.posts)
        await asyncio.sleep(0.3)
        assert len(platform.posts) == count


async def test_a_result_waits_for_the_update_that_is_under_way():
    posted: list[Any] = []

    async def slowly(value: Any) -> None:
        await asyncio.sleep(0.1)
        posted.append(value)

    async with Updates(slowly, every_s=0.01) as updates:
        updates.tell(1)
        await asyncio.sleep(0.05)
        updates.tell(2)
        updates.tell(3)
    assert posted == [1]
    await asyncio.sleep(0.2)
    assert posted == [1]
