"""The next try of a run that was out of memory, which needs less."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from models.device.failures import is_out_of_memory


class SecondTry:
    """Remembers which threads' last runs were out of memory; their next runs are second tries."""

    def __init__(self) -> None:
        self._threads: set[int] = set()

    @property
    def due(self) -> bool:
        """Whether this thread's next run is a second try."""
        return threading.get_ident() in self._threads

    @contextmanager
    def run(self, *, may_repeat: bool = True) -> Iterator[bool]:
        """Wrap a run; yields whether it is a second try.

        Args:
            may_repeat: whether the run is tried again as it is, if it is out of memory.
        """
        thread, second = threading.get_ident(), self.due
        self._threads.discard(thread)
        try:
            yield second
        except Exception as error:
            if may_repeat and not second and is_out_of_memory(error):
                self._threads.add(thread)
            raise
