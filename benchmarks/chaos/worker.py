"""``python -m benchmarks.chaos.worker``: the worker, with faults inside as ``CHAOS_CONTROL`` says.

It is ``python -m handler`` otherwise: the worker itself knows nothing of faults.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from handler.__main__ import main as run
from handler.ending import end_at_sigterm


def main() -> int:
    """Run; returns the exit status."""
    end_at_sigterm()
    from benchmarks.chaos.clock import shift
    from benchmarks.chaos.control import VARIABLE, Control
    from benchmarks.chaos.device import Device
    from benchmarks.chaos.names import resolve

    control = Control(Path(os.environ[VARIABLE]))
    shift(control)
    resolve(control)
    Device(control, os.environ.get("RUNPOD_POD_ID", "")).install()
    return run()


if __name__ == "__main__":
    sys.exit(main())
