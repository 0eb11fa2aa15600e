"""Pictures for a model that sees."""

from __future__ import annotations

import base64
import io

from PIL import Image

SLUG = "Tiny_Qwen_VL"


def picture(width: int = 56, height: int = 56, colour: str = "red") -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


RED, BLUE, WIDE = picture(), picture(colour="blue"), picture(112, 56)


def uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
