"""How pictures leave: in a format that holds them, and small enough for an answer."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.errors import InvalidValue
from models.images.encoding import check_delivery, encode, encoded, preview
from models.images.request import Output, Picture
from tests.support.drawings import photo

WEBP, JPEG = 16_383, 65_500  # the longest side that each has


def noise(side: int = 128, seed: int = 0) -> Image.Image:
    """The worst of all pictures."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def opened(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.content))


def base64_bytes(pictures: Any) -> float:
    return sum(len(one.content) for one in pictures) * 4 / 3


# Together ----------------------------------------------------------------------------------------


def test_pictures_that_fit_together_are_png_and_nothing_is_said():
    made = encoded([photo()] * 3, [1, 2, 3], Output(inline_limit_bytes=10**7))
    assert [one.format for one in made.pictures] == ["png"] * 3
    assert made.left_out == ()


def test_quality_goes_down_in_steps_until_they_fit_together():
    """A warning says each step. It fits, and the step before would not have."""
    pictures = [photo(256, 256, seed) for seed in range(4)]
    whole = base64_bytes(encoded(pictures, [0] * 4, Output()).pictures)
    messages = {}
    for share in (0.5, 0.12, 0.08, 0.06, 0.05, 0.045, 0.04, 0.035, 0.03):
        limit = int(whole * share)
        made = encoded(pictures, [0] * 4, Output(inline_limit_bytes=limit))
        [warning] = made.left_out
        assert {one.format for one in made.pictures} == {"webp"}
        quality = int(warning.message.partition("of quality ")[2].split(":")[0].split()[0])
        messages[quality] = warning.message
        if base64_bytes(made.pictures) > limit:
            assert quality == 50
            assert "s3Config" in warning.message
        else:
            assert f"{whole / 1e6:.1f} MB" in warning.message
        better = [one for one in (95, 80, 65) if one > quality]
        for one in better:
            contents = [encode(picture, "webp", one) for picture in pictures]
            assert sum(map(len, contents)) * 4 / 3 > limit
    assert set(messages) == {95, 80, 65, 50}
    assert all(text.startswith("The 4 pictures are webp of quality") for text in messages.values())


def test_beyond_the_lowest_the_warning_names_the_bucket():
    made = encoded([noise()] * 8, list(range(8)), Output(inline_limit_bytes=50_000))
    assert base64_bytes(made.pictures) > 50_000
    [warning] = made.left_out
    assert warning.param == "output_format"
    assert "webp of quality 50" in warning.message
    assert "an answer without a bucket should have at most 0.1 MB" in warning.message
    assert "BUCKET_" in warning.message
    assert "s3Config" in warning.message


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
def test_a_named_format_is_kept_and_nothing_is_said(format_):
    made = encoded([noise()] * 2, [1, 2], Output(format_, inline_limit_bytes=1000))
    assert {opened(one).format.lower() for one in made.pictures} == {format_}
    assert made.left_out == ()


def test_an_event_has_a_limit_of_its_own():
    made = encoded([noise()], [1], Output(each_limit_bytes=40_000))
    assert len(made.pictures[0].content) * 4 / 3 <= 40_000
    assert "webp" in made.left_out[0].message


# Sides -------------------------------------------------------------------------------------------


def long_picture(side: int, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (side, 4), (200, 100, 50, 128)[: len(mode)])


@pytest.mark.parametrize(("format_", "most"), [("webp", WEBP), ("jpeg", JPEG)])
def test_a_side_that_a_format_has_not_is_refused_before(format_, most):
    """And one less is not: the limit is that of the library which writes it."""
    check_delivery(Output(format_), 1, most, 4)
    assert opened(encoded([long_picture(most)], [1], Output(format_)).pictures[0]).width == most
    for size in ((most + 1, 4), (4, most + 1)):
        with pytest.raises(InvalidValue, match=f"at most {most} pixels a side") as caught:
            check_delivery(Output(format_), 1, *size)
        assert (caught.value.param, caught.value.code) == ("output_format", "invalid_value")
        assert "png" in caught.value.message
    with pytest.raises((ValueError, OSError)):
        encode(long_picture(most + 1), format_)


@pytest.mark.parametrize(
    ("side", "mode", "format_"),
    [
        (WEBP, "RGB", "webp"), (WEBP + 1, "RGB", "jpeg"), (JPEG, "RGB", "jpeg"),
        (JPEG + 1, "RGB", "png"), (WEBP, "RGBA", "webp"), (WEBP + 1, "RGBA", "png"),
    ],
)  # fmt: skip
def test_a_format_of_our_own_choice_is_one_that_holds_the_picture(side, mode, format_):
    """Where it is to be small, and is long."""
    output = Output(inline_limit_bytes=100)
    check_delivery(output, 1, side, 4, opaque=mode == "RGB")
    made = encoded([long_picture(side, mode)], [None], output)
    [picture] = made.pictures
    assert (picture.format, opened(picture).size) == (format_, (side, 4))
    assert made.left_out[0].message.startswith(f"The picture is {format_} ")


def test_one_that_only_a_png_holds_is_refused_where_that_is_too_large():
    output = Output(limit_bytes=10_000)
    check_delivery(output, 1, WEBP + 1, 1000)
    with pytest.raises(InvalidValue) as caught:
        check_delivery(output, 1, WEBP + 1, 1000, opaque=False)
    assert caught.value.code == "output_too_large"


@pytest.mark.parametrize("side", [64, WEBP + 1])
def test_a_preview_is_in_a_format_that_holds_it(side):
    pixels = np.zeros((4, 4, 3), np.uint8)
    made = preview(pixels, (side, 4), (side, 4), Output())
    assert opened(made).size == (side, 4)
    assert made.format == ("webp" if side == 64 else "jpeg")


def test_a_jpeg_of_what_is_transparent_lies_on_white():
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert Image.open(io.BytesIO(encode(picture, "jpeg"))).getpixel((4, 4)) == (255, 255, 255)


# Copies beside a link ----------------------------------------------------------------------------


def test_a_copy_is_the_picture_itself_where_that_fits():
    [picture] = encoded([photo()], [7], Output(copy_limit_bytes=10**6)).pictures
    assert picture.copy is not None
    assert picture.copy() is not None
    assert picture.copy().content == picture.content
    [alone] = encoded([photo()], [7], Output()).pictures
    assert alone.copy is None


@pytest.mark.parametrize("limit_bytes", [30_000, 12_000, 2_000, 400])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_copy_fits_an_event(mode, limit_bytes):
    """It is of less quality, and where that does not do, smaller; what is stored is whole."""
    [picture] = encoded(
        [noise().convert(mode)], [7], Output("png", copy_limit_bytes=limit_bytes)
    ).pictures
    assert opened(picture).size == (128, 128)
    assert picture.copy is not None
    copy = picture.copy()
    assert copy is not None
    assert len(copy.content) * 4 / 3 <= limit_bytes
    assert (opened(copy).format, opened(copy).size) == ("WEBP", (copy.width, copy.height))
    assert copy.seed == 7


def test_copies_of_long_pictures_fit_too():
    picture = long_picture(WEBP + 1, "RGBA")
    [made] = encoded([picture], [None], Output("png", copy_limit_bytes=300)).pictures
    assert made.copy is not None
    copy = made.copy()
    assert copy is not None
    assert len(copy.content) * 4 / 3 <= 300
