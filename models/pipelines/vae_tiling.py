"""Decoding in tiles after a run was out of memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from models.device.failures import is_out_of_memory


class VaeTiling:
    """Remembers that a run was out of memory, so that its next try decodes in tiles.

    The next try is the next run of the same thread.

    Args:
        vae: the decoder.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._next: set[int] = set()  # threads

    @property
    def due(self) -> bool:
        """Whether this thread's next run decodes in tiles."""
        return threading.get_ident() in self._next

    @contextmanager
    def run(self, *, alone: bool = True) -> Iterator[None]:
        """Wrap a run; decode in tiles if the last run was out of memory without them.

        Args:
            alone: whether the batch has a single part; larger batches are halved instead.
        """
        tiled, thread = self.due, threading.get_ident()
        self._next.discard(thread)
        try:
            if tiled:
                self._vae.enable_tiling()
            yield
        except Exception as error:
            if alone and not tiled and is_out_of_memory(error):
                self._next.add(thread)
            raise
        finally:
            if tiled:
                self._vae.disable_tiling()
