"""Whether a machine carries what torch or ctranslate2 is built for: its driver, and its GPU.

The driver is judged without importing either: a worker that cannot run should say so in a second,
not after a load. For which GPUs torch has kernels only torch says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

# The least driver of a CUDA version, by NVIDIA's release notes ("CUDA Compatibility"): within 12
# every one since 12.0's does.
_LEAST = {12: (525, 60), 13: (580, 65)}
# Of the wheels, which do not say it. Drivers between the least one and this one compile its kernels
# themselves, or cannot: only a try shows it (models.transcribe.whisper.selftest).
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


def architectures_of_torch() -> list[str]:
    """For which GPUs the installed torch has kernels, as ``sm_90`` and ``compute_90``.

    Empty where it cannot be imported, or does not say.
    """
    try:
        import torch
    except ImportError:
        return []
    return list(torch.cuda.get_arch_list())


def without_kernels(
    architectures: Sequence[str], capability: tuple[int, int] | None, cuda: str | None
) -> str | None:
    """What is wrong with a GPU for a build of torch, and what to do; None where it is fine.

    Machine code runs on GPUs of its own major version with the same minor one or a later one; an
    intermediate form (``compute_``) is compiled by the driver for any later GPU (NVIDIA's CUDA
    Programming Guide, "Binary Compatibility" and "PTX Compatibility").

    Args:
        architectures: as ``architectures_of_torch`` says; none are not judged.
        capability: of the GPU; None is not judged.
        cuda: that torch is built with.
    """
    parsed = [
        re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", architecture) for architecture in architectures
    ]
    known = [(one[1], (int(one[2]), int(one[3]))) for one in parsed if one]
    if capability is None or not known:
        return None
    for kind, built in known:
        same = kind == "compute" or built[0] == capability[0]
        if same and built <= capability:
            return None
    oldest, latest = (edge(built for _, built in known) for edge in (min, max))
    other = "13.0" if capability > latest else "12.6"
    return (
        f"torch for CUDA {cuda} has kernels for compute capability {_dotted(oldest)} to "
        f"{_dotted(latest)}, and this GPU has {_dotted(capability)}: build the image with "
        f"--build-arg CUDA={other}, or choose another GPU for the endpoint"
    )


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
