"""Folders in which compiled code outlives the worker."""

from __future__ import annotations

import logging
import re
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from models.device.hardware import Device

log = logging.getLogger(__name__)

_refused: set[Path] = set()  # folders that a warning has been logged for


def kept(folder: Path) -> Path | None:
    """Create a folder for compiled code; if it is not writable, log a warning and return None.

    The driver and the libraries do not warn: they silently compile again at each start.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        if folder not in _refused:
            _refused.add(folder)
            log.warning(
                "%s is not writable (%s): code is compiled again at each start",
                folder, error.strerror,
            )  # fmt: skip
        return None


def key(device: Device, *packages: str) -> str:
    """Return a folder name for code that these packages compile for this device.

    An example is ``vllm-0.32.0-torch-2.13.0-nvidia-h100-80gb-hbm3``. Code of another version, or
    for another GPU, is useless or even harmful.
    """
    parts = [f"{package}-{_version(package)}" for package in packages]
    return re.sub(r"[^a-z0-9.]+", "-", "-".join([*parts, device.name or device.kind]).lower())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
