"""PDFs as pictures of their pages, drawn one after the other in a child process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models import child
from models.errors import MediaUndecodable, UnsupportedParameter

READING_DPI = 200.0  # of small print
_SIDE = 10_000  # pixels of a page's longer side
_TIME_S = 30.0  # to open a file, and to draw a page
_HEAD_BYTES = 1024  # within which the mark of a PDF stands
_PICTURES = (b"\x89PNG", b"\xff\xd8", b"GIF8", b"RIFF")


def is_pdf(path: Path) -> bool:
    """Whether a file is a PDF, by its beginning."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return b"%PDF-" in head and not head.startswith(_PICTURES)


@dataclass(frozen=True)
class Document:
    """An open PDF.

    Attributes:
        count: of its pages.
        param: the request's field, for errors.
    """

    count: int
    param: str
    _process: asyncio.subprocess.Process
    _time_s: float

    async def page(self, number: int, pixels: int, dpi: float = READING_DPI) -> bytes:
        """Return a page as a PNG.

        Args:
            number: of the page, from 1.
            pixels: the most that it may have; a larger page is drawn smaller.
            dpi: pixels of an inch.

        Raises:
            MediaUndecodable: the page cannot be drawn, or takes too long.
        """
        where = f"{self.param}: page {number} of the PDF"
        task = {"page": number, "dpi": dpi, "pixels": pixels, "side": _SIDE}
        answer = await _exchange(self._process, task, self._time_s, where, self.param)
        if "bytes" in answer:
            content: bytes = answer["content"]
            return content
        raise MediaUndecodable(f"{where} is broken, or too large to be drawn.", param=self.param)


@asynccontextmanager
async def opened(path: Path, param: str, time_s: float = _TIME_S) -> AsyncIterator[Document]:
    """Open a PDF for as long as the block lasts.

    Args:
        path: of the file.
        param: the request's field, for errors.
        time_s: how long it may take to open it, and to draw a page.

    Raises:
        MediaUndecodable: it is encrypted, broken or empty.
        UnsupportedParameter: PDFium is not installed.
    """
    if find_spec("pypdfium2") is None:
        raise UnsupportedParameter(
            f"{param}: this worker reads no PDFs, as pypdfium2 is not installed; send pictures of "
            "the pages.",
            param=param,
        )
    drawing = child.running(
        "models.pictures.pdf_process",
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with drawing as process:
        answer = await _exchange(process, None, time_s, f"{param}: the PDF", param)
        if answer.get("error") == "encrypted":
            raise MediaUndecodable(
                f"{param}: the PDF is encrypted; send it without a password.", param=param
            )
        if "pages" not in answer:
            raise MediaUndecodable(f"{param}: the PDF is broken and cannot be read.", param=param)
        if answer["pages"] == 0:
            raise MediaUndecodable(f"{param}: the PDF has no pages.", param=param)
        yield Document(answer["pages"], param, process, time_s)


async def _exchange(
    process: asyncio.subprocess.Process,
    task: Mapping[str, Any] | None,
    time_s: float,
    what: str,
    param: str,
) -> dict[str, Any]:
    """Send a task, if there is one, and return the answer; an ended process answers nothing.

    Raises:
        MediaUndecodable: it takes too long.
    """
    if process.stdin is None or process.stdout is None:
        return {}
    try:
        async with asyncio.timeout(time_s):
            if task is not None:
                process.stdin.write(json.dumps(task).encode() + b"\n")
                await process.stdin.drain()
            answer: dict[str, Any] = json.loads(await process.stdout.readline() or "{}")
            if "bytes" in answer:
                answer["content"] = await process.stdout.readexactly(answer["bytes"])
            return answer
    except TimeoutError:
        raise MediaUndecodable(
            f"{what} takes longer than {time_s:g} s to be drawn.", param=param
        ) from None
    except (BrokenPipeError, ConnectionResetError, asyncio.IncompleteReadError):
        return {}
