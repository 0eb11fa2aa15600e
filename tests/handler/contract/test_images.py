"""Images by every way in: which model answers, in what form, and what is refused."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from openai.types import ImagesResponse
from PIL import Image

from tests.conftest import decoded, error_of
from tests.support.bodies import check
from tests.support.pictures import by_route, data_uri

pytestmark = pytest.mark.anyio

EXTENSIONS = {"notice", "warnings", "model", "seed", "width", "height"}


async def whole(worker: Any, job: dict[str, Any]) -> ImagesResponse:
    return check(ImagesResponse, decoded(await worker.answer(job)), EXTENSIONS)


def opened(answer: ImagesResponse) -> Image.Image:
    [one] = answer.data
    return Image.open(io.BytesIO(base64.b64decode(one.b64_json)))


@pytest.fixture
def tiny(make_worker):
    return make_worker(FAKE_ENGINES="0", SURFACE="images")


async def test_upscale_has_a_route_and_the_model_says_it_too(tiny):
    body = {"image": data_uri(), "model": "Tiny_ESRGAN"}
    for job in (by_route("/v1/images/upscale", **body), {"input": {**body, "prompt": "larger"}}):
        answer = await whole(tiny, job)
        assert opened(answer).size == (96, 64)
        assert (answer.data[0].width, answer.data[0].height) == (96, 64)
        assert "seed" not in (answer.data[0].model_extra or {})
        assert answer.output_format == "png"
    half = await whole(tiny, by_route("/v1/images/upscale", **body, scale=2))
    assert opened(half).size == (48, 32)


async def test_background_has_a_route_and_the_model_says_it_too(tiny):
    body = {"image": data_uri(), "model": "Tiny_Ben2"}
    for job in (by_route("/v1/images/background", **body), {"input": {**body, "prompt": "cut"}}):
        made = opened(await whole(tiny, job))
        assert (made.mode, made.size) == ("RGBA", (24, 16))
    job = by_route("/v1/images/background", **body, output_format="webp", background="transparent")
    assert opened(await whole(tiny, job)).format == "WEBP"


async def test_without_a_model_the_routes_own_default_answers(make_worker):
    worker = make_worker(FAKE_ENGINES="0", SURFACE="images")
    pick = worker.endpoint.pick
    assert "img-upscale" in pick("images", None, "img-upscale").tasks
    assert "img-rmbg" in pick("images", None, "img-rmbg").tasks
    assert "txt2img" in pick("images", None).tasks


@pytest.mark.parametrize(
    ("job", "code", "param"),
    [
        (by_route("/v1/images/upscale", model="Tiny_ESRGAN"), "missing_required_parameter", "image"),
        (by_route("/v1/images/upscale", model="Tiny_ESRGAN", prompt="x"), "missing_required_parameter", "image"),
        (by_route("/v1/images/upscale", model="Tiny_Ben2", image=data_uri()), "model_not_supported", "model"),
        (by_route("/v1/images/background", model="Tiny_Flux", image=data_uri()), "model_not_supported", "model"),
        (by_route("/v1/images/upscale", model="Tiny_ESRGAN", image=data_uri(), scale=5), "invalid_value", "scale"),
        (by_route("/v1/images/background", model="Tiny_Ben2", image=data_uri(), output_format="jpeg"), "invalid_value", "output_format"),
        ({"input": {"prompt": "x", "model": "Tiny_Flux", "scale": 4}}, "unsupported_parameter", "scale"),
        ({"input": {"prompt": "x", "model": "Tiny_Flux", "background": "transparent"}}, "unsupported_parameter", "background"),
        ({"input": {"prompt": "x", "model": "Tiny_ESRGAN", "image_url": data_uri(), "seed": 1, "strict": True}}, "unsupported_parameter", "seed"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_by_name(tiny, job, code, param):
    error = error_of(await tiny.answer(job))
    assert (error["code"], error["param"]) == (code, param)


async def test_what_a_gateway_sends_of_every_model_is_taken(tiny):
    """Its playground knows one form: fields that change nothing are said, not refused."""
    body = {"prompt": "x", "n": 1, "width": 1024, "height": 1024, "seed": 42, "image": data_uri()}
    answer = await whole(tiny, {"input": {**body, "model": "Tiny_ESRGAN"}})
    warned = [one["param"] for one in answer.model_extra["warnings"]]
    assert warned == ["size", "seed"]
    assert opened(answer).size == (96, 64)


async def test_what_a_gateway_can_keep(make_worker):
    """Without a bucket and a named format, a large picture is webp; and says so."""
    worker = make_worker(FAKE_ENGINES="0", SURFACE="images", INLINE_LIMIT_BYTES="5000")
    body = {"image": data_uri(), "model": "Tiny_ESRGAN"}
    answer = await whole(worker, {"input": body})
    assert answer.output_format == "webp"
    assert opened(answer).format == "WEBP"
    named = await whole(worker, {"input": {**body, "output_format": "png"}})
    assert named.output_format == "png"
    assert opened(named).format == "PNG"


async def test_what_a_gateway_can_keep_of_several_pictures(make_worker):
    """Together, and in steps that warnings name; beyond the last the warning names the bucket."""
    limits = {"FAKE_ENGINES": "0", "SURFACE": "images"}
    body = {"prompt": "x", "model": "Tiny_Flux", "steps": 1, "size": "256x256", "n": 8, "seed": 1}
    messages, sizes = {}, {}
    for limit in (10**7, 300_000, 180_000, 1000):
        worker = make_worker(**limits, INLINE_LIMIT_BYTES=str(limit))
        answer = await whole(worker, {"input": body})
        sizes[limit] = sum(len(one.b64_json) for one in answer.data)
        messages[limit] = [
            one["message"]
            for one in (answer.model_extra or {}).get("warnings", ())
            if one["param"] == "output_format"
        ]
        assert len(answer.data) == 8
    assert messages[10**7] == []
    assert sizes[10**7] > 300_000
    for limit in (300_000, 180_000):
        assert sizes[limit] <= limit
        assert messages[limit][0].startswith("The 8 pictures are webp of quality ")
    assert sizes[1000] > 1000
    assert "quality 50" in messages[1000][0]
    assert "s3Config" in messages[1000][0]


async def test_what_could_not_be_delivered_is_refused_before_it_is_made(make_worker):
    worker = make_worker()
    body = {"prompt": "x", "size": "1024x1024", "output_format": "png"}
    error = error_of(await worker.answer({"input": {**body, "n": 8}}))
    assert (error["code"], error["param"]) == ("output_too_large", "output_format")
    assert "8 png of 1024x1024" in error["message"]
    for fewer in ({"n": 2}, {"n": 8, "output_format": "webp"}):
        assert len((await whole(worker, {"input": {**body, **fewer}})).data) == fewer["n"]


async def test_without_a_named_format_a_picture_is_made_to_fit(make_worker):
    """Noise, the worst of all pictures."""
    worker = make_worker(FAKE_ENGINES="0", SURFACE="images", OUTPUT_LIMIT_BYTES="20000")
    body = {"image": data_uri(20, 20), "model": "Tiny_ESRGAN"}
    answer = await whole(worker, {"input": body})
    assert answer.output_format == "webp"
    assert len(answer.data[0].b64_json) < 20000
