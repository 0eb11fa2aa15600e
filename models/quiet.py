"""Silence the log messages of libraries in the worker's log."""

from __future__ import annotations

import sys
from importlib import import_module


def hush(*libraries: str) -> None:
    """Silence the warnings of ``transformers`` or ``diffusers``, and without a terminal their bars.

    Both libraries have the same logging module. Their warnings, such as "torchvision is not
    installed", are meant for authors of scripts, and a progress bar in a log file has a thousand
    lines.
    """
    for library in libraries:
        logging = import_module(f"{library}.utils.logging")
        logging.set_verbosity_error()
        if not sys.stderr.isatty():
            logging.disable_progress_bar()
