"""``python -m handler``: start the worker, or run one job, as ``handler.command`` says."""

from __future__ import annotations

import sys

from handler.ending import end_at_sigterm


def main() -> int:
    """Run; returns the exit status."""
    end_at_sigterm()  # before the imports, which take a part of the start
    from models.device.memory import collect_rarely

    collect_rarely()
    from handler.command import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
