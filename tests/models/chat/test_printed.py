"""Printed text: pages that are drawn here, read by the laptop's default."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image

from models.catalog import CATALOG
from models.chat.printed.components import components
from models.chat.printed.rectangles import around
from models.errors import InvalidValue, MediaUndecodable
from models.pictures import pdf
from models.pictures.request import InputPicture, Page, PictureLimits, ReadRequest
from tests.conftest import needs
from tests.support.documents import pdf as written
from tests.support.printed import drawn

SLUG = "PP_OCRv6_Small"
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "quietly",
    "mix",
    "jugs",
    "of",
    "liquid",
    "oxygen;",
    "price",
    "12.50",
    "EUR",
    "(2026)",
]


def lines(count: int, words: int = 9) -> list[str]:
    chance = random.Random(1)
    return [" ".join(chance.choice(WORDS) for _ in range(words)) for _ in range(count)]


class Ticket:
    """A page on its way to the device."""

    def __init__(self, item: Image.Image) -> None:
        self.item = item


def read(engine, page: Image.Image) -> Page:
    file = io.BytesIO()
    page.save(file, "PNG")
    work = engine.prepare(ReadRequest((InputPicture(file.getvalue(), "image"),)))
    [part] = work.parts
    [out] = work.finish(engine.run([Ticket(part)]))
    return out


def wrong(want: list[str], got: Page) -> float:
    """The share of characters that are wrong: Levenshtein's distance."""
    said, told = "\n".join(want), "\n".join(line.text for line in got.lines)
    row = list(range(len(told) + 1))
    for at, letter in enumerate(said, 1):
        last, row[0] = row[0], at
        for place, other in enumerate(told, 1):
            last, row[place] = (
                row[place],
                min(row[place] + 1, row[place - 1] + 1, last + (letter != other)),
            )
    return row[-1] / len(said)


@pytest.fixture(scope="module")
def engine(load):
    return load(CATALOG.find(SLUG))


@needs(SLUG)
def test_a_page_of_forty_lines_is_read(engine):
    want = lines(40)
    page = read(engine, drawn(want))
    assert wrong(want, page) <= 0.01
    first = page.lines[0]
    xs, ys = zip(*first.corners, strict=True)
    assert 60 <= min(xs) <= 90
    assert 25 <= min(ys) < 50 < max(ys) <= 85
    assert 0.9 < first.confidence <= 1


@needs(SLUG)
@pytest.mark.parametrize("kind", ["dark", "on its left", "upside down", "on its right", "aslant"])
def test_however_a_page_lies(engine, kind):
    want = lines(6, 5)
    page = drawn(want, 800)
    turned = {
        "dark": drawn(want, 800, "white", "black"),
        "on its left": page.rotate(90, expand=True),
        "upside down": page.rotate(180),
        "on its right": page.rotate(270, expand=True),
        "aslant": page.rotate(3, expand=True, fillcolor="white"),
    }
    answer = read(engine, turned[kind])
    assert wrong(want, answer) <= 0.02
    back = {"on its left": 270, "upside down": 180, "on its right": 90}
    assert answer.turned == back.get(kind, 0)


@needs(SLUG)
def test_an_empty_page_has_no_lines(engine):
    assert read(engine, Image.new("RGB", (300, 200), "white")).lines == ()
    assert read(engine, Image.new("RGB", (20, 3), "white")).lines == ()


@needs(SLUG)
def test_what_cannot_be_read_is_named(engine):
    with pytest.raises(MediaUndecodable) as refused:
        engine.prepare(ReadRequest((InputPicture(b"%PDF-1.7", "image[0]"),)))
    assert refused.value.param == "image[0]"
    kept, engine._limits = engine._limits, PictureLimits(pixels=100)
    try:
        with pytest.raises(InvalidValue):
            read(engine, Image.new("RGB", (20, 20)))
    finally:
        engine._limits = kept


def test_regions_are_those_of_scipy():
    label = pytest.importorskip("scipy.ndimage").label
    chance = np.random.default_rng(3)
    for share in (0.2, 0.5, 0.7):
        mask = chance.random((40, 60)) < share
        labels, count = label(mask, np.ones((3, 3)))
        found = components(mask)
        assert len(found) == count
        for runs in found:
            cells = {(y, x) for y, start, end in runs.tolist() for x in range(start, end)}
            [name] = {labels[cell] for cell in cells}
            assert len(cells) == (labels == name).sum()


@pytest.mark.parametrize("degrees", [-40, -3, 0, 12, 44])
def test_the_smallest_rectangle(degrees):
    angle = np.radians(degrees)
    grid = np.stack(np.meshgrid(np.linspace(-50, 50, 30), np.linspace(-5, 5, 8)), -1).reshape(-1, 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    found = around(grid @ turn + 100)
    assert (found.x, found.y) == pytest.approx((100, 100), abs=0.1)
    assert (found.width, found.height) == pytest.approx((100, 10), abs=0.1)
    assert np.degrees(found.angle) == pytest.approx(degrees, abs=0.1)
    top_left = np.array(found.corners()[0])
    assert top_left == pytest.approx(np.array([-50, -5]) @ turn + 100, abs=0.2)


@needs(SLUG)
@pytest.mark.anyio
async def test_small_print_of_a_pdf(engine, tmp_path):
    """40 lines of 8 points, drawn as they are for reading."""
    want = lines(40)
    escaped = [line.replace("(", "\\(").replace(")", "\\)") for line in want]
    path = tmp_path / "a.pdf"
    path.write_bytes(written(escaped, points=8))
    async with pdf.opened(path, "image") as document:
        content = await document.page(1, PictureLimits().page_pixels)
    with Image.open(io.BytesIO(content)) as page:
        assert wrong(want, read(engine, page)) <= 0.01
