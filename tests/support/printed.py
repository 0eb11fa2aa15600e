"""A page of printed text."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont


def drawn(
    texts: list[str], width: int = 1240, ink: str = "black", paper: str = "white"
) -> Image.Image:
    page = Image.new("RGB", (width, 90 + 41 * len(texts)), paper)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(24)
    for at, text in enumerate(texts):
        draw.text((80, 40 + 41 * at), text, font=font, fill=ink)
    return page
