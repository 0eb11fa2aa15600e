"""Pictures made to break the worker: each is refused by name or read, and none leaves a trace."""

from __future__ import annotations

import base64
import io
import json
import logging
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from PIL import Image

from models.errors import InvalidValue, MediaUndecodable
from models.images.request import ImageRequest
from models.pictures.decoding import decode, mask_of
from tests.conftest import ROOT, decoded, error_of, tiny
from tests.support import colour_profiles as profiles
from tests.support.servers import serve

# As handler/logs.py has it; here a warning would be an error, and the picture refused for it.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:::PIL")]

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
SIZE = (48, 40)
CANNOT = "send a PNG, JPEG, WebP or GIF"
TOO_LARGE = "at most 64000000 are read"
UPSCALE = {"model": "Tiny_ESRGAN", "prompt": "x"}
BACKGROUND = {"model": "Tiny_Ben2", "prompt": "x"}
PAINT = {"model": "Tiny_Flux", "prompt": "x"}


# Files -------------------------------------------------------------------------------------------


def encoded(picture: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_, **options)
    return buffer.getvalue()


def drawing(size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.effect_mandelbrot(size, (-2, -1, 1, 1), 50).convert("RGB")


def frames(count: int = 3) -> list[Image.Image]:
    return [Image.new("RGB", SIZE, (80 * index, 0, 250 - 80 * index)) for index in range(count)]


def animated(format_: str) -> bytes:
    """The first frame is blue."""
    first, *more = frames()
    options = {"lossless": True} if format_ == "WEBP" else {}
    return encoded(first, format_, save_all=True, append_images=more, **options)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, more: bytes = b"", pixels: bytes = b"") -> bytes:
    """A grey PNG of these sides, whatever it holds: ``more`` chunks, and deflated ``pixels``."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", pixels) if pixels else b""
    return b"\x89PNG\r\n\x1a\n" + header + more + body + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    """So many zeros, deflated: one megabyte, again and again."""
    packer = zlib.compressobj(wbits=-15)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(bytes(count % (1 << 20))) + packer.flush()
    checksum = struct.pack(">HH", count % 65521, 1)
    return b"\x78\x01" + piece * (count >> 20) + rest + checksum


def jpeg_header(width: int, height: int) -> bytes:
    plain = encoded(drawing(), "JPEG")
    start = plain.index(b"\xff\xc0") + 5
    return plain[:start] + struct.pack(">HH", height, width) + plain[start + 4 :]


def gif_header(width: int, height: int) -> bytes:
    plain = encoded(drawing(), "GIF")
    return plain[:6] + struct.pack("<HH", width, height) + plain[10:]


def gif_frame(width: int, height: int) -> bytes:
    """A small GIF whose first frame is larger than it."""
    plain = encoded(drawing(), "GIF")
    start = first_frame(plain) + 5
    return plain[:start] + struct.pack("<HH", width, height) + plain[start + 4 :]


def gif_frames(count: int) -> bytes:
    """A GIF that shows one frame many times."""
    plain = encoded(frames()[0], "GIF")
    start = first_frame(plain)
    return plain[:start] + plain[start:-1] * count + plain[-1:]


def first_frame(gif: bytes) -> int:
    return gif.index(b"," + struct.pack("<HHHH", 0, 0, *SIZE))


def webp_header(width: int, height: int, *, moves: bool) -> bytes:
    """A WebP with a canvas of these sides and one small frame."""
    frame = encoded(Image.new("RGB", (8, 8)), "WEBP", lossless=True)[12:]

    def sides(*lengths: int) -> bytes:
        return b"".join((length - 1).to_bytes(3, "little") for length in lengths)

    def part(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data

    body = b"WEBP" + part(b"VP8X", bytes((2 * moves, 0, 0, 0)) + sides(width, height))
    if moves:
        frame = part(b"ANMF", bytes(6) + sides(8, 8) + b"\1\0\0\0" + frame)
        body += part(b"ANIM", bytes(6))
    return part(b"RIFF", body + frame)


LOTS = 200_000_000
PIXELS = zlib.compress(bytes(9 * 8))

BOMBS = {
    "a png of 81 megapixels": png(9000, 9000, pixels=zeros(9000 * 9001)),
    "a png of 100 megapixels": png(10_000, 10_000, pixels=zeros(10_000 * 10_001)),
    "a png's header": png(50_000, 50_000),
    "a jpeg's header": jpeg_header(50_000, 50_000),
    "a gif's header": gif_header(50_000, 50_000),
    "a gif's frame": gif_frame(50_000, 50_000),
    "a webp's header": webp_header(16_384, 16_384, moves=False),
    "a webp's header, animated": webp_header(16_384, 16_384, moves=True),
    "a webp of 81 megapixels": webp_header(9000, 9000, moves=True),
}
# Metadata that would be very large. No pixel depends on it: the picture is read without.
TEXTS = {
    "zTXt": png(8, 8, chunk(b"zTXt", b"a\0\0" + zeros(LOTS)), PIXELS),
    "zTXt of exif": png(8, 8, chunk(b"zTXt", b"Raw profile type exif\0\0" + zeros(LOTS)), PIXELS),
    "iTXt": png(8, 8, chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(LOTS)), PIXELS),
    "iTXt of xmp": png(8, 8, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros(LOTS)), PIXELS),
    "iCCP": png(8, 8, chunk(b"iCCP", b"a\0\0" + zeros(LOTS)), PIXELS),
    "a profile's table": encoded(
        Image.new("RGB", (8, 8)),
        "WEBP",
        lossless=True,
        icc_profile=profiles.of_display(
            profiles.DISPLAY_P3, profiles.srgb_curve(), A2B0=profiles.table(3, 3, 255, [])
        ),
    ),
}
OTHERS = {
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "svg with a doctype": b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>',
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
    "json": b'{"image": "iVBORw0KGgo="}',
    "mp3": b"ID3\4\0\0\0\0\0\0\xff\xfb\x90\x64" + bytes(400),
    "zip": b"PK\3\4" + bytes(60),
    "one byte": b"x",
    "a signature": b"\x89PNG\r\n\x1a\n",
    "a png without pixels": png(8, 8),
    **{name: encoded(drawing(), name) for name in ("EPS", "PDF", "TIFF", "BMP", "ICO", "PPM")},
}
CUT = {f"a cut {name}": encoded(drawing(), name)[:-40] for name in FORMATS}
HOSTILE = {
    **{name: (content, TOO_LARGE) for name, content in BOMBS.items()},
    **{name: (content, CANNOT) for name, content in {**OTHERS, **CUT}.items()},
}


# Through the worker ------------------------------------------------------------------------------


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def data_uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64_of(content)}"


GOOD = data_uri(encoded(drawing((64, 64)), "PNG"))


@pytest.fixture(autouse=True)
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where files of jobs go, and are gone from afterwards."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert left(folder) == []


def left(folder: Path) -> list[str]:
    """What lies there, but for torch's own cache."""
    return [one.name for one in folder.iterdir() if not one.name.startswith("torchinductor")]


