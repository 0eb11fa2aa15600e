"""Log how a download gets on."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from models.row import Row
from models.weights.places import size_of

log = logging.getLogger(__name__)

_HEARTBEAT_S = 10.0


@contextmanager
def heartbeat(row: Row, folder: Path) -> Iterator[None]:
    """Log the size on disk every ten seconds: progress bars are no use in a worker's log."""
    done, start = threading.Event(), time.monotonic()

    def beat() -> None:
        while not done.wait(_HEARTBEAT_S):
            with suppress(OSError):  # a file may be renamed meanwhile
                size = size_of(folder)
                after_s = time.monotonic() - start
                log.info("%s: %.1f GB on disk after %.0f s", row.slug, size / 1e9, after_s)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
