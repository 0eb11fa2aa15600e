"""A second try in less memory: what was decoded whole is decoded in tiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from models.device.failures import is_out_of_memory


class VaeTiling:
    """Remembers that a run was out of memory, for it is begun again.

    Args:
        vae: the decoder, which can work in tiles.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._next = False

    @contextmanager
    def run(self, *, alone: bool = True) -> Iterator[None]:
        """Around a run: in tiles, where the last one was out of memory without them.

        Args:
            alone: whether what runs cannot be halved instead.
        """
        tiled, self._next = self._next, False
        try:
            if tiled:
                self._vae.enable_tiling()
            yield
        except Exception as error:
            self._next = alone and not tiled and is_out_of_memory(error)
            raise
        finally:
            if tiled:
                self._vae.disable_tiling()
