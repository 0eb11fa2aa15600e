"""Decoding in tiles after a run was out of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from models.pipelines.second_try import SecondTry


class VaeTiling:
    """Lets the second try of a run that was out of memory decode in tiles.

    Args:
        vae: the decoder.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._tries = SecondTry()

    @property
    def due(self) -> bool:
        """Whether this thread's next run decodes in tiles."""
        return self._tries.due

    @contextmanager
    def run(self, *, alone: bool = True) -> Iterator[None]:
        """Wrap a run; decode in tiles if the last run was out of memory without them.

        Args:
            alone: whether the batch has a single part; larger batches are halved instead.
        """
        with self._tries.run(may_repeat=alone) as tiled:
            try:
                if tiled:
                    self._vae.enable_tiling()
                yield
            finally:
                if tiled:
                    self._vae.disable_tiling()
