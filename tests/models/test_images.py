"""The images engine against diffusers, on the same weights."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.errors import (
    ContextLengthExceeded,
    MediaUndecodable,
    UnsupportedParameter,
)
from models.images.request import ImageRequest, Images, Output, Picture
from tests.conftest import row, tiny
from tests.models.driving import Load, Ticket, prepare, run

FLUX = row("Tiny_Flux")


@pytest.fixture(scope="module")
def klein(load: Load) -> Any:
    from dataclasses import replace

    model = tiny("Flux_2_Klein_4B_BF16", "flux2-klein")
    return load(replace(model, slug="klein", defaults={**model.defaults, "size": "64x64"}))


def make(engine: Any, request: ImageRequest) -> tuple[Picture, ...]:
    """The pictures, where nothing was asked in vain."""
    answer: Images = run(engine, request)
    assert answer.left_out == ()
    return answer.pictures


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.int16)


def test_images_are_diffusers(load):
    engine = load(FLUX)
    pictures = make(engine, ImageRequest("a red fox", seed=7, n=2, width=96, height=64))
    for picture in pictures:
        expected = engine._pipeline(
            "a red fox", width=96, height=64, num_inference_steps=4, guidance_scale=0.0,
            max_sequence_length=256, generator=torch.Generator().manual_seed(picture.seed),
        ).images[0]  # fmt: skip
        got = pixels(picture.content)
        assert got.shape == (64, 96, 3)
        assert np.abs(got - np.asarray(expected, dtype=np.int16)).max() <= 1
    assert [picture.seed for picture in pictures] == [7, 8]
    assert (pixels(pictures[0].content) != pixels(pictures[1].content)).any()


def test_prompts_steps_guidance_and_negative_prompts_matter(load):
    engine = load(FLUX)

    def made(**changes: Any) -> Images:
        request = ImageRequest(
            **{"prompt": "a fox", "seed": 7, "width": 64, "height": 64, **changes}
        )
        answer: Images = run(engine, request)
        return answer

    def content(**changes: Any) -> bytes:
        return made(**changes).pictures[0].content

    base = content()
    assert content() == base
    for change in ({"prompt": "b"}, {"steps": 2}, {"seed": 8}, {"negative_prompt": "blurry"}):
        assert content(**change) != base, change
    negative = {"negative_prompt": "blurry"}
    assert content(**negative, guidance=4.0) != content(**negative)
    for vain in ({"guidance": 4.0}, {**negative, "guidance": 0.5}):
        answer = made(**vain)
        assert answer.pictures == made(**{**vain, "guidance": None}).pictures
        assert [one.param for one in answer.left_out] == ["guidance"]
        with pytest.raises(UnsupportedParameter, match="leave it out"):
            made(**vain, strict=True)


@pytest.mark.parametrize(("width", "height"), [(100, 70), (65, 64), (1000 // 8, 72)])
def test_any_size_is_cut_from_the_next_larger_one(load, width, height):
    [picture] = make(load(FLUX), ImageRequest("x", seed=1, width=width, height=height, steps=1))
    assert pixels(picture.content).shape == (height, width, 3)
    assert (picture.width, picture.height) == (width, height)


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
def test_formats(load, format_):
    request = ImageRequest("x", seed=1, width=64, height=64, steps=1, output=Output(format_))
    [picture] = make(load(FLUX), request)
    assert Image.open(io.BytesIO(picture.content)).format == format_.upper()


def test_image_to_image_is_diffusers(klein):
    source = Image.effect_mandelbrot((80, 64), (-2, -1, 1, 1), 50).convert("RGB")
    buffer = io.BytesIO()
    source.save(buffer, "PNG")
    [picture] = make(klein, ImageRequest("x", seed=3, image=buffer.getvalue(), steps=2))
    expected = klein._pipeline(
        prompt="x", image=source, width=80, height=64, num_inference_steps=2, guidance_scale=1.0,
        max_sequence_length=512, generator=torch.Generator().manual_seed(3),
    ).images[0]  # fmt: skip
    assert np.abs(pixels(picture.content) - np.asarray(expected, dtype=np.int16)).max() <= 1
    [from_text] = make(klein, ImageRequest("x", seed=3, width=80, height=64, steps=2))
    assert from_text.content != picture.content


def test_what_an_image_model_cannot_do_is_refused_by_name(load, klein):
    with pytest.raises(UnsupportedParameter, match="takes no input image") as caught:
        load(FLUX).prepare(ImageRequest("x", seed=1, image=b"x"))
    assert caught.value.param == "image"
    vain = ImageRequest("x", seed=1, width=64, height=64, negative_prompt="blurry", guidance=3.0)
    with pytest.raises(UnsupportedParameter, match="distilled") as caught:
        klein.prepare(replace(vain, strict=True))
    assert caught.value.param == "negative_prompt"
    answer = run(klein, vain)
    assert [one.param for one in answer.left_out] == ["negative_prompt", "guidance"]
    assert all(one.message.endswith("it was left out.") for one in answer.left_out)
    plain = make(klein, replace(vain, negative_prompt=None, guidance=None))
    assert answer.pictures == plain
    with pytest.raises(ContextLengthExceeded, match="at most 256"):
        load(FLUX).prepare(ImageRequest("word " * 200, seed=1))


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"x" * 100])
def test_pictures_that_cannot_be_read(klein, content):
    with pytest.raises(MediaUndecodable) as caught:
        klein.prepare(ImageRequest("x", seed=1, image=content))
    assert caught.value.param == "image"


def test_a_prompt_is_counted_whole_also_after_the_first_picture(klein):
    """The pipeline leaves its tokenizer truncating; counting with it would let anything through."""
    run(klein, ImageRequest("x", seed=3, width=64, height=64, steps=1))
    with pytest.raises(ContextLengthExceeded, match="at most 512"):
        klein.prepare(ImageRequest("word " * 600, seed=1))


@pytest.mark.parametrize("format_", ["EPS", "TIFF", "PPM", "ICO"])
def test_only_common_picture_formats_are_opened(klein, format_):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, format_)
    with pytest.raises(MediaUndecodable):
        klein.prepare(ImageRequest("x", seed=1, image=buffer.getvalue()))


def test_a_picture_bomb_is_refused(klein):
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    with pytest.raises(MediaUndecodable):
        klein.prepare(ImageRequest("x", seed=1, image=buffer.getvalue()))


def test_a_cancelled_picture_stops_at_the_next_step(load):
    engine = load(FLUX)
    ticket = Ticket(prepare(engine, ImageRequest("x", seed=1, steps=50)), cancel_at=2)
    engine.run([ticket])
    assert ticket.events == [(1, 50), (2, 50)]
