"""Check whether a machine's driver and GPU support the installed torch and ctranslate2.

The driver is checked without importing either, so that a worker that cannot run fails in a second
and not after a load. Only torch itself knows for which GPUs it has kernels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

# The oldest driver for each major version of CUDA, by NVIDIA's release notes ("CUDA
# Compatibility"). It supports all minor versions of 12.
_LEAST = {12: (525, 60), 13: (580, 65)}
# The CUDA version of ctranslate2's wheels, which do not state it. With a driver between the oldest
# and this version's own, the driver has to compile the kernels. Whether it can shows only in a
# test run (models.transcribe.whisper.selftest).
CUDA_OF_CTRANSLATE2 = "12.8"
_DRIVER_OF_CTRANSLATE2 = 570


def cuda_of_torch() -> str | None:
    """Return the CUDA version of the installed torch, such as ``12.6``; None without either.

    The version is read from torch's ``version.py``.
    """
    spec = find_spec("torch")
    file = Path(spec.origin).parent / "version.py" if spec and spec.origin else None
    if file is None or not file.is_file():
        return None
    match = re.search(r"^cuda\b[^=]*=\s*'(\d+\.\d+)'", file.read_text(), re.MULTILINE)
    return match[1] if match else None


def too_old(cuda: str | None, driver: str) -> str | None:
    """Return why a driver is too old for a build of torch, and the remedy; None if it is not.

    Args:
        cuda: the result of ``cuda_of_torch``; None is not checked.
        driver: a version such as ``570.86.15``; anything else is not checked.
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
    """Whether ctranslate2 may fail with a driver that ``too_old`` accepts."""
    major = driver.partition(".")[0]
    return major.isdigit() and int(major) < _DRIVER_OF_CTRANSLATE2


def architectures_of_torch() -> list[str]:
    """Return the GPU architectures that torch has kernels for, such as ``sm_90``, ``compute_90``.

    The list is empty if torch cannot be imported or has no CUDA.
    """
    try:
        import torch
    except ImportError:
        return []
    return list(torch.cuda.get_arch_list())


def without_kernels(
    architectures: Sequence[str], capability: tuple[int, int] | None, cuda: str | None
) -> str | None:
    """Return why a build of torch has no kernels for a GPU, and the remedy; None if it has.

    Machine code (``sm_``) runs on GPUs of the same major version and the same or a later minor
    version. The driver compiles intermediate code (``compute_``) for any later GPU (NVIDIA's CUDA
    Programming Guide, "Binary Compatibility" and "PTX Compatibility").

    Args:
        architectures: the result of ``architectures_of_torch``; an empty list is not checked.
        capability: the GPU's compute capability; None is not checked.
        cuda: the CUDA version of torch.
    """
    matches = [
        re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", architecture) for architecture in architectures
    ]
    known = [(match[1], (int(match[2]), int(match[3]))) for match in matches if match]
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
