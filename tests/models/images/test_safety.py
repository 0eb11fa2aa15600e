"""The safety checker: diffusers' own flags, and what becomes of the pictures that it flags."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from openai.types import ImagesResponse
from PIL import Image
from transformers import CLIPImageProcessorPil

from handler.settings.variable import SettingsError
from handler.settings.variables import Settings
from models.images.request import ScreenRequest
from tests.conftest import error_of, row
from tests.support.bodies import check
from tests.support.driving import run

CHECKER = row("Tiny_Safety_Checker")
IMAGE = {"prompt": "x", "n": 2, "seed": 1}
EXTENSIONS = {"model", "seed", "width", "height", "content_filter", "notice", "warnings"}


def picture(seed: int, width: int = 64, height: int = 64) -> Image.Image:
    dice = np.random.default_rng(seed)
    small = Image.fromarray(dice.integers(0, 255, (4, 4, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def png(one: Image.Image) -> bytes:
    buffer = io.BytesIO()
    one.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def deciding(load):
    """A checker whose concepts lie so that it flags some pictures and others not."""
    engine = load(CHECKER)
    net, before = engine._net, engine._net.concept_embeds_weights.detach().clone()
    pixels = torch.stack([engine._read(picture(seed)) for seed in range(24)])
    with torch.inference_mode():
        embedded = net.visual_projection(net.vision_model(pixels)[1])
        near = torch.nn.functional.cosine_similarity(embedded, net.concept_embeds[:1])
    with torch.no_grad():
        net.concept_embeds_weights[0] = near.median()
    yield engine
    with torch.no_grad():
        net.concept_embeds_weights.copy_(before)


def test_it_flags_what_diffusers_flags(deciding):
    pictures = [picture(seed) for seed in range(24)]
    got = run(deciding, ScreenRequest(tuple(map(png, pictures))))
    reader = CLIPImageProcessorPil(
        size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}
    )
    read = reader(pictures, return_tensors="pt").pixel_values
    with torch.inference_mode():
        _, wanted = deciding._net(clip_input=read, images=np.zeros((24, 1, 1, 3), np.float32))
    assert list(got) == wanted
    assert len(set(got)) == 2


def test_any_shape_is_read(load):
    shapes = [(64, 64), (200, 40), (31, 333), (1, 1)]
    got = run(load(CHECKER), ScreenRequest(tuple(png(picture(1, *one)) for one in shapes)))
    assert got == (False,) * 4


@pytest.fixture
def screened(make_worker, monkeypatch):
    """A worker whose checker flags the pictures of these places."""

    def made(flagged: set[int], **env: str) -> Any:
        worker = make_worker(**env)
        checker = row("Tiny_Safety_Checker")

        async def screen(self: Any, _: Any, __: Any, request: ScreenRequest) -> list[bool]:
            return [index in flagged for index in range(len(request.pictures))]

        monkeypatch.setattr("handler.dispatch.Dispatcher._ask", screen)
        return replace(worker, dispatcher=replace(worker.dispatcher, helpers={"safety": checker}))

    return made


@pytest.mark.anyio
async def test_a_flagged_picture_does_not_leave(screened):
    answer = json.loads((await screened({1}).answer({"input": IMAGE})).content)
    check(ImagesResponse, answer, EXTENSIONS)
    shown, withheld = answer["data"]
    assert shown["b64_json"]
    assert shown["content_filter"] == {"checked_by": "Tiny_Safety_Checker", "flagged": False}
    assert withheld.keys() == {"width", "height", "seed", "content_filter"}
    assert withheld["content_filter"]["flagged"] is True


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
async def test_where_none_is_left_the_request_fails(screened, stream):
    worker, body = screened({0, 1}), {**IMAGE, "stream": stream}
    output = (
        [one async for one in worker.stream({"input": body})][-1]
        if stream
        else await worker.answer({"input": body})
    )
    error = error_of(output)
    assert (error["code"], error["param"]) == ("content_policy_violation", "prompt")
    assert error["type"] == "invalid_request_error"


@pytest.mark.anyio
async def test_nothing_is_shown_before_it_is_checked(screened):
    body = {**IMAGE, "stream": True, "partial_images": 2}
    events = [one async for one in screened({1}).stream({"input": body})]
    assert [one["type"] for one in events] == ["image_generation.completed"] * 2
    assert ["b64_json" in one for one in events] == [True, False]
    assert [one["param"] for one in events[0]["warnings"]] == ["partial_images"]


@pytest.mark.anyio
async def test_the_checker_is_a_model_like_others(make_worker):
    worker = make_worker(
        FAKE_ENGINES="0",
        SURFACE="images",
        MODEL_SLUG="Tiny_Flux",
        SAFETY_CHECKER="Tiny_Safety_Checker",
    )
    body = {**IMAGE, "size": "64x64", "steps": 1}
    answer = json.loads((await worker.answer({"input": body})).content)
    assert [one["content_filter"]["flagged"] for one in answer["data"]] == [False, False]
    assert base64.b64decode(answer["data"][0]["b64_json"])
    assert set(worker.dispatcher.pool.warm) == {"Tiny_Flux", "Tiny_Safety_Checker"}
    listed = worker.endpoint.catalog.rows
    assert "Tiny_Safety_Checker" not in [one.slug for one in listed]


def test_a_checker_that_there_is_not_stops_the_start():
    from handler.assemble import assemble

    with pytest.raises(SettingsError, match="SAFETY_CHECKER: .* It holds: StableDiffusion_Safety"):
        assemble(Settings.from_env({"SAFETY_CHECKER": "nobody", "DEVICE": "cpu"}))


@pytest.mark.anyio
@pytest.mark.parametrize("flagged", [False, True])
async def test_frames_speak_for_their_video(make_worker, monkeypatch, flagged):
    """One that is flagged is enough."""
    seen: list[tuple[int, int]] = []

    async def screen(self: Any, _: Any, __: Any, request: ScreenRequest) -> list[bool]:
        seen.extend(Image.open(io.BytesIO(one)).size for one in request.pictures)
        return [False, flagged, False]

    monkeypatch.setattr("handler.dispatch.Dispatcher._ask", screen)
    env = {"FAKE_ENGINES": "0", "SURFACE": "images", "SAFETY_CHECKER": "Tiny_Safety_Checker"}
    body = {"model": "Tiny_Ltx2", "prompt": "waves", "size": "96x64", "frames": 9, "seed": 5}
    output = await make_worker(**env).answer({"input": body})
    assert seen == [(96, 64)] * 3
    if flagged:
        assert error_of(output)["code"] == "content_policy_violation"
    else:
        [video] = json.loads(output.content)["data"]
        assert video["content_filter"] == {"checked_by": "Tiny_Safety_Checker", "flagged": False}
        assert video["b64_json"]
