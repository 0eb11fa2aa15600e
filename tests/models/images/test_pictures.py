"""Pictures as people send them: their colours, their depths, their transparency, their damage."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from models.errors import MediaUndecodable
from models.pictures.decoding import decode, mask_of
from tests.support import colour_profiles as profiles
from tests.support.drawings import photo

# As handler/logs.py has it; here a warning would be an error, and the picture refused for it.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

PATCHES = np.array(
    [
        [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)],
        [(0, 0, 0), (128, 128, 128), (200, 120, 90), (40, 90, 160)],
        [(255, 200, 0), (10, 200, 180), (180, 20, 160), (60, 60, 30)],
    ],
    np.uint8,
)


def encoded(picture: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_, **options)
    return buffer.getvalue()


def drawing(width: int = 96, height: int = 80) -> Image.Image:
    return Image.effect_mandelbrot((width, height), (-2, -1, 1, 1), 50).convert("RGB")


def chunk(name: bytes, data: bytes, checksum: int | None = None) -> bytes:
    right = zlib.crc32(name + data)
    written = right if checksum is None else checksum
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", written)


def png(size: tuple[int, int], depth: int, kind: int, samples: bytes, *more: bytes) -> bytes:
    """A PNG of one picture; ``samples`` are its rows with their filters."""
    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(samples)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def with_chunks(content: bytes, *more: bytes, at: bytes = b"IDAT") -> bytes:
    """A PNG with further chunks before its pixels, or before its end."""
    place = content.index(at) - 4
    return content[:place] + b"".join(more) + content[place:]


def pixels(picture: Image.Image) -> Any:
    return np.asarray(picture).astype(int)


# Colours -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("primaries", "curve", "linear"),
    [
        (profiles.DISPLAY_P3, profiles.srgb_curve(), profiles.decoded),
        (
            profiles.ADOBE_RGB,
            profiles.gamma(profiles.ADOBE_GAMMA),
            lambda value: value**profiles.ADOBE_GAMMA,
        ),
    ],
    ids=["Display P3", "Adobe RGB"],
)
def test_wide_colours_become_those_of_srgb(format_, primaries, curve, linear):
    given = Image.fromarray(PATCHES.repeat(16, 0).repeat(16, 1))
    icc = profiles.of_display(primaries, curve)
    options = {"lossless": True} if format_ == "WEBP" else {"quality": 100, "subsampling": 0}
    content = encoded(given, format_, icc_profile=icc, **options)
    stored = pixels(Image.open(io.BytesIO(content)).convert("RGB"))
    made = pixels(decode(content))
    assert np.abs(made - profiles.converted(stored, primaries, linear)).max() <= 1.6
    assert np.abs(made - stored).max() > 20  # the numbers themselves are of other colours


def test_a_press_has_colours_of_its_own():
    """Of a CMYK picture with its profile; without one, the inks are taken for ideal ones."""
    amounts = np.array(
        [[(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)],
         [(0, 0, 0, 1), (0.5, 0.25, 0, 0), (0.25, 0.5, 0.5, 0.25), (0, 0.75, 1, 0)]]
    )  # fmt: skip
    inks = np.rint(amounts * 255).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    given = Image.fromarray(inks, "CMYK")
    icc = profiles.of_press()
    made = pixels(decode(encoded(given, "JPEG", quality=100, subsampling=0, icc_profile=icc)))
    seen = made[8::16, 8::16]
    assert np.abs(seen - profiles.printed(amounts) * 255).max() < 12
    plain = pixels(decode(encoded(given, "JPEG", quality=100, subsampling=0)))
    assert np.abs(plain[8::16, 8::16] - profiles.printed(amounts) * 255).max() > 60


def test_grey_has_a_curve():
    given = Image.linear_gradient("L").resize((64, 64))
    made = decode(encoded(given, icc_profile=profiles.of_grey(profiles.gamma(1.0))))
    expected = profiles.encoded(pixels(given) / 255) * 255
    assert np.abs(pixels(made) - expected[..., None]).max() <= 1.6


@pytest.mark.parametrize("icc", ["srgb", "by another name", "of grey", "of a press", "nothing"])
def test_what_is_in_srgb_stays_as_it_is_bit_by_bit(icc):
    """So does what has a profile for pictures of another kind."""
    kinds = {
        "srgb": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        "by another name": profiles.of_display(profiles.SRGB, profiles.srgb_curve()),
        "of grey": profiles.of_grey(profiles.gamma(1.0)),
        "of a press": profiles.of_press(3),
        "nothing": b"a profile",
    }
    given = photo()
    assert pixels(decode(encoded(given, icc_profile=kinds[icc]))).tolist() == pixels(given).tolist()


@pytest.mark.parametrize("mode", ["P", "L", "LA", "RGBA", "16 bits"])
def test_a_profile_is_for_every_mode(mode):
    given = photo(32, 24)
    alpha = Image.linear_gradient("L").resize(given.size)
    icc = profiles.of_display(profiles.DISPLAY_P3, profiles.srgb_curve())
    if mode == "16 bits":
        given = given.convert("L")
        content = encoded(Image.fromarray(np.asarray(given, np.uint16) * 257), icc_profile=icc)
    else:
        given = given.quantize(64) if mode == "P" else given.convert(mode)
        if mode in ("LA", "RGBA"):
            given.putalpha(alpha)
        content = encoded(given, icc_profile=icc)
    stored = pixels(given.convert("RGB"))
    expected = profiles.converted(stored, profiles.DISPLAY_P3, profiles.decoded)
    made = decode(content, alpha=True)
    shown = pixels(alpha) > 0 if made.mode == "RGBA" else np.full(stored.shape[:2], True)
    assert np.abs(pixels(made)[..., :3] - expected)[shown].max() <= 1.6
    if made.mode == "RGBA":
        assert (pixels(made)[..., 3] == pixels(alpha)).all()


def test_what_leaves_has_no_profile_of_another_space():
    icc = profiles.of_display(profiles.ADOBE_RGB, profiles.gamma(profiles.ADOBE_GAMMA))
    made = decode(encoded(photo(), "JPEG", icc_profile=icc, comment=b"from a camera"))
    assert made.info == {}


# What a profile may cost ---------------------------------------------------------------------------


def _elements(count: int) -> bytes:
    """A processing element after the other (multiProcessElementsType), each a matrix."""
    matrix = b"matf\0\0\0\0" + struct.pack(">HH12f", 3, 3, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0)
    start = 16 + 8 * count
    places = b"".join(struct.pack(">II", start, len(matrix)) for _ in range(count))
    return b"mpet\0\0\0\0" + struct.pack(">HHI", 3, 3, count) + places + matrix


def _large_table(kind: bytes) -> bytes:
    """A table that says it has 255 points a side, and has none."""
    if kind == b"mAB ":
        places = struct.pack(">5I", 0, 0, 0, 32, 0)
        return kind + bytes(4) + bytes((3, 3, 0, 0)) + places + bytes([255] * 16) + b"\2\0\0\0"
    return kind + bytes(4) + bytes((3, 3, 255, 0)) + bytes(2000)


HOSTILE = {
    "elements": {"D2B0": _elements(200_000)},
    "table": {"A2B0": _large_table(b"mft2")},
    "table of 8 bits": {"A2B0": _large_table(b"mft1")},
    "table of version 4": {"A2B0": _large_table(b"mAB ")},
    "a cut table": {"A2B0": b"mft2"},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_profile_that_would_cost_hours_is_read_without_its_tables(name):
    icc = profiles.of_display(profiles.SRGB, profiles.srgb_curve(), **HOSTILE[name])
    start = time.process_time()
    made = decode(encoded(photo(), "WEBP", lossless=True, icc_profile=icc))
    assert time.process_time() - start < 2
    assert made.tobytes() == photo().tobytes()


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_profile_changes_no_picture_into_an_error(seed):
    chance = np.random.default_rng(seed)
    good = (profiles.of_press(3), profiles.of_display(profiles.DISPLAY_P3, profiles.srgb_curve()))
    icc = bytearray(good[seed % 2])
    for place in chance.integers(0, len(icc), 1 + seed % 20):
        icc[place] = chance.integers(0, 256)
    given = Image.new("CMYK" if seed % 2 == 0 else "RGB", (8, 8))
    assert decode(encoded(given, "JPEG", icc_profile=bytes(icc))).size == (8, 8)


# Depths --------------------------------------------------------------------------------------------


def test_grey_of_sixteen_bits_is_not_cut_off():
    values = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    made = pixels(decode(encoded(Image.fromarray(values))))
    assert np.abs(made - values[..., None] / 257).max() <= 0.5
    mask = mask_of(encoded(Image.fromarray(values)), (64, 48))
    assert np.abs(pixels(mask) - values / 257).max() <= 0.5


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_grey_that_stands_for_nothing_is_transparent_at_every_depth(depth):
    """Of a PNG's samples one value may be transparent (tRNS), as the file itself counts."""
    most = 2**depth - 1
    values = [0, most // 2, most] * 8
    row = sum(value << depth * (len(values) - 1 - at) for at, value in enumerate(values))
    packed = b"\0" + row.to_bytes(len(values) * depth // 8)
    content = png((24, 1), depth, 0, packed, chunk(b"tRNS", struct.pack(">H", most // 2)))
    opacity = pixels(decode(content, alpha=True))[0, :, 3]
    assert opacity.tolist() == [0 if value == most // 2 else 255 for value in values]


def test_a_colour_that_stands_for_nothing_has_sixteen_bits_too():
    samples = struct.pack(">6H", 1000, 2000, 40000, 65535, 0, 500)
    hidden = chunk(b"tRNS", struct.pack(">3H", 1000, 2000, 40000))
    made = decode(png((2, 1), 16, 2, b"\0" + samples, hidden), alpha=True)
    assert pixels(made)[0].tolist() == [[255, 255, 255, 0], [255, 0, 1, 255]]


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_sixteen_bits_stand_upright_too(orientation):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    exif = Image.Exif()
    exif[0x0112] = orientation
    made = pixels(decode(encoded(Image.fromarray(values), exif=exif)))[..., 0]
    turns = {3: 2, 6: 3, 8: 1}[orientation]
    assert (made == np.rot90(np.rint(values / 257), turns)).all()


# Transparency --------------------------------------------------------------------------------------


def with_hidden(visible: Sequence[int] = (200, 30, 40)) -> Image.Image:
    """A red picture; on the right, green that nobody sees."""
    picture = Image.new("RGBA", (32, 24), (*visible, 255))
    picture.paste((0, 255, 0, 0), (16, 0, 32, 24))
    return picture


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_what_is_hidden_does_not_come_to_light(format_):
    options = {"lossless": True, "exact": True} if format_ == "WEBP" else {}
    content = encoded(with_hidden(), format_, **options)
    assert pixels(decode(content))[:, 16:].min() == 255
    kept = pixels(decode(content, alpha=True))
    assert kept[:, 16:].tolist() == [[[255, 255, 255, 0]] * 16] * 24
    assert kept[:, :16].tolist() == [[[200, 30, 40, 255]] * 16] * 24


def test_a_veil_is_laid_on_white():
    veiled = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert decode(encoded(veiled)).getpixel((0, 0)) == (127, 127, 127)
    assert decode(encoded(veiled), alpha=True).getpixel((0, 0)) == (0, 0, 0, 128)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_picture_without_a_transparent_pixel_is_opaque(mode):
    opaque = photo(16, 16).convert("RGBA")
    given = opaque.quantize(16) if mode == "P" else opaque.convert(mode)
    options = {"transparency": bytes([255] * 16)} if mode == "P" else {}
    assert decode(encoded(given, **options), alpha=True).mode == "RGB"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "1"])
def test_an_opaque_mask_is_read_by_its_brightness(mode):
    """What draws a mask often saves it with an alpha channel that says nothing."""
    half = Image.new("L", (16, 8))
    half.paste(255, (8, 0, 16, 8))
    given = half.convert("RGBA").quantize(4) if mode == "P" else half.convert(mode)
    options = {"transparency": bytes([255] * 4)} if mode == "P" else {}
    assert (pixels(mask_of(encoded(given, **options), (16, 8))) == pixels(half)).all()


@pytest.mark.parametrize(("holes", "expected"), [(0, 255), (60, 195), (200, None), (254, None)])
def test_a_mask_with_holes_is_read_by_them(holes, expected):
    """An alpha that nowhere falls below a half marks nothing, and is no mask."""
    given = Image.new("RGBA", (16, 8), (0, 0, 0, 255))
    given.paste((255, 255, 255, holes), (8, 0, 16, 8))
    made = pixels(mask_of(encoded(given), (16, 8)))
    assert made[0, 15] == (255 if expected is None else expected)
    assert made[0, 0] == 0


def test_a_mask_has_no_colours_to_convert():
    given = Image.linear_gradient("L").resize((16, 16))
    content = encoded(given, icc_profile=profiles.of_grey(profiles.gamma(1.0)))
    assert (pixels(mask_of(content, (16, 16))) == pixels(given)).all()


# Metadata of a PNG -----------------------------------------------------------------------------------

LOTS = bytes(3_000_000)
HARMLESS = {
    "zTXt": chunk(b"zTXt", b"a\0\0" + zlib.compress(LOTS)),
    "iTXt": chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(LOTS)),
    "tEXt": chunk(b"tEXt", b"a\0" + LOTS),
    "iCCP": chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(20_000_000))),
    "a damaged iCCP": chunk(b"iCCP", b"a\0\0no deflate"),
    "an iCCP of another method": chunk(b"iCCP", b"a\0\7" + zlib.compress(b"a")),
    "a wrong checksum of a text": chunk(b"tEXt", b"a\0b", 1),
    "a wrong checksum of gAMA": chunk(b"gAMA", struct.pack(">I", 45455), 1),
    "a wrong checksum of tRNS": chunk(b"tRNS", bytes(6), 1),
    "a short gAMA": chunk(b"gAMA", b"\0"),
    "an unknown one": chunk(b"prVt", b"x"),
    "a tIME of no length": chunk(b"tIME", b""),
}


@pytest.mark.parametrize("at", [b"IDAT", b"IEND"], ids=["before", "after"])
@pytest.mark.parametrize("name", HARMLESS)
def test_what_no_pixel_depends_on_refuses_no_picture(name, at):
    content = with_chunks(encoded(drawing()), HARMLESS[name], at=at)
    assert decode(content).tobytes() == drawing().tobytes()


def test_a_profile_of_more_than_a_megabyte_is_applied():
    padding = np.random.default_rng(1).bytes(1_500_000)
    icc = profiles.of_display(profiles.DISPLAY_P3, profiles.srgb_curve(), zzzz=padding)
    stored = np.asarray(photo())
    content = with_chunks(encoded(photo()), chunk(b"iCCP", b"a\0\0" + zlib.compress(icc)))
    expected = profiles.converted(stored, profiles.DISPLAY_P3, profiles.decoded)
    assert np.abs(pixels(decode(content)) - expected).max() <= 1.6


@pytest.mark.parametrize("way", ["eXIf", "ImageMagick", "XMP", "XMP compressed"])
def test_how_a_picture_is_turned_is_still_read(way):
    exif = Image.Exif()
    exif[0x0112] = 6
    hexed = (b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")).hex()
    xmp = b'<x:xmpmeta tiff:Orientation="6"/>'
    chunks = {
        "eXIf": chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")),
        "ImageMagick": chunk(
            b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n  9\n" + hexed.encode())
        ),
        "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        "XMP compressed": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)),
    }
    made = decode(with_chunks(encoded(drawing()), chunks[way]))
    assert made.tobytes() == drawing().transpose(Image.Transpose.ROTATE_270).tobytes()


def test_a_wrong_checksum_of_what_pixels_depend_on_is_refused():
    content = bytearray(encoded(drawing()))
    content[30] ^= 1  # of IHDR
    with pytest.raises(MediaUndecodable):
        decode(bytes(content))


def test_very_many_chunks_are_no_picture():
    content = with_chunks(encoded(drawing()), chunk(b"tEXt", b"") * 150_000)
    start = time.process_time()
    with pytest.raises(MediaUndecodable):
        decode(content)
    assert time.process_time() - start < 5


# The end of a JPEG -------------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fine": {"quality": 98, "subsampling": 0},
    "coarse": {"quality": 10},
    "tables of its own": {"optimize": True},
    "restarts": {"restart_marker_blocks": 2},
    "progressive": {"progressive": True},
    "progressive and fine": {"progressive": True, "quality": 97, "subsampling": 0},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [photo, drawing], ids=["photo", "drawing"])
def test_a_jpeg_without_its_last_marker_is_read(way, make):
    content = encoded(make(), "JPEG", **WAYS[way])
    for cut in (1, 2):
        assert decode(content[:-cut]).tobytes() == decode(content).tobytes()


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_so_is_one_of_another_mode(mode):
    content = encoded(photo().convert(mode), "JPEG")
    assert decode(content[:-2]).tobytes() == decode(content).tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_one_that_lacks_more_is_refused(way):
    """Or it is the whole picture, bit by bit: the last byte may hold nothing but filling."""
    read = []
    for seed in range(4):
        content = encoded(photo(seed=seed), "JPEG", **WAYS[way])
        whole = decode(content).tobytes()
        for cut in (*range(3, 40), 60, 100, 200, 400, len(content) // 2):
            try:
                made = decode(content[:-cut])
            except MediaUndecodable:
                continue
            assert made.tobytes() == whole, (seed, cut)
            read.append(cut)
    assert max(read, default=0) <= 6


def test_a_progressive_one_without_its_last_scans_is_refused():
    """It is whole to a decoder, and blurred."""
    content = encoded(photo(), "JPEG", progressive=True)
    starts = [at for at in range(len(content)) if content.startswith(b"\xff\xda", at)]
    assert len(starts) > 4
    for start in starts[1:]:
        tables = content.rfind(b"\xff\xc4", 0, start)
        for end in (start, tables):
            with pytest.raises(MediaUndecodable):
                decode(content[:end])


def test_one_of_very_many_segments_takes_no_time():
    content = encoded(photo(), "JPEG")
    start = time.process_time()
    for filling in (b"\xff\xfe\0\2", b"\xff\x01", b"\xff"):
        with pytest.raises(MediaUndecodable):
            decode(content[:200] + filling * 1_000_000)
    assert time.process_time() - start < 5


def test_scans_of_a_picture_with_others_behind_it_are_counted():
    """Pillow calls a file of several pictures MPO, and no JPEG."""
    size = (2000, 1000)
    first = drawing(*size)
    content = encoded(first, "MPO", save_all=True, append_images=[first], progressive=True)
    assert Image.open(io.BytesIO(content)).format == "MPO"
    assert decode(content).size == size
    last = content.index(b"\xff\xd9")
    scan = content.rindex(b"\xff\xda", 0, last)
    with pytest.raises(MediaUndecodable, match="scans, too many"):
        decode(content[:scan] + content[scan:last] * 700 + content[last:])