@pytest.fixture
def ask(
    make_worker: Callable[..., Any], load: Callable[..., Any], temp: Path, caplog: Any
) -> Callable[..., Any]:
    """Answers bodies with the tiny models; no answer leaves a file or a trace in the log."""
    worker = make_worker(FAKE_ENGINES="0", SURFACE="images", MEDIA_PRIVATE_HOSTS="127.0.0.1")
    worker.dispatcher.pool._load = load  # once a session

    async def answer(**body: Any) -> Any:
        output = decoded(await worker.answer({"input": body}))
        assert left(temp) == []
        assert not [one for one in caplog.records if one.exc_info or one.levelno >= logging.ERROR]
        return output

    return answer


def refused(output: Any, param: str, words: str, code: str = "media_undecodable") -> None:
    error = error_of(output)
    assert (error["code"], error["type"], error["param"]) == (code, "invalid_request_error", param)
    assert words in error["message"]


async def test_what_is_no_picture_or_a_bomb_is_refused(ask):
    for name, (content, words) in HOSTILE.items():
        assert len(content) < 1_000_000, name
        for sent in (base64_of(content), data_uri(content), data_uri(content, "image/svg+xml")):
            refused(await ask(**UPSCALE, image=sent), "image", words)


@pytest.mark.parametrize("model", [BACKGROUND, PAINT], ids=["background", "img2img"])
async def test_every_use_of_a_picture_refuses_alike(ask, model):
    for name in ("a png's header", "a png of 81 megapixels", "svg", "EPS", "a cut JPEG"):
        content, words = HOSTILE[name]
        refused(await ask(**model, image=data_uri(content)), "image", words)
        refused(await ask(**model, init_image=[data_uri(content)]), "init_image", words)
        if model is PAINT:
            for field in ("mask", "mask_image"):
                sent = {"image": GOOD, field: data_uri(content)}
                refused(await ask(**model, **sent), field, words)


