"""Pictures that are made to break what reads them: each is a clear error, or a picture."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from PIL import Image

from models.errors import InvalidValue, MediaUndecodable
from models.images.pictures import decode, mask_of
from tests.conftest import ROOT, error_of
from tests.servers import serve

pytestmark = pytest.mark.anyio

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
UPSCALE = {"prompt": "-", "model": "Tiny_ESRGAN"}


def drawn(width: int = 48, height: int = 40, seed: int = 1) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def file_of(picture: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One of a PNG, with its checksum right."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def squeezed(megabytes: int) -> bytes:
    """As many, in a few kilobytes; made without ever holding them."""
    press = zlib.compressobj(9)
    return b"".join([*(press.compress(b"x" * 1_000_000) for _ in range(megabytes)), press.flush()])


def png(width: int, height: int, data: bytes = b"", extra: bytes = b"") -> bytes:
    """Black and white, of any size; whoever believes its header takes the memory for it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    body = chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + extra + body


def blank(width: int, height: int, extra: bytes = b"") -> bytes:
    """A whole one: a few kilobytes that are very many pixels."""
    rows = zlib.compress(b"\0" * ((1 + -(-width // 8)) * height), 9)
    return png(width, height, rows, extra)


def frames(format_: str, count: int) -> bytes:
    first, *others = [Image.new("P", (32, 32), index % 250) for index in range(count)]
    return file_of(first, format_, save_all=True, append_images=others)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>1</script></svg>'
NO_PICTURES = {
    "svg": SVG,
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n",
    "tiff": file_of(drawn(), "TIFF"),
    "bmp": file_of(drawn(), "BMP"),
    "ico": file_of(drawn(), "ICO"),
    "html": b"<!doctype html><img src=x onerror=alert(1)>",
    "json": b'{"image": "x"}',
    "mp3": b"ID3\x04\0\0\0\0\0\0" + b"\xff\xfb\x90\0" * 50,
    "one byte": b"\x89",
    "a name alone": b"\x89PNG\r\n\x1a\n",
    "header of 50,000": png(50_000, 50_000),
    "header of 2**31": png(2**31 - 1, 2**31 - 1),
    "bomb": blank(9_000, 9_000),
    "gif of 65,000": b"GIF89a" + struct.pack("<HH", 65_000, 65_000) + b"\xf0\0\0" + b"\0" * 6
    + b"," + struct.pack("<HHHH", 0, 0, 65_000, 65_000) + b"\0\x02\x02\x44\x01\0;",
    "text of 200 MB": blank(
        8, 8, chunk(b"zTXt", b"Comment\0\0" + squeezed(200))
    ),
    **{f"half a {one}": file_of(drawn(200, 200), one)[:1500] for one in FORMATS},
}  # fmt: skip


@pytest.fixture
def upscaler(make_worker, monkeypatch, tmp_path):
    """A worker, whose files come and go in a folder of the test."""
    folder = tmp_path / "files"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield make_worker(FAKE_ENGINES="0", SURFACE="images", MEDIA_PRIVATE_HOSTS="127.0.0.1")
    assert list(folder.glob("quartet-*")) == []


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    async def get(request: web.Request) -> web.Response:
        return web.Response(body=NO_PICTURES[request.query["name"]])

    application = web.Application()
    application.router.add_get("/", get)
    with serve(application) as url:
        yield url


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def asked(worker: Any, **body: Any) -> Any:
    output = await worker.answer({"id": "j", "input": body})
    return error_of(output) if isinstance(output, dict) else json.loads(output.content)


# What is no picture ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NO_PICTURES)
async def test_what_is_no_picture_is_told(upscaler, name, caplog):
    error = await asked(upscaler, **UPSCALE, image=text(NO_PICTURES[name]))
    assert (error["code"], error["type"]) == ("media_undecodable", "invalid_request_error")
    assert error["param"] == "image"
    assert not [one for one in caplog.records if one.exc_info]


@pytest.mark.parametrize("form", ["data URI", "URL"])
@pytest.mark.parametrize("name", ["svg", "bomb", "header of 50,000", "half a JPEG"])
async def test_by_whatever_way_it_came(upscaler, host, name, form):
    sent = f"data:image/png;base64,{text(NO_PICTURES[name])}"
    image = sent if form == "data URI" else f"{host}/?name={name.replace(' ', '%20')}"
    error = await asked(upscaler, **UPSCALE, image=image)
    assert (error["code"], error["param"]) == ("media_undecodable", "image")


@pytest.mark.parametrize("name", ["svg", "bomb", "half a PNG"])
async def test_the_field_that_holds_it_is_named(upscaler, name):
    good, bad = text(file_of(drawn(64, 64), "PNG")), text(NO_PICTURES[name])
    edit = {"prompt": "x", "model": "Tiny_Flux", "steps": 2, "strength": 1, "size": "64x64"}
    error = await asked(upscaler, **edit, image=good, mask=bad)
    assert (error["code"], error["param"]) == ("media_undecodable", "mask")
    error = await asked(upscaler, **edit, init_image=bad)
    assert (error["code"], error["param"]) == ("media_undecodable", "init_image")
    error = await asked(upscaler, prompt="-", model="U2Net_P", image=bad)
    assert (error["code"], error["param"]) == ("media_undecodable", "image")


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (5, "invalid_type"), ({"url": "x"}, "invalid_type"), ([1], "invalid_type"),
        ([["x"]], "invalid_type"), ("", None), (["x"] * 5, None), ("not base64!", "media_invalid"),
        ("ftp://a/b.png", None), ("http://", None),
    ],
)  # fmt: skip
async def test_what_cannot_be_an_image(upscaler, image, code):
    error = await asked(upscaler, **UPSCALE, image=image)
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith("image")
    assert code is None or error["code"] == code


# What is one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [frames("GIF", 1000), frames("WEBP", 20), frames("PNG", 20), blank(64, 64)],
    ids=["gif", "webp", "apng", "one bit"],
)
async def test_of_what_moves_the_first_frame_counts(upscaler, content):
    answer = await asked(upscaler, **UPSCALE, image=text(content), scale=2)
    assert answer["data"][0]["width"] in (64, 128)


def mutated(chance: random.Random, content: bytes) -> bytes:
    """A file that somebody broke: bytes changed, cut, doubled or put in between."""
    made = bytearray(content)
    for _ in range(chance.randint(1, 20)):
        at = chance.randrange(len(made))
        kind = chance.random()
        if kind < 0.7:
            made[at] = chance.randrange(256)
        elif kind < 0.8:
            del made[at : at + chance.randint(1, 30)]
        elif kind < 0.9:
            made[at:at] = made[at : at + chance.randint(1, 30)]
        else:
            made[at:at] = chance.randbytes(chance.randint(1, 30))
        if not made:
            return b"\0"
    return bytes(made)


def test_300_broken_pictures_are_pictures_or_errors(capfd):
    chance, read = random.Random(14), {"picture": 0, "error": 0}
    whole = [file_of(drawn(seed=seed), one) for seed in range(3) for one in FORMATS]
    for number in range(300):
        content = mutated(chance, whole[number % len(whole)])
        for reads in (decode, lambda one: mask_of(one, (48, 40))):
            try:
                picture = reads(content)
            except (MediaUndecodable, InvalidValue):
                read["error"] += 1
            else:
                read["picture"] += 1
                assert picture.mode in ("RGB", "RGBA", "L"), number
    assert min(read.values()) > 30
    assert capfd.readouterr().err == ""


async def test_broken_ones_hurt_no_neighbour(upscaler):
    """Among 24 jobs at once, of which every second is sound."""
    import asyncio

    chance, sound = random.Random(15), file_of(drawn(8, 8), "PNG")
    sent = [sound if index % 2 else mutated(chance, sound)[:60] for index in range(24)]
    told = await asyncio.gather(*(asked(upscaler, **UPSCALE, image=text(one)) for one in sent))
    for index, one in enumerate(told):
        assert ("data" in one) if index % 2 else (one["code"] == "media_undecodable")


def test_memory_is_bounded():
    """Each of them alone would take gigabytes."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(ROOT)!r})
from models.errors import MediaUndecodable
from models.images.pictures import decode
from tests.handler.test_hostile_pictures import NO_PICTURES
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in ("bomb", "header of 50,000", "header of 2**31", "gif of 65,000", "text of 200 MB"):
    try:
        decode(NO_PICTURES[name])
    except MediaUndecodable:
        continue
    sys.exit(name)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 100_000_000
