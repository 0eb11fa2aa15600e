"""Transparent pictures through the engines: nothing hidden comes to light, and no edge is dark."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from models.errors import InvalidValue
from models.images.request import ImageRequest, Images, Output, Picture
from models.pictures.transparency import changed_where, enlarged_alpha, spread
from tests.conftest import needs, row, tiny
from tests.support.driving import Load, run

ANIME, U2NET = "RealESRGAN_x4_Anime", "U2Net_P"
GREEN = (0, 255, 0)  # what is hidden
SIZE = (96, 80)


def encoded(picture: Image.Image, format_: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_)
    return buffer.getvalue()


def opened(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.content))


def pixels(picture: Image.Image) -> Any:
    return np.asarray(picture).astype(int)


def source(width: int = SIZE[0], height: int = SIZE[1]) -> Image.Image:
    return Image.effect_mandelbrot((width, height), (-2, -1, 1, 1), 50).convert("RGB")


def half_hidden(
    picture: Image.Image | None = None, hidden: tuple[int, int, int] = GREEN
) -> Image.Image:
    """Transparent on the right, with a colour behind it."""
    plain = source() if picture is None else picture
    made = plain.convert("RGBA")
    made.paste((*hidden, 0), (made.width // 2, 0, made.width, made.height))
    return made


def disc(side: int) -> Image.Image:
    """An orange disc with a soft edge on nothing, which is black."""
    large = Image.new("RGBA", (side * 4, side * 4))
    draw = ImageDraw.Draw(large)
    draw.ellipse((side * 0.5, side * 0.5, side * 3.5, side * 3.5), fill=(230, 150, 60, 255))
    return large.resize((side, side), Image.Resampling.LANCZOS)


def on(picture: Image.Image, colour: tuple[int, int, int]) -> Any:
    """What is seen of a picture before a wall."""
    wall = Image.new("RGB", picture.size, colour)
    wall.paste(picture, mask=picture.getchannel("A"))
    return pixels(wall)


def greens(picture: Image.Image) -> int:
    """How many pixels look like what was hidden, whether they are transparent or not."""
    seen = pixels(picture.convert("RGB"))
    return int(((seen[..., 1] > 200) & (seen[..., 0] < 60) & (seen[..., 2] < 60)).sum())


def asked(picture: Image.Image, **fields: Any) -> ImageRequest:
    return ImageRequest("", images=(encoded(picture),), **fields)


def made(engine: Any, request: ImageRequest) -> Image.Image:
    [picture] = run(engine, request).pictures
    return opened(picture)


# Colours and alpha -------------------------------------------------------------------------------


def test_colours_are_drawn_out_from_the_edges():
    given = half_hidden()
    drawn = pixels(spread(given))
    assert (drawn[:, :48] == pixels(source())[:, :48]).all()
    assert (drawn == pixels(spread(half_hidden(hidden=(255, 0, 255))))).all()
    assert spread(Image.new("RGBA", (5, 3), (9, 9, 9, 0))).size == (5, 3)


@pytest.mark.parametrize("edge", range(40, 57))
def test_what_lies_beside_a_pixel_has_its_colour(edge):
    """Wherever the edge is: the colours of a slope are met within a few steps of it."""
    slope = np.zeros((8, 64, 4), np.uint8)
    slope[..., 0], slope[:, :edge, 3] = np.arange(64) * 4, 255
    drawn = pixels(spread(Image.fromarray(slope)))[4, :, 0]
    assert np.abs(drawn[edge : edge + 4] - 4 * (edge - 1)).max() <= 12


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 3), (64, 65)])
def test_sizes_of_every_kind_can_be_drawn_out(size):
    given = Image.new("RGBA", size, (10, 20, 30, 0))
    given.putpixel((0, 0), (200, 100, 50, 255))
    assert pixels(spread(given)).reshape(-1, 3).tolist() == [[200, 100, 50]] * (size[0] * size[1])


def test_where_a_mask_is_black_the_source_stays_bit_by_bit():
    given, new = half_hidden(), Image.new("RGB", SIZE, (7, 8, 9))
    mask = Image.fromarray(
        np.linspace(0, 255, SIZE[1]).astype(np.uint8)[:, None].repeat(SIZE[0], 1)
    )
    mixed = pixels(changed_where(mask, new, given))
    kept, changed = pixels(mask) == 0, pixels(mask) == 255
    assert kept.any()
    assert (mixed[kept] == pixels(given)[kept]).all()
    assert (mixed[changed] == (7, 8, 9, 255)).all()
    # Where nothing was, the new colour alone is seen; where something was, nothing shines through.
    soft = ~kept & ~changed
    assert np.abs(mixed[:, 60][soft[:, 60]][:, :3] - (7, 8, 9)).max() <= 1
    assert (mixed[:, 20, 3] == 255).all()


def test_an_enlarged_alpha_stays_within_what_it_was():
    alpha = Image.new("L", (16, 16))
    alpha.paste(255, (8, 0, 16, 16))
    larger = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    kept = pixels(enlarged_alpha(alpha, larger))
    assert (kept[:, :28] == 0).all()
    assert (kept[:, 36:] == 255).all()
    assert len(np.unique(kept[:, 28:36])) > 20


# Larger ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upscaler(load: Load) -> Any:
    return load(row("Tiny_ESRGAN"))


@pytest.mark.parametrize("format_", [None, "png", "webp", "jpeg"])
@pytest.mark.parametrize("scale", [4, 2])
def test_what_is_hidden_stays_so_in_a_larger_picture(upscaler, format_, scale):
    fields = {"scale": scale, "output": Output(format_)}
    larger = made(upscaler, asked(half_hidden(), **fields))
    assert larger.size == (SIZE[0] * scale, SIZE[1] * scale)
    other = made(upscaler, asked(half_hidden(hidden=(255, 0, 255)), **fields))
    assert larger.tobytes() == other.tobytes()
    if format_ == "jpeg":
        plain = made(upscaler, asked(half_hidden(Image.new("RGB", SIZE, "white"))))
        assert larger.mode == "RGB"
        assert pixels(larger)[:, -40:].mean() > pixels(plain)[:, -40:].mean() - 20
    else:
        assert larger.mode == "RGBA"
        assert pixels(larger)[..., 3][:, -40 * scale :].max() == 0
        assert pixels(larger)[..., 3][:, : 40 * scale].min() == 255


def test_an_opaque_alpha_is_none(upscaler):
    assert made(upscaler, asked(source(20, 16).convert("RGBA"))).mode == "RGB"


@needs(ANIME)
def test_the_edge_of_a_larger_cut_out_is_not_dark(load):
    """Against the disc drawn at that size: its rim has the disc's colour, before every wall."""
    larger = made(load(row(ANIME)), asked(disc(64)))
    truth = disc(256)
    alpha, right = pixels(larger)[..., 3], pixels(truth)[..., 3]
    assert np.abs(alpha - right).mean() < 1.5
    seen = pixels(larger)[..., :3]
    rim = (alpha > 40) & (alpha < 250)
    assert rim.sum() > 200
    assert np.abs(seen[rim] - (230, 150, 60)).max() < 30
    for wall in ((255, 255, 255), (0, 0, 0), (60, 160, 80)):
        assert np.abs(on(larger, wall) - on(truth, wall)).mean() < 2.5


