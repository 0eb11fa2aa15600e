"""Which pages of a document are read: ``[1, 3]``, ``"1-3,7"`` or ``"5-"``; pages count from 1."""

from __future__ import annotations

import re
from collections.abc import Sequence

from models.errors import InvalidValue

_RANGE = re.compile(r"\s*(\d{1,7})\s*(-\s*(\d{1,7})?\s*)?")


def chosen_pages(wanted: str | Sequence[int], count: int) -> list[int]:
    """Return the numbers of the pages to read, each once and in their order.

    Args:
        wanted: the client's choice; empty = all.
        count: of the document's pages.

    Raises:
        InvalidValue: a page is not there.
    """
    if not wanted:
        return list(range(1, count + 1))
    numbers = set[int]()
    for pages in wanted.split(",") if isinstance(wanted, str) else map(str, wanted):
        match = _RANGE.fullmatch(pages)
        if match is None:
            raise InvalidValue(
                "pages must be numbers and ranges of pages, as 1-3,7 or [1, 2, 3, 7].",
                param="pages",
            )
        first = int(match[1])
        last = first if match[2] is None else int(match[3] or count)
        if not 1 <= first <= last <= count:
            raise InvalidValue(
                f"pages: {pages.strip()} is none of the document's pages, which count from 1 to "
                f"{count}.",
                param="pages",
            )
        numbers.update(range(first, last + 1))
    return sorted(numbers)
