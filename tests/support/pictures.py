"""Pictures for requests, and requests for pictures."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image


def data_uri(width: int = 24, height: int = 16) -> str:
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def by_route(route: str, **body: Any) -> dict[str, Any]:
    return {"input": {"openai_route": route, "openai_input": body}}
