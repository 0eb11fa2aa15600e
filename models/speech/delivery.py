"""Whether an answer holds a sound, before it is made."""

from __future__ import annotations

from models.errors import InvalidValue
from models.sound.formats import FORMATS
from models.speech.request import SpeakRequest

_BASE64 = 4 / 3
_ENVELOPE_BYTES = 2000  # of an answer around the sound


def check_size(request: SpeakRequest, rate_hz: int, seconds: float) -> None:
    """Check, before it is spoken, that an answer holds the sound.

    Raises:
        InvalidValue: it would be too large.
    """
    output = request.output
    if output.limit_bytes is None:
        return
    per_second = FORMATS[output.format].bits_at(rate_hz) / 8 * (_BASE64 if output.as_base64 else 1)
    if seconds * per_second + _ENVELOPE_BYTES <= output.limit_bytes:
        return
    raise InvalidValue(
        f"The sound would be some {seconds:.0f} s, as {output.format} of {rate_hz} Hz "
        f"{seconds * per_second / 1e6:.1f} MB, and an answer holds {output.limit_bytes / 1e6:.1f}; "
        "send less text, ask for opus or mp3, or configure a bucket.",
        param="input",
        code="output_too_large",
    )
