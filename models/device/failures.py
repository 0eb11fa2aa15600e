"""Errors of the engines' libraries: told apart, and given names that may leave the worker."""

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
    """What a call raised."""

    error: BaseException


def attempt(call: Callable[[], Value]) -> Value | Failure:
    """Call into an engine; what it raises comes back.

    This is the boundary to the engines' libraries. They raise what they like: a panic in a Rust
    library is no ``Exception``, only a ``BaseException``.
    """
    try:
        return call()
    except BaseException as error:
        # The frames of a call that is out of memory hold the tensors that filled it.
        return Failure(error.with_traceback(None) if is_out_of_memory(error) else error)


def translate(error: BaseException) -> QuartetError:
    """Give a foreign error its name; the original stays in the log, not in the answer."""
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
    """Recognise the words of torch and ctranslate2 for CUDA errors that stay."""
    said = str(error)
    return any(one in said for one in _LOST) and not is_out_of_memory(error)


_LOST = ("CUDA error", "CUDA failed with error", "cuBLAS failed with status")


# torch on a GPU and ctranslate2; torch on a CPU; onnxruntime; C++ underneath any of them.
_OUT_OF_MEMORY = (
    "out of memory", "can't allocate memory", "failed to allocate memory", "std::bad_alloc"
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Recognise torch's, ctranslate2's, onnxruntime's and Python's out-of-memory errors."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, QuartetError):  # ours have been named, and repeat no library's words
        return False
    return any(words in str(error).lower() for words in _OUT_OF_MEMORY)
