"""A drawn picture."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw


def drawing(width: int = 200, height: int = 150) -> Image.Image:
    """A tree on a meadow, with edges, colours and writing."""
    picture = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(picture)
    for y in range(height):
        draw.line((0, y, width, y), fill=(90 + y // 2, 150, max(0, 200 - y)))
    draw.ellipse((0.3 * width, 0.2 * height, 0.7 * width, 0.8 * height), fill=(200, 50, 40))
    draw.rectangle((0.45 * width, 0.65 * height, 0.55 * width, height - 2), fill=(60, 40, 20))
    draw.text((5, 5), "Quartet", fill=(0, 0, 0))
    return picture


def encoded(picture: Image.Image, format_: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_)
    return buffer.getvalue()


def photo(width: int = 160, height: int = 120, seed: int = 1) -> Image.Image:
    """Clouds of colour, coarse and fine."""
    chance = np.random.default_rng(seed)
    sums = np.zeros((height, width, 3))
    for side in (3, 7, 20, 60):
        noise = Image.fromarray(chance.integers(0, 256, (side, side, 3), np.uint8))
        sums += np.asarray(noise.resize((width, height)), float) / side**0.5
    return Image.fromarray((sums / sums.max() * 255).astype(np.uint8))
