"""Draws the pages of a PDF, in the child process that ``models.pictures.pdf`` starts for it.

PDFium is not safe in threads, and a hostile file can crash it or keep it busy for hours.

The process is given a path. It writes a line of JSON, ``{"pages": how many}``, and then reads
tasks, each a line ``{"page": from 1, "dpi", "pixels", "side"}``. For each it writes a line
``{"bytes": length}`` and as many bytes, a PNG. What fails is a line ``{"error": word}``.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

_MEMORY_BYTES = 2 << 30  # of addresses; libraries take a part of them
_POINTS = 72  # an inch


def _limit_memory() -> None:
    import resource

    with contextlib.suppress(ValueError, OSError):  # a system without such limits
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


def _write(to: BinaryIO, message: Mapping[str, Any], content: bytes = b"") -> None:
    to.write(json.dumps(message).encode() + b"\n" + content)
    to.flush()


def opened(path: str) -> Any:
    """Return the document at a path, with its forms filled in as they were saved."""
    import pypdfium2

    document = pypdfium2.PdfDocument(path)
    with contextlib.suppress(pypdfium2.PdfiumError):  # its forms alone are broken
        document.init_forms()
    return document


def drawn(document: Any, task: Mapping[str, Any]) -> bytes:
    """Return the page of a task as a PNG, on white: as sharp as it asks for, within its limits."""
    page = document[task["page"] - 1]
    width, height = page.get_size()
    scale = min(
        task["dpi"] / _POINTS,
        math.sqrt(task["pixels"] / max(width * height, 1e-6)),
        task["side"] / max(width, height, 1e-6),
    )
    # PDFium rounds each side up.
    while math.ceil(width * scale) * math.ceil(height * scale) > task["pixels"]:
        scale *= 0.999
    picture = page.render(scale=scale, fill_color=(255, 255, 255, 255)).to_pil().convert("RGB")
    page.close()
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _main(path: str) -> None:
    import pypdfium2
    from pypdfium2.raw import FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY, FPDF_ERR_SUCCESS

    _limit_memory()
    answers = sys.stdout.buffer
    try:
        document = opened(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code == FPDF_ERR_SUCCESS:  # so PDFium says that there are no pages
            _write(answers, {"pages": 0})
        elif error.err_code in (FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY):
            _write(answers, {"error": "encrypted"})
        else:
            _write(answers, {"error": "broken"})
        return
    _write(answers, {"pages": len(document)})
    for line in sys.stdin.buffer:
        try:
            content = drawn(document, json.loads(line))
        except (pypdfium2.PdfiumError, MemoryError, ValueError):
            _write(answers, {"error": "broken"})
        else:
            _write(answers, {"bytes": len(content)}, content)


if __name__ == "__main__":
    _main(sys.argv[1])