@needs(ANIME)
def test_a_smaller_scale_is_the_larger_one_reduced(load):
    """In strips, so that no more than a row of tiles is held at four times the size."""
    engine = load(row(ANIME))
    whole = made(engine, asked(source(70, 60)))
    for scale in (2, 1.5):
        size = (round(70 * scale), round(60 * scale))
        smaller = made(engine, asked(source(70, 60), scale=scale))
        expected = whole.resize(size, Image.Resampling.LANCZOS)
        assert np.abs(pixels(smaller) - pixels(expected)).max() <= 1


@pytest.mark.parametrize(
    ("size", "scale", "fits"),
    [
        ((3000, 2000), 2, True), ((4096, 4096), 2, True), ((4096, 4096), 1.1, True),
        ((2048, 2048), 4, True), ((4097, 4096), 2, False), ((3000, 2000), 4, False),
        ((3000, 2000), 3.4, False), ((8192, 512), 4, True), ((8193, 8), 1.5, False),
    ],
)  # fmt: skip
def test_a_result_within_the_limits_is_made(upscaler, size, scale, fits):
    request = ImageRequest("", images=(encoded(Image.new("1", size)),), scale=scale)
    if fits:
        [item] = upscaler.prepare(request).parts
        assert (item.width, item.height) == (round(size[0] * scale), round(size[1] * scale))
        return
    with pytest.raises(InvalidValue, match=f"{size[0]}x{size[1]} pixels") as caught:
        upscaler.prepare(request)
    assert caught.value.param == "image"


