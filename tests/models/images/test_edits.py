"""Larger pictures and cut-outs: the networks against references, and what is around them."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from models.errors import InvalidValue, MediaUndecodable, UnsupportedParameter
from models.images.request import ImageRequest, Images, Output, Picture
from models.images.restore.networks.ben2 import Ben2
from models.images.restore.networks.rrdb import RRDBNet
from models.images.restore.tiles import Tiling, enlarge, spans
from models.tiny import ben2 as tiny_ben2
from models.weights import convert
from models.work import Progress
from tests.conftest import needs, row
from tests.support.drawings import drawing, encoded
from tests.support.driving import Load, Ticket, prepare, run

ANIME, U2NET = "RealESRGAN_x4_Anime", "U2Net_P"


def asked(picture: Image.Image, **fields: Any) -> ImageRequest:
    return ImageRequest("", images=(encoded(picture),), **fields)


def opened(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.content))


def make(engine: Any, request: ImageRequest) -> Picture:
    answer: Images = run(engine, request)
    [picture] = answer.pictures
    assert picture.seed is None
    return picture


# Tiles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 63, 64, 65, 100, 127, 128, 129, 500, 1001])
def test_spans_cover_a_length_and_overlap_alike(length):
    parts = spans(length, 64, 24)
    assert parts[0][0] == 0
    assert parts[-1][1] == length
    assert all(end - start <= 64 for start, end in parts)
    for before, after in pairwise(parts):
        assert before[1] - after[0] == 24


@pytest.mark.parametrize("size", [(40, 30), (64, 200), (333, 90), (150, 151)])
def test_what_looks_at_no_neighbour_is_the_same_in_tiles(size):
    pixels = np.asarray(drawing(*size))
    made = enlarge(pixels, 3, Tiling(64, 4, 16), lambda tile: tile.repeat(3, 0).repeat(3, 1) * 1.0)
    assert (made == pixels.repeat(3, 0).repeat(3, 1)).all()
    assert Tiling(64, 4, 16).count(*pixels.shape[:2]) >= 1


# Larger ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upscaler(load: Load) -> Any:
    return load(row("Tiny_ESRGAN"))


@needs(ANIME)
def test_tiles_are_the_untiled_picture(load):
    """Away from its edges a tile is what the whole is, to one of 255."""
    engine = load(row(ANIME))
    pixels = np.asarray(drawing(200, 60))
    whole = np.rint(engine._tile(pixels)).clip(0, 255)
    tiled = enlarge(pixels, 4, Tiling(160, 48), engine._tile)
    assert np.abs(tiled - whole).max() <= 1


@needs(ANIME)
def test_a_picture_becomes_sharper_than_by_its_pixels_alone(load):
    truth = drawing(240, 180)
    small = truth.resize((60, 45), Image.Resampling.BOX)
    ours = opened(make(load(row(ANIME)), asked(small)))
    assert ours.size == truth.size

    def edges(picture: Image.Image) -> Any:
        return np.asarray(picture.convert("L").filter(ImageFilter.FIND_EDGES), np.float32)

    def error(picture: Image.Image) -> float:
        return float(np.abs(edges(picture) - edges(truth)).mean())

    assert error(ours) < 0.95 * error(small.resize(truth.size, Image.Resampling.BICUBIC))


@pytest.mark.parametrize("scale", [None, 4, 2, 1.5])
def test_scales(upscaler, scale):
    picture = make(upscaler, asked(drawing(31, 17), scale=scale))
    times = scale or 4
    assert (picture.width, picture.height) == (round(31 * times), round(17 * times))
    assert opened(picture).size == (picture.width, picture.height)


def test_transparency_is_kept(upscaler):
    given = drawing(20, 20).convert("RGBA")
    given.putalpha(Image.linear_gradient("L").resize((20, 20)))
    made = opened(make(upscaler, asked(given)))
    assert made.mode == "RGBA"
    alpha = np.asarray(made)[..., 3]
    assert alpha[0].max() < 30
    assert alpha[-1].min() > 225
    assert opened(make(upscaler, asked(given, output=Output("jpeg")))).mode == "RGB"


def test_what_cannot_be_enlarged(upscaler):
    with pytest.raises(InvalidValue, match="picture to enlarge") as caught:
        upscaler.prepare(ImageRequest("larger"))
    assert (caught.value.param, caught.value.code) == ("image", "missing_required_parameter")
    for scale in (1, 5):
        with pytest.raises(InvalidValue, match="at most 4"):
            upscaler.prepare(asked(drawing(8, 8), scale=scale))
    with pytest.raises(InvalidValue, match="3000x3000.*2048x2048") as caught:
        upscaler.prepare(asked(Image.new("RGB", (3000, 3000))))
    assert caught.value.param == "image"
    with pytest.raises(MediaUndecodable):
        upscaler.prepare(ImageRequest("", images=(b"no picture",)))


def test_a_large_result_in_tiles_that_a_cancel_ends(load):
    """Tile by tile, and told so."""
    engine = load(row("Tiny_ESRGAN"))
    ticket = Ticket(prepare(engine, asked(drawing(640, 640))))
    [made] = engine.run([ticket])
    assert made.size == (2560, 2560)
    count = ticket.events[-1].total
    assert ticket.events == [Progress(0, n, count, "tiles") for n in range(1, count + 1)]
    assert count > 3
    ticket = Ticket(prepare(engine, asked(drawing(640, 640))), cancel_at=3)
    engine.run([ticket])
    assert len(ticket.events) == 3


def test_out_of_memory_makes_smaller_tiles(load, monkeypatch):
    small = replace(row("Tiny_ESRGAN"), slug="small")
    engine = load(small)
    whole = make(engine, asked(drawing(150, 150)))
    real = engine._net.forward

    def forward(x: Any) -> Any:
        if x.shape[-1] > 128:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(x)

    monkeypatch.setattr(engine._net, "forward", forward)
    again = make(engine, asked(drawing(150, 150)))
    difference = np.abs(np.asarray(opened(whole), np.int16) - np.asarray(opened(again), np.int16))
    assert difference.max() <= 1
    monkeypatch.setattr(engine._net, "forward", lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(engine, asked(drawing(10, 10)))


def test_weights_of_another_network_say_what_is_missing():
    state = RRDBNet(1, 8, 4).state_dict()
    assert isinstance(RRDBNet.of(state), RRDBNet)
    with pytest.raises(ValueError, match=r"missing: \['conv_hr.bias'\]"):
        RRDBNet.of({name: value for name, value in state.items() if name != "conv_hr.bias"})
    with pytest.raises(ValueError, match="no weights of an RRDBNet"):
        RRDBNet.of({"model.0.weight": torch.zeros(1)})


def test_a_file_of_ncnns_that_is_none(tmp_path):
    file = tmp_path / "x.bin"
    file.write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match="100 bytes"):
        convert.run("realesrgan-anime", file, tmp_path)


# Cut out -----------------------------------------------------------------------------------------

# Of the official network with these weights and this input, every 64th value (float32, torch 2.13).
OFFICIAL = [
    [0.488859, 0.461392, 0.652106, 0.557267, 0.406705, 0.439439, 0.456432, 0.472400],
    [0.558350, 0.387198, 0.682739, 0.326836, 0.284274, 0.589907, 0.482606, 0.786614],
    [0.588718, 0.571738, 0.604459, 0.527204, 0.436394, 0.571066, 0.495466, 0.611074],
    [0.544612, 0.362481, 0.556987, 0.667613, 0.387208, 0.556337, 0.753254, 0.296796],
    [0.470669, 0.560340, 0.570966, 0.568531, 0.414587, 0.702668, 0.612907, 0.730374],
    [0.559549, 0.326610, 0.581626, 0.573642, 0.483005, 0.377436, 0.285631, 0.451967],
    [0.436284, 0.423151, 0.426785, 0.435835, 0.494607, 0.281561, 0.307112, 0.492851],
    [0.461487, 0.624172, 0.708005, 0.465854, 0.390093, 0.568824, 0.598627, 0.443964],
]


def _value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Random, by the name alone."""
    value = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    value = value.astype(np.float32)
    if len(shape) > 1:
        return torch.from_numpy(value / np.sqrt(np.prod(shape[1:])).astype(np.float32))
    return torch.from_numpy(0.1 * value + name.endswith("weight"))


