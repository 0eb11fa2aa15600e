"""A page of printed text, for the example that reads one."""

from __future__ import annotations

import io

TEXT = (
    "Harbour Cafe, 14 Quay Street",
    "Invoice 2026-0117",
    "2 pots of tea at 3.40: 6.80 EUR",
    "1 slice of lemon cake: 4.25 EUR",
    "Total: 11.05 EUR, paid in cash.",
    "Thank you, and come again!",
)
# Pillow's own font, which is everywhere, has no letters with accents.
_MARGIN, _LINE = 60, 48  # pixels


def drawn(lines: tuple[str, ...] = TEXT) -> bytes:
    """Return a page with these lines, as a PNG."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("L", (720, 2 * _MARGIN + _LINE * len(lines)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(28)
    for at, line in enumerate(lines):
        pen.text((_MARGIN, _MARGIN + _LINE * at), line, font=font, fill="black")
    file = io.BytesIO()
    page.save(file, "PNG", optimize=True)
    return file.getvalue()
