"""Targets that are files: pictures, recordings, documents."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.fuzz.scratch import scratch
from models.errors import QuartetError
from models.pictures.decoding import decode as decode_picture
from models.pictures.decoding import mask_of
from models.pictures.pdf_process import drawn, opened
from models.transcribe.audio.decoder_process import Decoder
from models.transcribe.audio.decoding import Undecodable, decode
from models.transcribe.audio.rate import RATE_HZ

Feed = Callable[[bytes], None]
_PAGES, _PAGE_PIXELS = 3, 100_000
_LONGEST_S = 60
_AGAIN_S = 1.0


def picture(content: bytes) -> None:
    """Decode a picture in each of its uses."""
    for use in (lambda: decode_picture(content, alpha=True), lambda: mask_of(content, (8, 8))):
        with suppress(QuartetError):
            use()


@contextmanager
def audio() -> Iterator[Feed]:
    """Lend the decoder that runs in the child process of a recording, in this process.

    A start of the process for each input would take nearly all of the time. A file that no part of
    FFmpeg can read ends the child with FFmpeg's error, and is told as undecodable.
    """
    import av

    with scratch("sound") as written:

        def feed(content: bytes) -> None:
            path = written(content)
            with tempfile.TemporaryFile() as spool, suppress(av.error.FFmpegError):
                decoder = Decoder(spool, _LONGEST_S * RATE_HZ, amplify=True, again_s=_AGAIN_S)
                report = decoder.run(str(path))
                assert report.get("error") or spool.tell() <= 2 * _LONGEST_S * RATE_HZ

        yield feed


@contextmanager
def recording() -> Iterator[Feed]:
    """Lend the decoder of recordings with its child process."""
    with scratch("sound") as written:

        def feed(content: bytes) -> None:
            with suppress(Undecodable):
                asyncio.run(decode(written(content), 20, 3600))

        yield feed


@contextmanager
def pdf() -> Iterator[Feed]:
    """Lend what the child process of a PDF does, in this process: open it, and draw its pages."""
    import pypdfium2

    task = {"dpi": 40, "pixels": _PAGE_PIXELS, "side": 1000}
    with scratch("document.pdf") as written:

        def feed(content: bytes) -> None:
            with suppress(pypdfium2.PdfiumError):
                _draw(opened(str(written(content))), task)

        yield feed


def _draw(document: Any, task: dict[str, Any]) -> None:
    with suppress(ValueError):  # as in the child process
        for page in range(1, min(len(document), _PAGES) + 1):
            drawn(document, {**task, "page": page})
    document.close()
