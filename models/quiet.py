"""Keep libraries from talking over the worker's logs."""

from __future__ import annotations

import sys
from importlib import import_module


def hush(*libraries: str) -> None:
    """Silence the advice of ``transformers`` or ``diffusers``, and off a terminal their bars.

    Both have the same logging module: warnings such as "torchvision is not installed" are meant for
    somebody who writes a script, and a bar in a log file is a thousand lines.
    """
    for library in libraries:
        logging = import_module(f"{library}.utils.logging")
        logging.set_verbosity_error()
        if not sys.stderr.isatty():
            logging.disable_progress_bar()
