"""The outcome of a request, for the metrics."""

from __future__ import annotations


class Outcome:
    """``ok`` or an error code; ``cancelled`` until something else is said."""

    code = "cancelled"
