"""Fields of images as other servers' clients write them, and pictures as objects."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler.contract import SURFACES
from models.errors import InvalidValue, UnsupportedParameter
from tests.conftest import decoded, error_of
from tests.support.pictures import by_route, data_uri

pytestmark = pytest.mark.anyio

PIXEL = data_uri(64, 64)


def parse(**body: Any) -> Any:
    return SURFACES["images"].operations[0].request.parse({"prompt": "A fox", **body})


@pytest.fixture
def tiny(make_worker):
    return make_worker(FAKE_ENGINES="0", SURFACE="images")


def opened(answer: Any, index: int = 0) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(answer["data"][index]["b64_json"])))


# Pictures as objects -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        {"images": [{"image_url": PIXEL}]},  # OpenAI's JSON edits
        {"image": {"url": PIXEL, "type": "image_url"}},  # xAI's
        {"images": [{"url": PIXEL, "type": "image_url"}]},
        {"image": {"image_url": {"url": PIXEL}}},  # as in chat
        {"image": {"b64_json": PIXEL.partition(",")[2]}},  # as our own answers
        {"init_image": {"image_url": PIXEL}},
    ],
)
async def test_a_picture_may_come_as_an_object(tiny, sent):
    body = {"model": "Tiny_Flux", "prompt": "x", "steps": 2, "strength": 1, "seed": 1}
    plain = decoded(await tiny.answer({"input": {**body, "image": PIXEL}}))
    for job in ({"input": {**body, **sent}}, by_route("/v1/images/edits", **body, **sent)):
        assert decoded(await tiny.answer(job))["data"] == plain["data"]


async def test_so_may_a_mask(tiny):
    half = Image.new("L", (64, 64))
    half.paste(255, (32, 0, 64, 64))
    buffer = io.BytesIO()
    half.save(buffer, "PNG")
    mask = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    body = {"model": "Tiny_Flux", "prompt": "x", "steps": 2, "strength": 1, "seed": 1}
    sent = {"images": [{"image_url": PIXEL}], "mask": {"image_url": mask}}
    answer = decoded(await tiny.answer(by_route("/v1/images/edits", **body, **sent)))
    plain = decoded(await tiny.answer({"input": {**body, "image": PIXEL, "mask": mask}}))
    assert answer["data"] == plain["data"]


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"images": [{"image_url": PIXEL}, {"file_id": "file-1"}]}, "images[1].file_id"),
        ({"image": {"file_id": "file-1"}}, "image.file_id"),
        ({"image": PIXEL, "mask": {"file_id": "file-1"}}, "mask.file_id"),
    ],
)
async def test_a_file_of_another_store_is_refused_by_name(tiny, sent, param):
    error = error_of(await tiny.answer(by_route("/v1/images/edits", prompt="x", **sent)))
    assert (error["code"], error["param"]) == ("unsupported_parameter", param)
    assert "image_url" in error["message"]


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"images": [PIXEL, {"src": PIXEL}]}, "images[1]"),
        ({"image": {"x": 1}}, "image"),
        ({"mask": {"image_url": 5}}, "mask"),
    ],
)
def test_an_object_that_holds_no_picture_is_named(sent, param):
    with pytest.raises(InvalidValue) as caught:
        parse(**sent)
    assert (caught.value.code, caught.value.param) == ("invalid_type", param)


@pytest.mark.parametrize("blanks", [" {}", "\n{}\n", "\t{} "])
async def test_blanks_around_a_picture_are_nothing(tiny, blanks):
    body = {"model": "Tiny_ESRGAN", "image": blanks.format(data_uri())}
    assert opened(decoded(await tiny.answer({"input": body}))).size == (96, 64)


# Other names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"outscale": 2}, {"scale": 2}),
        ({"num_outputs": 2}, {"n": 2}),
        ({"num_images_per_prompt": 2}, {"n": 2}),
        ({"denoising_strength": 0.5}, {"strength": 0.5}),
        ({"prompt_strength": 0.5}, {"strength": 0.5}),
        ({"init_images": [PIXEL]}, {"image": [PIXEL]}),
        ({"image_size": "512x512"}, {"size": "512x512"}),
        ({"sampler_name": "Euler a"}, {"scheduler": "euler_a"}),
        ({"sampler_name": "DPM++ 2M Karras"}, {"scheduler": "dpmpp_2m_karras"}),
        ({"sampler": "DDIM"}, {"scheduler": "ddim"}),
        ({"scheduler": "K_EULER"}, {"scheduler": "euler"}),
        ({"scheduler": "euler_ancestral"}, {"scheduler": "euler_a"}),
        ({"scheduler": "UniPC"}, {"scheduler": "unipc"}),
        ({"output_format": "jpg"}, {"output_format": "jpeg"}),
        ({"output_format": "PNG"}, {"output_format": "png"}),
        ({"output_format": "image/webp"}, {"output_format": "webp"}),
    ],
)
def test_what_others_call_a_field_is_understood(sent, meant):
    assert parse(**sent).model_dump() == parse(**meant).model_dump()


@pytest.mark.parametrize("size", ["64X96", "64x96", " 64x96 ", "64 x 96"])
def test_a_size_is_two_numbers(size):
    assert parse(size=size).sides == (64, 96)


def test_a_size_is_refused_under_the_name_that_it_came_by():
    with pytest.raises(InvalidValue) as caught:
        parse(image_size="square_hd")
    assert caught.value.param == "image_size"


@pytest.mark.parametrize(
    ("sent", "instead"),
    [
        ({"clip_skip": 2}, "send 0"),
        ({"batch_size": 4}, "send n"),
        ({"lora": "x/y"}, "send loras"),
        ({"control_image": PIXEL}, "leave it out"),
        ({"enable_hr": True}, "leave it out"),
        ({"workflow": {"1": {}}}, "leave it out"),
        ({"resolution": "2k"}, "send size"),
        ({"true_cfg_scale": 4.0}, "guidance"),
    ],
)
def test_what_would_be_another_picture_is_refused_by_name(sent, instead):
    with pytest.raises(UnsupportedParameter, match=instead) as caught:
        parse(**sent)
    assert [caught.value.param] == list(sent)


@pytest.mark.parametrize(
    "sent",
    [
        {"clip_skip": 1}, {"batch_size": 1}, {"true_cfg_scale": 1.0}, {"enable_hr": False},
        {"resolution": "1k"}, {"lora": ""}, {"aspect_ratio": "auto"},
    ],
)  # fmt: skip
def test_what_changes_nothing_is_taken(sent):
    asked = parse(**sent)
    assert asked.unheeded_fields == {}
    assert asked.given == {"prompt"}


@pytest.mark.parametrize(
    "sent",
    [
        {"quality": "low"}, {"quality": "medium"}, {"quality": "high"}, {"quality": "hd"},
        {"moderation": "low"}, {"enable_safety_checker": False}, {"safety_tolerance": 6},
    ],
)  # fmt: skip
async def test_what_is_ordinary_and_changes_nothing_is_warned_of(worker, sent):
    body = {"prompt": "A fox", "seed": 1}
    plain = decoded(await worker.answer({"input": body}))
    answer = decoded(await worker.answer({"input": {**body, **sent}}))
    assert answer["data"] == plain["data"]
    [warning] = answer["warnings"]
    assert [warning["param"]] == list(sent)
    assert warning["message"].endswith("; it was left out.")
    error = error_of(await worker.answer({"input": {**body, **sent, "strict": True}}))
    assert (error["code"], error["param"]) == ("unsupported_parameter", next(iter(sent)))
    for neutral in ({"quality": "auto"}, {"quality": "standard"}, {"moderation": "auto"}):
        assert "warnings" not in decoded(await worker.answer({"input": {**body, **neutral}}))


# Sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "sides"),
    [
        ("1:1", (1024, 1024)), ("16:9", (1376, 768)), ("9:16", (768, 1376)), ("3:2", (1248, 832)),
        ("4/3", (1184, 896)), ("21:9", (1568, 672)),
    ],
)  # fmt: skip
def test_a_ratio_is_a_size_of_as_many_pixels(ratio, sides):
    asked = parse(aspect_ratio=ratio)
    assert asked.sides_of(1024 * 1024) == sides
    width, height = sides
    assert abs(width / height / asked.ratio - 1) < 0.05


async def test_a_model_makes_a_picture_of_that_ratio(tiny):
    body = {"model": "Tiny_Flux", "prompt": "x", "steps": 1, "aspect_ratio": "2:1"}
    made = decoded(await tiny.answer({"input": body}))
    width, height = opened(made).size
    assert width > 1.4 * height
    assert "warnings" not in made
    up = {"model": "Tiny_ESRGAN", "image": data_uri(), "aspect_ratio": "2:1"}
    answer = decoded(await tiny.answer({"input": up}))
    assert [one["param"] for one in answer["warnings"]] == ["aspect_ratio"]


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"size": "512x512", "width": 1024, "height": 1024}, "width"),
        ({"size": "512x512", "width": 512, "height": 1024}, "height"),
        ({"size": "512x512", "width": 1024}, "width"),
        ({"size": "auto", "width": 512}, "height"),
        ({"width": 512}, "height"),
        ({"size": "512x512", "aspect_ratio": "16:9"}, "aspect_ratio"),
        ({"width": 512, "height": 512, "aspect_ratio": "16:9"}, "aspect_ratio"),
        ({"aspect_ratio": "16:1"}, "aspect_ratio"),
        ({"aspect_ratio": "wide"}, "aspect_ratio"),
        ({"aspect_ratio": "0:1"}, "aspect_ratio"),
    ],
)
def test_sides_that_contradict_are_refused(sent, param):
    with pytest.raises(InvalidValue) as caught:
        parse(**sent)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "sent",
    [
        {"size": "512x256", "width": 512, "height": 256},
        {"size": "512x256", "width": 512},
        {"size": "512x256", "aspect_ratio": "2:1"},
        {"size": "auto", "width": 512, "height": 256},
    ],
)
def test_sides_that_agree_are_taken(sent):
    assert parse(**sent).sides_of(10**6) == (512, 256)


# Seeds -------------------------------------------------------------------------------------------


def test_the_seeds_of_several_pictures_stay_seeds():
    """Each that an answer tells can be sent again."""
    asked = parse(seed=2**32 - 2, n=4)
    assert asked.seeds(0) == (2**32 - 2, 2**32 - 1, 0, 1)
    assert [parse(seed=seed).seed for seed in asked.seeds(0)] == list(asked.seeds(0))
    assert max(parse(n=8).seeds(2**32 - 1)) < 2**32


async def test_a_picture_of_a_seed_that_went_around_is_made_again(tiny):
    body = {"model": "Tiny_Flux", "prompt": "x", "steps": 1, "size": "64x64"}
    first = decoded(await tiny.answer({"input": {**body, "seed": 2**32 - 1, "n": 2}}))
    assert [one["seed"] for one in first["data"]] == [2**32 - 1, 0]
    again = decoded(await tiny.answer({"input": {**body, "seed": 0}}))
    assert (np.asarray(opened(again)) == np.asarray(opened(first, 1))).all()


# Prompts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [{}, {"prompt": ""}, {"prompt": "larger"}, {"prompt": None}])
@pytest.mark.parametrize(
    ("route", "model"),
    [("/v1/images/upscale", "Tiny_ESRGAN"), ("/v1/images/background", "Tiny_Ben2")],
)
async def test_no_prompt_is_asked_for_where_none_is_read(tiny, route, model, sent):
    body = {"model": model, "image": data_uri(), **sent}
    for job in ({"input": body}, by_route(route, **body)):
        assert len(decoded(await tiny.answer(job))["data"]) == 1
    error = error_of(await tiny.answer(by_route(route, model=model, **sent)))
    assert (error["code"], error["param"]) == ("missing_required_parameter", "image")


@pytest.mark.parametrize("sent", [{}, {"prompt": ""}, {"prompt": None}])
async def test_one_is_asked_for_where_it_is(tiny, sent):
    error = error_of(await tiny.answer({"input": {"size": "64x64", "model": "Tiny_Flux", **sent}}))
    assert error["param"] == "prompt"
