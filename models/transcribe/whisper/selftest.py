"""Check that ctranslate2 runs on this machine's GPU: transcribe a known clip before the first job.

With a driver that is older than ctranslate2's CUDA version, transcription fails, or silently
returns no words (CTranslate2's issue 1978). The kernels that this compiles are kept for the next
start.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.device.hardware import driver_version
from models.errors import DriverTooOld
from models.row import Row

CLIP = Path(__file__).parent / "clip.ogg"  # a sentence read for LibriVox, in the public domain
_NEEDED = "570, of CUDA 12.8,"
_ABOUT_DRIVERS = (
    "driver version is insufficient",
    "unsupported toolchain",
    "unsupported ptx",
    "no kernel image",
)


def checked(make: Callable[[], Any], row: Row) -> Any:
    """Make the model, transcribe the clip, and return the model.

    Raises:
        DriverTooOld: the transcription fails because of the driver.
    """
    try:
        model = make()
        segments, _ = model.transcribe(
            str(CLIP), language="en", beam_size=1, temperature=0.0, without_timestamps=True
        )
        text = "".join(segment.text for segment in segments)
    except RuntimeError as error:
        if any(words in str(error).lower() for words in _ABOUT_DRIVERS):
            raise _too_old(row, str(error)) from error
        raise
    if not text.strip():
        raise _too_old(row, "it hears nothing in a known clip")
    return model


def _too_old(row: Row, reason: str) -> DriverTooOld:
    return DriverTooOld(
        f"{row.slug} does not run on this GPU with driver {driver_version()} ({reason}). "
        f"ctranslate2 needs driver {_NEEDED} or later: let the endpoint use hosts with CUDA 12.8 "
        "or later only."
    )
