"""Classify the errors of engines' libraries, and translate them into errors for clients."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from models.errors import DeviceLost, EngineFailed, OutOfMemory, QuartetError

log = logging.getLogger(__name__)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Failure:
    """The exception of a call."""

    error: BaseException


def attempt(call: Callable[[], Value]) -> Value | Failure:
    """Call into an engine, and return a ``Failure`` if it raises.

    This is the boundary to the engines' libraries, which may raise anything: a panic in a Rust
    library is not an ``Exception``, only a ``BaseException``.
    """
    try:
        return call()
    except BaseException as error:
        # The frames of an out-of-memory error refer to the tensors that filled the memory.
        return Failure(error.with_traceback(None) if is_out_of_memory(error) else error)


def translate(error: BaseException) -> QuartetError:
    """Return a foreign error as a ``QuartetError``; the original is logged, not answered."""
    if isinstance(error, QuartetError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(
            "The device ran out of memory for this request. Send a smaller one "
            "(fewer or shorter inputs, a smaller size, a smaller n)."
        )
    log.error("engine failure", exc_info=error)
    if is_device_lost(error):
        return DeviceLost("The GPU failed on this request; the worker restarts. Send it again.")
    return EngineFailed("The model failed on this request. The worker's log has the details.")


def is_device_lost(error: BaseException) -> bool:
    """Recognise errors of torch, Triton and ctranslate2 after which the device is unusable."""
    if isinstance(error, DeviceLost):
        return True
    if isinstance(error, QuartetError) or is_out_of_memory(error):
        return False
    words = str(error)
    if any(harmless in words for harmless in _HARMLESS):
        return False
    return any(lost in words for lost in _LOST)


# Errors of torch, the driver's API, Triton, and ctranslate2. After most CUDA errors every later
# call in the process fails too. A GPU that has disappeared does not come back.
_LOST = (
    "CUDA error", "CUDA driver error", "Triton Error [CUDA]", "CUDA failed with error",
    "cuBLAS failed with status", "CUDNN_STATUS_EXECUTION_FAILED", "CUDNN_STATUS_MAPPING_ERROR",
    "No CUDA GPUs are available", "cudaGetDeviceCount",
)  # fmt: skip

# CUDA and its libraries reject these calls before they start, and the context stays intact.
_HARMLESS = (
    "STATUS_NOT_SUPPORTED", "STATUS_INVALID_VALUE", "STATUS_BAD_PARAM",
    "CUDA error: invalid argument", "CUDA error: invalid configuration argument",
    "CUDA error: operation not supported", "CUDA error: too many resources requested for launch",
    "Triton Error [CUDA]: invalid argument", "Triton Error [CUDA]: operation not supported",
)  # fmt: skip

# In order: torch on a GPU and ctranslate2; CUDA's libraries; torch on a CPU; onnxruntime; C++.
_OUT_OF_MEMORY = (
    "out of memory", "_status_alloc_failed", "device_allocation_failed", "can't allocate memory",
    "failed to allocate memory", "std::bad_alloc",
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Recognise torch's, ctranslate2's, onnxruntime's and Python's out-of-memory errors."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, QuartetError):  # translated already; the text is not a library's
        return False
    return any(words in str(error).lower() for words in _OUT_OF_MEMORY)