def test_a_result_that_its_format_cannot_hold_is_refused_before(upscaler):
    long_strip = Image.new("1", (5000, 8))
    for output in (Output("webp"), Output("jpeg"), Output("png"), Output()):
        request = asked(long_strip, output=output)
        if output.format == "webp":
            with pytest.raises(InvalidValue, match="16383 pixels a side"):
                upscaler.prepare(request)
        else:
            upscaler.prepare(request)


def test_a_long_result_that_should_be_small_is_made(upscaler):
    """Webp, our choice, has no such side: the work was done and lost."""
    request = asked(source(4100, 4), output=Output(inline_limit_bytes=1000))
    images: Images = run(upscaler, request)
    [picture] = images.pictures
    assert (picture.format, opened(picture).size) == ("jpeg", (16_400, 16))
    assert [one.param for one in images.left_out] == ["output_format"]


# Cut out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", ["Tiny_Ben2", pytest.param(U2NET, marks=needs(U2NET))])
def test_a_cut_out_adds_nothing_to_what_was_seen(load, slug):
    engine = load(row(slug))
    given = half_hidden()
    soft = Image.linear_gradient("L").resize(SIZE)
    given.putalpha(Image.composite(soft, Image.new("L", SIZE), given.getchannel("A")))
    cut = made(engine, asked(given))
    assert (pixels(cut)[..., 3] <= pixels(given)[..., 3]).all()
    assert greens(cut) == 0
    opaque = made(engine, asked(given, background="opaque"))
    assert opaque.mode == "RGB"
    assert greens(opaque) == 0
    assert (pixels(opaque)[:, 48:] == 255).all()


@needs(U2NET)
def test_what_is_cut_out_already_is_found_again(load):
    """The network sees it before grey: neither a black nor a white disc vanishes."""
    for colour in ((10, 10, 10), (250, 250, 250), (230, 150, 60)):
        given = disc(200)
        flat = Image.new("RGBA", given.size, (*colour, 255))
        flat.putalpha(given.getchannel("A"))
        cut = made(load(row(U2NET)), asked(flat))
        assert pixels(cut)[70:130, 70:130, 3].min() > 200, colour


def test_a_cut_out_is_refused_in_a_format_too_short_for_it(load):
    engine = load(row("Tiny_Ben2"))
    request = asked(Image.new("L", (16_384, 2)), output=Output("webp"))
    with pytest.raises(InvalidValue, match="16383 pixels a side"):
        engine.prepare(request)
    with pytest.raises(InvalidValue) as caught:
        engine.prepare(replace(request, output=Output("png", limit_bytes=10_000)))
    assert caught.value.code == "output_too_large"


# Edits -------------------------------------------------------------------------------------------

FAMILIES = {"flux": "Flux1schnell", "z-image": "ZImageTurbo_INT8", "sdxl": "SDXL"}


@pytest.fixture(scope="module", params=FAMILIES)
def painter(load: Load, request: pytest.FixtureRequest) -> Any:
    model = tiny(FAMILIES[request.param], request.param)
    return load(replace(model, slug=f"painter {request.param}"))


def mask_of_left() -> bytes:
    """White, to be changed, on the left."""
    mask = Image.new("L", SIZE)
    mask.paste(255, (0, 0, 24, SIZE[1]))
    return encoded(mask)


