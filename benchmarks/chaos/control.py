"""The faults inside a process, in a file that the process reads again when it has changed.

The file is JSON. Its entries, which may all be missing:

    clock_s   by how many seconds the process' wall clock is wrong
    memory    ``tight`` (the device has room for one request at a time) or ``none``
    device    the worker that has lost its device, by its id
    names     what happens to names, by the port of the server: ``fail`` or ``late``
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VARIABLE = "CHAOS_CONTROL"  # the environment variable with the file's path


class Control:
    """Reads or writes the faults of one process.

    Args:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version: tuple[int, int] | None = None
        self._entries: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """Return the entries; the file is parsed only if it has changed."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return {}
        version = found.st_ino, found.st_mtime_ns
        if version != self._version:
            self._entries = json.loads(self.path.read_text())
            self._version = version
        return self._entries

    def write(self, **entries: Any) -> None:
        """Change entries; None removes one."""
        changed = {**self.read(), **entries}
        changed = {name: value for name, value in changed.items() if value is not None}
        unfinished = self.path.with_suffix(".partial")
        unfinished.write_text(json.dumps(changed))
        unfinished.replace(self.path)