def test_ben2_is_the_official_network():
    weights = {name: _value(name, shape) for name, shape in tiny_ben2.shapes()}
    net = Ben2.of(weights, **row("Tiny_Ben2").options["network"])
    noise = np.random.default_rng(5).standard_normal((1, 3, 512, 512)).astype(np.float32)
    with torch.inference_mode():
        made = net(torch.from_numpy(noise))
    assert made.shape == (1, 1, 512, 512)
    assert np.abs(made[0, 0, ::64, ::64].numpy() - np.array(OFFICIAL)).max() < 1e-4


def test_a_checkpoint_of_another_network_says_what_is_missing():
    weights = {name: torch.zeros(shape) for name, shape in tiny_ben2.shapes()}
    sizes = row("Tiny_Ben2").options["network"]
    unused = {"sideout1.0.weight": torch.zeros(1), "x.relative_position_index": torch.zeros(1)}
    Ben2.of({**weights, **unused}, **sizes)
    with pytest.raises(ValueError, match=r"missing: \['output.0.bias'\]"):
        Ben2.of({key: one for key, one in weights.items() if key != "output.0.bias"}, **sizes)
    with pytest.raises(ValueError, match=r"unexpected: \['more'\]"):
        Ben2.of({**weights, "more": torch.zeros(1)}, **sizes)


