"""One model, adapter or conversion is loaded at a time in a process.

The libraries change the whole process while they load. accelerate and peft replace
``nn.Module.register_parameter``; of two loads at once, one gets tensors without data, and the
replacement may stay for good (huggingface/diffusers#4296, huggingface/peft#3605). transformers
keeps what it skips in its modules (huggingface/transformers#44940). And two threads that import
modules which need each other get one of them half imported.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOADING = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """Wait until no other thread loads, and let none load in the block."""
    with _LOADING:
        yield
