"""Run a command with its output in a log, and print one line with its name and duration.

    python scripts/quietly.py LOG WHAT COMMAND ...

On a terminal, a status line shows pip's downloads in megabytes, or else the last line of the
output. If the command fails, the last lines of the output and the path of the log follow.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

_PATIENCE_S = 2.0  # a shorter command shows no status line
_LOOK_S = 0.1
_LAST_LINES = 10
_WIDTH = 100
_DOWNLOADING = re.compile(r"\s*Downloading (\S+)")
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")  # pip's, with --progress-bar raw


class Progress:
    """The progress that a command's output reports."""

    def __init__(self) -> None:
        self.now = ""
        self.last: deque[str] = deque(maxlen=_LAST_LINES)
        self._file = ""

    def read(self, line: str) -> bool:
        """Read a line; return whether it belongs in the log."""
        if match := _PROGRESS.match(line):
            done, total = (int(group) / 1e6 for group in match.groups())
            self.now = f"{self._file}: {done:.0f} of {total:.0f} MB"
            return False
        if match := _DOWNLOADING.match(line):
            self._file = match[1].rpartition("/")[2].split("-")[0]
        if line.strip():
            self.now = line.strip()
            self.last.append(line.rstrip())
        return True


def run(command: list[str], log: Path, progress: Progress, moving: bool, what: str) -> int:
    """Run a command to its end; return its exit status."""
    start = time.monotonic()
    with log.open("a", encoding="utf-8") as kept:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )

        def follow() -> None:
            for line in process.stdout or ():
                if progress.read(line):
                    kept.write(line)

        reader = threading.Thread(target=follow)
        reader.start()
        while process.poll() is None:
            time.sleep(_LOOK_S)
            if moving and (past_s := time.monotonic() - start) > _PATIENCE_S:
                line = f"   {what}, {past_s:.0f} s: {progress.now}"
                print(f"\r\033[K{line[:_WIDTH]}", end="", file=sys.stderr, flush=True)
        reader.join()
    return process.returncode


def main() -> int:
    """Run the command line's command; return its exit status."""
    log, what, *command = sys.argv[1:]
    progress, start, moving = Progress(), time.monotonic(), sys.stderr.isatty()
    status = run(command, Path(log), progress, moving, what)
    clear = "\r\033[K" if moving else ""
    print(f"{clear}== {what}: {time.monotonic() - start:.1f} s", file=sys.stderr)
    if status:
        print("\n".join(f"   {line}" for line in progress.last), file=sys.stderr)
        print(f"   the whole output is in {log}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
