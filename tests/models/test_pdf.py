"""PDFs as pictures: pages against PDFium's own, hostile files, and the process that draws them."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import zlib
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image, ImageChops

from models.errors import MediaUndecodable
from models.pictures import pdf
from tests.support.children import children
from tests.support.documents import assembled, encrypted
from tests.support.documents import pdf as written

pytestmark = pytest.mark.anyio
PIXELS = 4_000_000


def kept(folder: Path, content: bytes) -> Path:
    path = folder / "a.pdf"
    path.write_bytes(content)
    return path


async def drawn(path: Path, number: int = 1, pixels: int = PIXELS, dpi: float = 100) -> Image.Image:
    async with pdf.opened(path, "image") as document:
        return Image.open(io.BytesIO(await document.page(number, pixels, dpi)))


async def test_pages_are_pdfiums_own(tmp_path):
    path = kept(tmp_path, written(["First page"], ["Second", "page"], size=(300, 200)))
    async with pdf.opened(path, "image") as document:
        assert document.count == 2
        contents = [await document.page(number, PIXELS, 144) for number in (2, 1, 2)]
    with pypdfium2.PdfDocument(path) as reference:
        for number, content in zip((1, 0, 1), contents, strict=True):
            page = reference[number]
            expected = page.render(scale=2).to_pil().convert("RGB")
            picture = Image.open(io.BytesIO(content))
            assert (picture.size, picture.mode) == ((600, 400), "RGB")
            assert ImageChops.difference(picture, expected).getbbox() is None
    assert contents[0] == contents[2] != contents[1]


@pytest.mark.parametrize(
    "size", [(595, 842), (14_400, 14_400), (1e9, 1e9), (3, 100_000), (0.01, 5)]
)
async def test_a_page_of_any_size_is_drawn_within_the_limit(tmp_path, size):
    picture = await drawn(kept(tmp_path, written(["a"], size=size)), pixels=100_000)
    assert 0 < picture.width * picture.height <= 100_000
    assert max(picture.size) <= 10_000


async def test_a_page_lies_as_it_is_shown(tmp_path):
    content = written(["a"], size=(300, 200)).replace(b"/MediaBox", b"/Rotate 90 /MediaBox", 1)
    assert (await drawn(kept(tmp_path, content), dpi=72)).size == (200, 300)


async def test_what_is_filled_into_a_form_is_drawn(tmp_path):
    """PDFium draws the fields of forms only where it is asked to."""
    black = "0 0 0 rg 0 0 100 50 re f"
    content = assembled([
        "<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] >> >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Annots [4 0 R] >>",
        "<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /F 4 /Rect [0 0 100 50] /P 3 0 R "
        "/AP << /N 5 0 R >> >>",
        f"<< /Type /XObject /Subtype /Form /BBox [0 0 100 50] /Length {len(black)} >>\n"
        f"stream\n{black}\nendstream",
    ])  # fmt: skip
    picture = await drawn(kept(tmp_path, content), dpi=72)
    assert picture.getpixel((50, 75)) == (0, 0, 0)
    assert picture.getpixel((150, 25)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"%PDF-1.7\n" + b"\0" * 5000, "broken"),
        (written(["a"])[:300], "broken"),
        (written(), "no pages"),
        (encrypted(), "encrypted"),
        (b"", "broken"),
    ],
)
async def test_files_that_are_refused(tmp_path, content, reason):
    with pytest.raises(MediaUndecodable, match=f"image: the PDF .*{reason}") as refused:
        await drawn(kept(tmp_path, content))
    assert refused.value.param == "image"


async def test_a_broken_page_is_named(tmp_path):
    """The tree says that there are more pages than there are."""
    content = written(["a"]).replace(b"/Count 1", b"/Count 9", 1)
    async with pdf.opened(kept(tmp_path, content), "image") as document:
        assert document.count == 9
        with pytest.raises(MediaUndecodable, match="page 7 of the PDF is broken"):
            await document.page(7, PIXELS)


async def test_a_page_that_takes_too_long_is_given_up(tmp_path):
    """A picture in a picture in a picture …, each a hundred times: more than any time."""
    depth = 12
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R "
        "/Resources << /XObject << /A 5 0 R >> >> >>",
        "<< /Length 5 >>\nstream\n/A Do\nendstream",
    ]
    for at in range(depth):
        inner = "/A Do\n" * 100 if at < depth - 1 else "0 0 9 9 re f"
        objects.append(
            f"<< /Type /XObject /Subtype /Form /BBox [0 0 200 200] /Length {len(inner)} "
            f"/Resources << /XObject << /A {6 + at} 0 R >> >> >>\nstream\n{inner}\nendstream"
        )
    path = kept(tmp_path, assembled(objects))
    async with pdf.opened(path, "image", time_s=1) as document:
        with pytest.raises(MediaUndecodable, match="page 1 of the PDF takes longer than 1 s"):
            await document.page(1, PIXELS)


async def test_a_bomb_is_drawn_in_little_memory(tmp_path):
    """A picture of 60,000 by 60,000 pixels in ten kilobytes: 10.8 GB, if they were decoded."""
    data = zlib.compress(b"\0" * 60_000 * 60, 9).decode("latin-1")
    picture = (
        "<< /Type /XObject /Subtype /Image /Width 60000 /Height 60000 /ColorSpace /DeviceRGB "
        f"/BitsPerComponent 8 /Filter /FlateDecode /Length {len(data)} >>\n"
        f"stream\n{data}\nendstream"
    )
    content = assembled([
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R "
        "/Resources << /XObject << /A 5 0 R >> >> >>",
        "<< /Length 30 >>\nstream\nq 200 0 0 200 0 0 cm /A Do Q\nendstream",
        picture,
    ])  # fmt: skip
    assert (await drawn(kept(tmp_path, content))).size == (278, 278)


async def test_a_process_that_dies_is_a_page_that_cannot_be_drawn(tmp_path):
    path = kept(tmp_path, written(["a"]))
    async with pdf.opened(path, "image") as document:
        for child in children():
            os.kill(int(child), signal.SIGKILL)
        with pytest.raises(MediaUndecodable, match="page 1 of the PDF is broken"):
            await document.page(1, PIXELS)


async def test_a_reader_that_is_cancelled_leaves_no_process(tmp_path):
    path, before = kept(tmp_path, written(["a"])), set(children())

    async def wait_inside() -> None:
        async with pdf.opened(path, "image") as document:
            await document.page(1, PIXELS)
            await asyncio.sleep(60)

    task = asyncio.create_task(wait_inside())
    while not set(children()) - before:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(children()) <= before


async def test_documents_are_drawn_at_once(tmp_path):
    """PDFium is not safe in threads; here each document has its own process."""
    path = kept(tmp_path, written(*[[f"Page {at}"] for at in range(5)], size=(200, 100)))
    pictures = await asyncio.gather(*(drawn(path, 1 + at % 5) for at in range(10)))
    contents = [picture.tobytes() for picture in pictures]
    assert contents[:5] == contents[5:]
    assert len(set(contents)) == 5


def test_what_is_a_pdf(tmp_path):
    for content, expected in (
        (b"%PDF-1.4", True),
        (b"\r\njunk before" + b"%PDF-1.4", True),
        (b"\x89PNG\r\n\x1a\n tEXt %PDF-1.4", False),
        (b" " * 2000 + b"%PDF-1.4", False),
        (b"", False),
    ):
        assert pdf.is_pdf(kept(tmp_path, content)) is expected