async def test_of_several_pictures_the_broken_one_is_named(load):
    engine = load(tiny("Flux_2_Klein_4B_BF16", "flux2-klein"))
    good = encoded(drawing((64, 64)), "PNG")
    for broken, param in (((b"x",), "image"), ((good, b"x", good), "image[1]")):
        with pytest.raises(MediaUndecodable) as caught:
            engine.prepare(ImageRequest("x", seeds=(1,), images=broken))
        assert caught.value.param == param


@pytest.fixture
def site() -> Iterator[str]:
    """A host that calls whatever it has a PNG."""

    async def file(request: web.Request) -> web.Response:
        name = request.query["name"]
        body = HOSTILE[name][0] if name in HOSTILE else encoded(drawing(), "GIF")
        return web.Response(body=body, content_type="image/png")

    application = web.Application()
    application.router.add_get("/", file)
    with serve(application) as url:
        yield url


async def test_by_url_the_type_that_a_host_claims_is_nothing(ask, site):
    output = await ask(**UPSCALE, image=f"{site}/?name=good")
    assert output["data"][0]["width"] == 4 * SIZE[0]
    for name in ("svg", "html", "a cut PNG", "a png of 81 megapixels", "a webp's header"):
        output = await ask(**UPSCALE, image=f"{site}/?name={name}")
        refused(output, "image", HOSTILE[name][1])


@pytest.mark.parametrize(
    ("sent", "code", "param"),
    [
        ({"image": 5}, "invalid_type", "image"),
        ({"image": True}, "invalid_type", "image"),
        ({"image": {"src": GOOD}}, "invalid_type", "image"),
        ({"image": {"url": 5}}, "invalid_type", "image"),
        ({"image": {"url": {"url": {"url": GOOD}}}}, "invalid_type", "image"),
        ({"image": {"url": "no base64!"}}, "media_invalid", "image"),
        ({"image": [{"image_url": GOOD}, {"image_url": []}]}, "invalid_type", "image[1]"),
        ({"image": ""}, "missing_required_parameter", "image"),
        ({"image": [5]}, "invalid_type", "image[0]"),
        ({"image": [GOOD, None]}, "invalid_type", "image[1]"),
        ({"image": [GOOD, ""]}, "invalid_value", "image[1]"),
        ({"image": [[GOOD]]}, "invalid_type", "image[0]"),
        ({"images": [GOOD, {}]}, "invalid_type", "images[1]"),
        ({"image": [GOOD] * 5}, "invalid_value", "image"),
        ({"image": [GOOD] * 2}, "unsupported_parameter", "image"),
        ({"image": "no base64!"}, "media_invalid", "image"),
        ({"image": [GOOD, "no base64!"]}, "media_invalid", "image[1]"),
        ({"image": "data:image/png;base64,"}, "media_invalid", "image"),
        ({"image": "file:///etc/passwd"}, "media_invalid", "image"),
        ({"image": "A" * 46_000_000}, "media_too_large", "image"),
        ({"image": GOOD, "mask": 5}, "invalid_type", "mask"),
        ({"image": GOOD, "mask": [GOOD]}, "invalid_type", "mask"),
        ({"image": GOOD, "mask": "no base64!"}, "media_invalid", "mask"),
    ],
)  # fmt: skip
async def test_what_is_of_the_wrong_type_is_named(ask, sent, code, param):
    refused(await ask(**UPSCALE, **sent), param, param.partition("[")[0], code)


async def test_a_mask_that_is_a_picture_of_another_size_is_refused(ask):
    other = data_uri(encoded(drawing(), "PNG"))
    output = await ask(**PAINT, image=GOOD, mask=other)
    refused(output, "mask", "48x40 pixels, image 64x64", "invalid_value")