@needs(U2NET)
def test_what_is_in_front_stays(load):
    picture = opened(make(load(row(U2NET)), asked(drawing())))
    assert (picture.mode, picture.size) == ("RGBA", (200, 150))
    alpha = np.asarray(picture)[..., 3]
    assert alpha[60:90, 80:120].min() > 200  # the crown
    assert alpha[30:60, 5:40].max() < 40  # the sky
    assert (np.asarray(picture)[..., :3] == np.asarray(drawing())).all()
    white = np.asarray(opened(make(load(row(U2NET)), asked(drawing(), background="opaque"))))
    assert white.shape == (150, 200, 3)
    assert white[40, 20].min() > 210
    assert np.abs(white[75, 100].astype(int) - (200, 50, 40)).max() < 40


@pytest.fixture(scope="module")
def cutter(load: Load) -> Any:
    return load(row("Tiny_Ben2"))


@pytest.mark.parametrize("format_", [None, "png", "webp"])
def test_a_cut_out_is_transparent(cutter, format_):
    picture = make(cutter, asked(drawing(50, 40), output=Output(format_)))
    made = opened(picture)
    assert (made.mode, made.size) == ("RGBA", (50, 40))
    assert picture.format == made.format.lower() == (format_ or "png")
    alpha = np.asarray(made)[..., 3]
    assert int(alpha.max()) - int(alpha.min()) > 60


def test_a_format_without_transparency_is_refused(cutter):
    with pytest.raises(InvalidValue, match="opaque") as caught:
        cutter.prepare(asked(drawing(), output=Output("jpeg")))
    assert caught.value.param == "output_format"
    made = opened(make(cutter, asked(drawing(), output=Output("jpeg"), background="opaque")))
    assert made.mode == "RGB"
    with pytest.raises(InvalidValue, match="background is to go"):
        cutter.prepare(ImageRequest("x"))


@pytest.mark.parametrize("slug", ["Tiny_Ben2", "Tiny_ESRGAN"])
def test_what_changes_nothing_is_said(load, slug):
    given = frozenset({"prompt", "image", "seed", "size", "n"})
    request = asked(drawing(16, 16), given=given, seeds=(1, 2, 3))
    answer: Images = run(load(row(slug)), request)
    assert [one.param for one in answer.left_out] == ["n", "size", "seed"]
    assert len(answer.pictures) == 1
    with pytest.raises(UnsupportedParameter, match="leave it out"):
        load(row(slug)).prepare(replace(request, strict=True))


# How pictures leave ------------------------------------------------------------------------------


def test_a_picture_that_is_too_large_for_an_answer_becomes_webp(upscaler):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))

    def made(format_: str | None, limit_bytes: int | None) -> Picture:
        return make(upscaler, asked(noise, output=Output(format_, None, limit_bytes)))

    plain = made(None, None)
    assert plain.format == "png"
    size = len(plain.content)
    assert made(None, size * 4 // 3 + 10).format == "png"
    smaller = made(None, size)
    assert smaller.format == "webp"
    assert len(smaller.content) < size
    assert opened(smaller).size == opened(plain).size
    assert made("png", 1000).format == "png"
