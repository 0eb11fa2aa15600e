"""An engine for printed text: pages in, lines out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.chat.printed.detection import lines
from models.chat.printed.recognition import cut, read, upside_down
from models.chat.printed.rectangles import Rectangle
from models.device.graph import session
from models.device.hardware import Device
from models.engine import BatchEngine
from models.operator import Operator
from models.pictures.request import Line, Page, PictureLimits, ReadRequest
from models.pictures.several import decoded
from models.row import Row
from models.work import Ticket, Work

_SAMPLE = 10  # lines that show how a page lies
_TURNS = 2  # a page that stands on its side may be upside down besides
_LEAST_SURE = 0.5  # less is no text


class PrintedText(BatchEngine):
    """PP-OCR: one network finds lines, one tells which are upside down, one reads them.

    Row options: ``detect``, ``flip`` and ``read``, the files of the networks.
    """

    libraries = ("onnxruntime", "PIL")

    @classmethod
    def configured(cls, row: Row, operator: Operator) -> Row:
        """Return the row with the operator's limits on pictures."""
        limits = PictureLimits.configured(operator)
        return replace(row, options={**row.options, "pictures": limits})

    def __init__(self, find: Any, flip: Any, read: Any, row: Row) -> None:
        self._find, self._flip, self._read = find, flip, read
        self._limits: PictureLimits = row.options.get("pictures", PictureLimits())
        known = read.get_modelmeta().custom_metadata_map["character"]
        self._letters = ["", *known.splitlines(), " "]

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> PrintedText:
        """Load the networks, which run on the processor."""
        find, flip, read = (
            session(folder / row.options[name]) for name in ("detect", "flip", "read")
        )
        return cls(find, flip, read, row)

    def prepare(self, request: ReadRequest) -> Work:
        """Decode the pages.

        Raises:
            MediaUndecodable: one cannot be read.
            InvalidValue: they are too large together.
        """
        pages = [page for _, page in decoded(request.pictures, self._limits)]
        return Work(pages, finish=list)

    def run(self, batch: Sequence[Ticket[Any]]) -> Sequence[Page]:
        """Read the pages."""
        return [self._page(ticket.item) for ticket in batch]

    def close(self) -> None:
        """Let go of the networks."""
        del self._find, self._flip, self._read

    def _page(self, given: Any) -> Page:
        page, found, turned = given, lines(self._find, given), 0
        for _ in range(_TURNS):
            turn = self._turn(page, found)
            if not turn:
                break
            page, turned = page.rotate(turn, expand=True), (turned + turn) % 360
            found = lines(self._find, page)
        said = read(self._read, self._letters, [cut(page, box) for box in found])
        told = tuple(
            Line(text, tuple((round(x), round(y)) for x, y in where.corners()), sure)
            for where, (text, sure) in zip(found, said, strict=True)
            if text.strip() and sure >= _LEAST_SURE
        )
        return Page(page.width, page.height, told, turned)

    def _turn(self, page: Any, found: Sequence[Rectangle]) -> int:
        """By how many degrees a page is to be turned, so that most of its lines are upright."""
        if not found:
            return 0
        standing = [box for box in found if box.height > box.width]
        if len(standing) * 2 > len(found):
            return 90
        longest = sorted(found, key=lambda box: -box.width)[:_SAMPLE]
        turned = upside_down(self._flip, [cut(page, box) for box in longest])
        return 180 if turned * 2 > len(longest) else 0