# What is read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "GIF"])
def test_of_an_animation_the_first_frame_is_read(format_):
    picture = decode(animated(format_))
    assert (picture.mode, picture.size) == ("RGB", SIZE)
    assert picture.getcolors() == [(SIZE[0] * SIZE[1], (0, 0, 250))]


async def test_a_gif_of_ten_thousand_frames_is_its_first(ask):
    content = gif_frames(10_000)
    assert Image.open(io.BytesIO(content)).n_frames == 10_000
    assert decode(content).getpixel((0, 0)) == (0, 0, 250)
    assert "error" not in await ask(**UPSCALE, image=data_uri(content))


def test_a_palette_with_transparency_is_a_picture():
    """Kept, or laid on white; the colour that stands for nothing is not shown."""
    given = drawing().quantize(8)
    content = encoded(given, "PNG", transparency=bytes((0, 128, 255)))
    kept = decode(content, alpha=True)
    index = np.asarray(given)
    assert (np.asarray(kept)[..., 3] == np.array([0, 128, *[255] * 6])[index]).all()
    colours = np.asarray(given.convert("RGB")).astype(float)
    assert (np.asarray(kept)[..., :3] == colours)[index > 0].all()
    share = np.array([0, 128 / 255, *[1] * 6])[index][..., None]
    expected = colours * share + 255 * (1 - share)
    assert np.abs(np.asarray(decode(content)) - expected).max() <= 1


@pytest.mark.parametrize("name", TEXTS)
def test_metadata_that_would_be_very_large_is_left_out(name):
    start = time.process_time()
    assert decode(TEXTS[name]).tobytes() == bytes(8 * 8 * 3)
    assert time.process_time() - start < 2


