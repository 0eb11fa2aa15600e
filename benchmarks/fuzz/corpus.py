"""The seeds, and where a broken input is kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

CORPUS = Path(__file__).parents[2] / "tests/corpus"


def seeds(target: str) -> list[bytes]:
    """Return the inputs of a target, in the order of their names."""
    return [file.read_bytes() for file in sorted((CORPUS / target).iterdir()) if file.is_file()]


def keep(target: str, content: bytes) -> Path:
    """Write an input that broke something into the corpus, to be kept with its mending."""
    path = CORPUS / target / f"broken-{hashlib.sha256(content).hexdigest()[:12]}"
    path.write_bytes(content)
    return path
