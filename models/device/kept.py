"""Folders for what is compiled, so that the next start finds it."""

from __future__ import annotations

import logging
import re
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from models.device.hardware import Device

log = logging.getLogger(__name__)

_refused: set[Path] = set()  # that the log has named


def kept(folder: Path) -> Path | None:
    """Make a folder that outlives the worker; None, and a line in the log, where it cannot be.

    The driver and the libraries would not say so: they compile anew at each start.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        if folder not in _refused:
            _refused.add(folder)
            log.warning(
                "%s cannot be written (%s): what is compiled is compiled again at each start",
                folder, error.strerror,
            )  # fmt: skip
        return None


def key(device: Device, *packages: str) -> str:
    """A folder's name for what these packages compile for this device.

    As ``vllm-0.32.0-torch-2.13.0-nvidia-h100-80gb-hbm3``: code of another version or for another
    GPU is of no use, or harm.
    """
    parts = [f"{package}-{_version(package)}" for package in packages]
    return re.sub(r"[^a-z0-9.]+", "-", "-".join([*parts, device.name or device.kind]).lower())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