def test_without_a_mask_what_is_transparent_is_filled(painter):
    """As dall-e-2 has it; what is seen is kept bit by bit, and what is hidden has no say."""
    request = replace(asked(half_hidden()), prompt="a fox", seeds=(3,), steps=6)
    images: Images = run(painter, request)
    filled = opened(images.pictures[0])
    assert (filled.mode, filled.size) == ("RGB", SIZE)
    assert (pixels(filled)[:, :48] == pixels(source())[:, :48]).all()
    assert [one.param for one in images.left_out] == ["image"]
    other = half_hidden(hidden=(255, 0, 255))
    assert made(painter, replace(request, images=(encoded(other),))).tobytes() == filled.tobytes()
    strict = run(painter, replace(request, strict=True))
    assert opened(strict.pictures[0]).tobytes() == filled.tobytes()


def test_with_a_strength_all_of_it_changes_and_lies_on_white(painter):
    white = source()
    white.paste((255, 255, 255), (48, 0, *SIZE))
    request = replace(asked(half_hidden()), prompt="a fox", seeds=(3,), steps=6, strength=0.5)
    images: Images = run(painter, request)
    assert [one.param for one in images.left_out] == ["image"]
    assert "white" in images.left_out[0].message
    expected = made(painter, replace(request, images=(encoded(white),)))
    assert opened(images.pictures[0]).tobytes() == expected.tobytes()
    with pytest.raises(InvalidValue, match="no transparency") as caught:
        painter.prepare(replace(request, strict=True))
    assert caught.value.param == "image"


def test_with_a_mask_what_is_kept_stays_transparent(painter):
    request = replace(
        asked(half_hidden()), prompt="a fox", seeds=(3,), steps=6, mask=mask_of_left()
    )
    images: Images = run(painter, request)
    mixed = opened(images.pictures[0])
    assert images.left_out == ()
    assert mixed.mode == "RGBA"
    assert (pixels(mixed)[:, 24:48, :3] == pixels(source())[:, 24:48]).all()
    assert (pixels(mixed)[:, :48, 3] == 255).all()
    assert (pixels(mixed)[:, 48:] == (255, 255, 255, 0)).all()
    flat = made(painter, replace(request, output=Output("jpeg")))
    assert flat.mode == "RGB"
    assert pixels(flat)[:, 60:].min() > 235


def test_an_opaque_mask_with_an_alpha_channel_is_a_mask(painter):
    """It changed nothing: that there is a channel says nothing of its pixels."""
    request = replace(asked(source()), prompt="a fox", seeds=(3,), steps=6, strength=1.0)
    plain = made(painter, replace(request, mask=mask_of_left()))
    assert (pixels(plain)[:, :24] != pixels(source())[:, :24]).any()
    for mode in ("RGBA", "LA"):
        mask = Image.open(io.BytesIO(mask_of_left())).convert(mode)
        again = made(painter, replace(request, mask=encoded(mask)))
        assert again.tobytes() == plain.tobytes()


def test_a_mask_of_sixteen_bits_is_not_all_white(painter):
    values = np.zeros((SIZE[1], SIZE[0]), np.uint16)
    values[:, :24], values[:, 24:] = 65_535, 300  # which is almost black
    request = replace(asked(source()), prompt="a fox", seeds=(3,), steps=6, strength=1.0)
    fine = made(painter, replace(request, mask=encoded(Image.fromarray(values))))
    assert np.abs(pixels(fine)[:, 24:] - pixels(source())[:, 24:]).max() <= 2


def test_a_model_that_reads_pictures_whole_sees_them_on_white(load):
    model = tiny("Flux_2_Klein_4B_BF16", "flux2-klein")
    engine = load(replace(model, slug="klein", defaults={**model.defaults, "size": "64x64"}))
    white = source()
    white.paste((255, 255, 255), (48, 0, *SIZE))
    request = replace(asked(half_hidden()), prompt="x", seeds=(3,), steps=2)
    images: Images = run(engine, request)
    assert [one.param for one in images.left_out] == ["image"]
    expected = made(engine, replace(request, images=(encoded(white),)))
    assert opened(images.pictures[0]).tobytes() == expected.tobytes()