def test_deflated_zeros_are_what_they_say():
    """Else the bombs would be refused for their damage."""
    assert zlib.decompress(zeros(LOTS // 10 + 7)) == bytes(LOTS // 10 + 7)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_truncated_picture_is_refused_or_whole(format_):
    """Whole are those alone whose last bytes close the file; none is read in part."""
    content = encoded(drawing(), format_)
    whole = decode(content).tobytes()
    read = []
    for length in range(len(content)):
        try:
            assert decode(content[:length]).tobytes() == whole, length
        except MediaUndecodable:
            continue
        read.append(len(content) - length)
    assert max(read, default=0) <= 24


# Mutations ---------------------------------------------------------------------------------------


def mutated(content: bytes, chance: random.Random) -> bytes:
    """1 to 20 bytes changed, or the end cut off, or a piece doubled or inserted."""
    data = bytearray(content)
    place, length = chance.randrange(len(data)), chance.randint(1, 20)
    match chance.randrange(4):
        case 0:
            for _ in range(length):
                data[chance.randrange(len(data))] = chance.randrange(256)
        case 1:
            del data[place:]
        case 2:
            data[place:place] = data[place : place + length]
        case _:
            data[place:place] = chance.randbytes(length)
    return bytes(data)


def mutations(count: int) -> list[bytes]:
    chance = random.Random(14)
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    exif[0x010F] = "a maker of cameras"
    clear = drawing()
    clear.putalpha(128)
    sources = [
        *(encoded(drawing(), format_) for format_ in FORMATS),
        *(encoded(drawing(), format_, exif=exif) for format_ in ("PNG", "JPEG", "WEBP")),
        *(encoded(clear, format_) for format_ in ("PNG", "WEBP", "GIF")),
        *(animated(format_) for format_ in ("PNG", "WEBP", "GIF")),
        encoded(drawing(), "JPEG", progressive=True),
    ]
    return [mutated(sources[index % len(sources)], chance) for index in range(count)]


def outcome(read: Callable[[bytes], Any], content: bytes) -> str | None:
    """The mode of the picture that is read, or the field that the error names."""
    try:
        made = read(content)
    except (MediaUndecodable, InvalidValue) as error:
        return error.param
    assert made.tobytes()
    return made.mode


@pytest.mark.parametrize(
    ("read", "modes", "param"),
    [
        (decode, {"RGB"}, "image"),
        (partial(decode, alpha=True), {"RGB", "RGBA"}, "image"),
        (partial(mask_of, size=SIZE), {"L"}, "mask"),
    ],
    ids=["image", "alpha", "mask"],
)
def test_a_mutated_picture_is_read_or_refused(read, modes, param):
    outcomes = [outcome(read, content) for content in mutations(300)]
    odd = {index: one for index, one in enumerate(outcomes) if one not in {*modes, param}}
    assert not odd, "of mutations(300)"
    assert {*modes, param} == set(outcomes)
    assert 50 < outcomes.count(param) < 250


async def test_a_mutated_picture_through_the_worker(ask):
    for content in mutations(20):
        output = await ask(**UPSCALE, image=data_uri(content))
        if "error" in output:
            assert error_of(output)["code"] in ("media_undecodable", "invalid_value")
        else:
            [made] = output["data"]
            picture = Image.open(io.BytesIO(base64.b64decode(made["b64_json"])))
            assert picture.size == (made["width"], made["height"])


# Memory ------------------------------------------------------------------------------------------

READER = """
import json, re, sys
from pathlib import Path
from handler import logs
from models.errors import MediaUndecodable
from models.pictures.decoding import decode

def peak():  # not getrusage's, which begins with that of the process before exec
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def growth(contents):
    before = peak()
    for content in contents:
        try:
            decode(content)
        except MediaUndecodable:
            pass
    return peak() - before

logs.configure("INFO", as_json=True)
first, *hostile, large = [bytes.fromhex(line) for line in sys.stdin]
growth([first])
print(json.dumps([growth(hostile), growth([large])]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says a process's peak")
def test_bombs_take_no_memory_and_no_warning_is_told():
    """In a process of its own; a large picture shows that the measure measures."""
    bombs = [content for content, _ in HOSTILE.values()]
    hostile = [*bombs, *TEXTS.values(), gif_frames(10_000), *mutations(300)]
    large = png(5000, 5000, pixels=zeros(5000 * 5001))
    contents = [encoded(drawing(), "PNG"), *hostile, large]
    run = subprocess.run(
        [sys.executable, "-c", READER],
        input="\n".join(one.hex() for one in contents),
        capture_output=True, text=True, timeout=60, cwd=ROOT, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
    grown, of_a_picture = json.loads(run.stdout)
    assert grown < 40_000_000
    assert of_a_picture > 75_000_000


def test_a_scan_that_is_repeated_is_not_read():
    """Each takes a moment and some fifty bytes; nothing else in a JPEG looks like one."""
    size = (2000, 1000)
    content = encoded(drawing(size), "JPEG", progressive=True, quality=80)
    last = content.rindex(b"\xff\xda")
    assert content.count(b"\xff\xda") > 1
    assert decode(content).size == size
    count = 1_300_000_000 // (size[0] * size[1])
    with pytest.raises(MediaUndecodable, match="scans, too many"):
        decode(content[:last] + content[last:-2] * count + content[-2:])


def test_a_strip_of_millions_of_pixels_is_not_read():
    """Sixteen kilobytes, and as many tiles as a wall of photos."""
    strip = png(4_000_000, 1, pixels=zeros(4_000_001))
    assert len(strip) < 20_000
    for content in (strip, png(1, 4_000_000, pixels=zeros(8_000_000)), png(16_385, 1)):
        with pytest.raises(MediaUndecodable, match="16384 a side"):
            decode(content)
    assert decode(png(16_384, 1, pixels=zeros(16_385))).size == (16_384, 1)


async def test_a_long_picture_is_not_enlarged(ask):
    """Of 9,000 pixels by 1, an upscaler would make some thirty tiles, most of them of nothing."""
    output = await ask(**UPSCALE, image=data_uri(png(9000, 1, pixels=zeros(9001))))
    refused(output, "image", "8192 a side", "invalid_value")


def test_scans_cost_no_more_than_a_second():
    """A JPEG of 64 megapixels and 499 scans took 24 s."""
    side = 8000
    content = encoded(Image.new("L", (side, side)), "JPEG", progressive=True, quality=10)
    last = content.rindex(b"\xff\xda")
    few = 1_300_000_000 // side**2 - content.count(b"\xff\xda")
    start = time.process_time()
    decode(content[:last] + content[last:-2] * few + content[-2:])
    assert time.process_time() - start < 5  # on a slow machine
    with pytest.raises(MediaUndecodable, match="scans, too many"):
        decode(content[:last] + content[last:-2] * (few + 2) + content[-2:])
