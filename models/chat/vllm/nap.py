"""vLLM's sleep: the weights in RAM, and the GPU's memory given back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.chat.vllm.running import Alive
from models.device.hardware import available_bytes
from models.row import Row

_LEFT_BYTES = 4 * 10**9  # for all else, beside the weights of a model that sleeps


class Nap:
    """The sleep of one model.

    Args:
        engine: vLLM's client, which was started for it (``enable_sleep_mode``) if the row's
            options have ``sleeps``.
        row: the model.
        free_bytes: says how much of the RAM is free.
    """

    def __init__(
        self, engine: Any, row: Row, free_bytes: Callable[[], int] = available_bytes
    ) -> None:
        self._engine = engine
        self._free_bytes = free_bytes
        self._may = bool(row.options.get("sleeps"))
        self._needs_bytes = (row.weights_bytes or row.memory_bytes) + _LEFT_BYTES

    def begin(self) -> bool:
        """Move the weights to RAM; return whether there is room for them."""
        if not self._may or self._free_bytes() < self._needs_bytes:
            return False
        with Alive():
            self._engine.reset_prefix_cache()  # what it holds does not come back
            self._engine.sleep(level=1)
        return True

    def end(self) -> None:
        """Move the weights back to the GPU."""
        with Alive():
            self._engine.wake_up()
