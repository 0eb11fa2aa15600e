"""Whether an NVIDIA driver carries the CUDA that torch or ctranslate2 is built with.

Seen without importing either: a worker that cannot run should say so in a second, not after a load.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

# The least driver of a CUDA version, by NVIDIA's release notes ("CUDA Compatibility"): within 12
# every one since 12.0's does.
_LEAST = {12: (525, 60), 13: (580, 65)}
# Of the wheels, which do not say it. Drivers between the least one and this one compile its kernels
# themselves, or cannot: only a try shows it (models.transcribe.selftest).
CUDA_OF_CTRANSLATE2 = "12.8"
_DRIVER_OF_CTRANSLATE2 = 570


def cuda_of_torch() -> str | None:
    """The CUDA that the installed torch is built with, as ``12.6``; None without, or without torch.

    Read from its ``version.py``.
    """
    spec = find_spec("torch")
    file = Path(spec.origin).parent / "version.py" if spec and spec.origin else None
    if file is None or not file.is_file():
        return None
    match = re.search(r"^cuda\b[^=]*=\s*'(\d+\.\d+)'", file.read_text(), re.MULTILINE)
    return match[1] if match else None


def too_old(cuda: str | None, driver: str) -> str | None:
    """What is wrong with a driver for a build of torch, and what to do; None where it is fine.

    Args:
        cuda: as ``cuda_of_torch`` says; None is not judged.
        driver: as ``570.86.15``; anything else is not judged.
    """
    match = re.match(r"(\d+)\.(\d+)", driver)
    least = _LEAST.get(int(cuda.partition(".")[0])) if cuda else None
    if match is None or least is None or (int(match[1]), int(match[2])) >= least:
        return None
    return (
        f"driver {driver} is too old for CUDA {cuda}, which needs {least[0]}.{least[1]} or later: "
        f"let the endpoint use hosts with CUDA {cuda} or later only (allowedCudaVersions)"
        + (", or build the image with --build-arg CUDA=12.6" if least > _LEAST[12] else "")
    )


def is_doubtful(driver: str) -> bool:
    """Whether ctranslate2 may fail with a driver that ``too_old`` lets pass."""
    major = driver.partition(".")[0]
    return major.isdigit() and int(major) < _DRIVER_OF_CTRANSLATE2
