"""An answer without its ids and times, and the comparison of two answers."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from typing import Any

_VOLATILE = frozenset(
    {"id", "created", "created_at", "completed_at", "system_fingerprint", "prompt_tokens_details"}
)
_TOLERANCE = 2e-3  # a text in a larger run may differ in the last digits
_CELLS = 6
_STRETCHES = 8
_WAV_HEADER_BYTES = 44


def normal(output: Any) -> Any:
    """Return an answer without what differs from run to run; a file in it as ``content_of``."""
    if isinstance(output, dict):
        return {
            name: content_of(base64.b64decode(value)) if name == "b64_json" else normal(value)
            for name, value in output.items()
            if name not in _VOLATILE
        }
    if isinstance(output, list):
        return [normal(value) for value in output]
    return output


def content_of(file: bytes) -> Any:
    """Return what stands for a file: neither rounding nor a time changes it."""
    from PIL import Image

    if file.startswith(b"RIFF"):
        return [len(file), *_loudness(file)]
    if file.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(file)) as picture:
            small = picture.convert("RGB").resize((_CELLS, _CELLS), Image.Resampling.BOX)
            return [picture.width, picture.height, *(value / 255 for value in small.tobytes())]
    return f"file {hashlib.sha256(file).hexdigest()}"


def _loudness(file: bytes) -> list[float]:
    """Return the root mean square of each stretch of a WAV's 16-bit samples, of full scale."""
    import numpy as np

    samples = np.frombuffer(file[_WAV_HEADER_BYTES:], "<i2").astype(np.float64) / 32768
    return [float(np.sqrt(np.mean(part**2))) for part in np.array_split(samples, _STRETCHES)]


def same(left: Any, right: Any) -> bool:
    """Whether two answers agree; numbers may differ by rounding."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) or isinstance(right, float):
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        return numbers and math.isclose(left, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(left == right)


def text_of(output: Any) -> str | None:
    """Return the text of a chat's answer, None of another."""
    try:
        return str(output["choices"][0]["message"]["content"])
    except (KeyError, IndexError, TypeError):
        return None
