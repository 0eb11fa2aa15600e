"""LoRA adapters by name: those that the operator allows, brought here once.

A request names one as

    owner/name[@revision][#file.safetensors]     of the Hugging Face Hub
    https://…                                    fetched through the media guard
    file:///…                                    on this machine, such as the network volume

and the operator's list has patterns of these (``handler.media.allowed``).
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakValueDictionary

from handler.media.allowed import Allowed
from handler.media.files import MediaDoor
from models.errors import InvalidValue, UnsupportedParameter, WeightsUnavailable, shorten
from models.row import Row
from models.weights.store import WeightsStore

LORA_LIMIT_BYTES, CONFIG_LIMIT_BYTES = 2_000_000_000, 1_000_000
FOLDER_FILES = ("adapter_config.json", "adapter_model.safetensors")  # of peft's form
_IN_USE_S = 3600.0  # an engine may read a folder again while a request that names it waits
_HUB = re.compile(
    r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w.-]*))?(#(?P<file>\w[\w.-]*\.safetensors))?"
)


@dataclass(frozen=True)
class LoraShelf:
    """Finds adapters, and fetches what is missing.

    Attributes:
        allowed: what a request may name.
        store: fetches from the hub.
        folder: where files from URLs are kept.
        kept_files: how many of them.
    """

    allowed: Allowed
    store: WeightsStore
    folder: Path
    kept_files: int = 16
    # A download takes minutes; the event loop's own threads are for what is short.
    _threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(4, "loras"), compare=False, repr=False
    )
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(
        default_factory=WeakValueDictionary, compare=False, repr=False
    )
    _used: dict[str, float] = field(default_factory=dict, compare=False, repr=False)  # monotonic

    async def fetch(self, name: str, param: str, door: MediaDoor) -> Path:
        """The safetensors file of an adapter.

        Args:
            name: as the request has it.
            param: the request's field, for errors.
            door: the job's, for URLs.

        Raises:
            UnsupportedParameter: the operator allows none, or not this one.
            InvalidValue: it is nowhere.
            MediaError: its host does not give it.
        """
        self.check(name, param)
        if name.startswith("file://"):
            return self._local(name, param)
        if "://" in name:
            return await self._downloaded(name, param, door)
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._of_hub, name, param
        )

    def check(self, name: str, param: str) -> None:
        """Check that the operator allows an adapter.

        Raises:
            UnsupportedParameter: the operator allows none, or not this one.
        """
        if not self.allowed:
            raise UnsupportedParameter(
                f"{param}: this endpoint allows no adapters; the operator lists them in "
                "LORA_ALLOW.",
                param=param,
                code="lora_not_allowed",
            )
        if name not in self.allowed:
            raise _not_allowed(param, repr(shorten(name)))

    def _local(self, name: str, param: str) -> Path:
        path = _local_path(name, param)
        if not path.is_file():
            raise _missing(param, "it is not on this machine")
        return path

    async def fetch_folder(self, name: str, param: str, door: MediaDoor) -> Path:
        """The folder of an adapter in peft's form: its configuration and its safetensors file.

        Args and raises as ``fetch``. A URL is that of the safetensors file, or of its folder.
        """
        self.check(name, param)
        if name.startswith("file://"):
            folder = _local_path(name, param)
            return _with_files(folder if folder.is_dir() else folder.parent, param)
        if "://" in name:
            return await self._downloaded_folder(name, param, door)
        resolved = asyncio.get_running_loop().run_in_executor(
            self._threads, self._resolved, name, param, FOLDER_FILES
        )
        return _with_files(await resolved, param)

    def _turn(self, name: str) -> asyncio.Lock:
        """The turn of those who want the same file; it is forgotten when nobody does any more."""
        return self._turns.setdefault(name, asyncio.Lock())

    async def _downloaded_folder(self, url: str, param: str, door: MediaDoor) -> Path:
        folder = self.folder / sha256(url.encode()).hexdigest()
        async with self._turn(folder.name):
            if folder.is_dir():
                os.utime(folder)
                self._used[folder.name] = time.monotonic()
                return folder
            fetched = [
                await door.fetch(address, param, limit_bytes, partial(self._hop, param))
                for address, limit_bytes in zip(
                    _addresses(url), (CONFIG_LIMIT_BYTES, LORA_LIMIT_BYTES), strict=True
                )
            ]
            await asyncio.to_thread(self._keep_folder, fetched, folder)
        return folder

    def _keep_folder(self, fetched: Sequence[Path], folder: Path) -> None:
        """Put a folder on the shelf, and old ones off it that no request can use any more."""
        unfinished = folder.with_suffix(".partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for path, name in zip(fetched, FOLDER_FILES, strict=True):
            shutil.move(path, unfinished / name)
        unfinished.rename(folder)
        self._used[folder.name] = time.monotonic()
        folders = (
            folder for folder in self.folder.iterdir() if folder.is_dir() and not folder.suffix
        )
        kept = sorted(folders, key=lambda folder: folder.stat().st_mtime)
        for old in kept[: -self.kept_files]:
            here_s = time.monotonic() - self._used.get(old.name, -_IN_USE_S)
            # A file's time is that of other workers' use, and wrong after a jump of the clock.
            if min(here_s, time.time() - old.stat().st_mtime) > _IN_USE_S:
                shutil.rmtree(old, ignore_errors=True)
                self._used.pop(old.name, None)

    async def _downloaded(self, url: str, param: str, door: MediaDoor) -> Path:
        path = self.folder / f"{sha256(url.encode()).hexdigest()}.safetensors"
        async with self._turn(path.name):
            if path.exists():
                path.touch()
                return path
            fetched = await door.fetch(url, param, LORA_LIMIT_BYTES, partial(self._hop, param))
            await asyncio.to_thread(self._keep, fetched, path)
        return path

    def _hop(self, param: str, url: str) -> None:
        """Check an address that the host redirects to."""
        if url not in self.allowed:
            raise _not_allowed(param, "the address that it redirects to")

    def _keep(self, fetched: Path, path: Path) -> None:
        """Put a file on the shelf, and the oldest off it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".partial")
        shutil.move(fetched, unfinished)
        unfinished.rename(path)
        kept = sorted(self.folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
        for old in kept[: -self.kept_files]:
            old.unlink(missing_ok=True)

    def _of_hub(self, name: str, param: str) -> Path:
        folder = self._resolved(name, param)
        pattern = (_HUB.fullmatch(name) or {"file": None})["file"] or "*.safetensors"
        files = sorted(folder.glob(pattern))
        if len(files) != 1:
            names = ", ".join(file.name for file in files) or "no such file"
            raise _missing(param, f"it is one file, named as owner/name#file; there: {names}")
        return files[0]

    def _resolved(self, name: str, param: str, files: tuple[str, ...] = ("*.safetensors",)) -> Path:
        """The folder with a repository's files, fetched where they are not here."""
        match = _HUB.fullmatch(name)
        if match is None:
            raise InvalidValue(
                f"{param} must be a repository of the hub (owner/name, with @revision and "
                "#file.safetensors where needed), or an https URL.",
                param=param,
            )
        try:
            return self.store.resolve(_row(match, files))
        except WeightsUnavailable:
            raise _missing(param, "the hub does not give it") from None


def _local_path(name: str, param: str) -> Path:
    path = Path(name.removeprefix("file://"))
    # As it is written: one that climbs out of its folder could be any.
    if not path.is_absolute() or path != path.resolve() or not path.exists():
        raise _missing(param, "it is not on this machine")
    return path


def _addresses(url: str) -> tuple[str, str]:
    """The addresses of an adapter's configuration and its weights."""
    config, weights = FOLDER_FILES
    parts = urlsplit(url)
    folder, _, last = parts.path.rpartition("/")
    if not last.endswith(".safetensors"):
        folder, last = parts.path.rstrip("/"), weights
    return tuple(  # type: ignore[return-value]
        urlunsplit(parts._replace(path=f"{folder}/{name}")) for name in (config, last)
    )


def _with_files(folder: Path, param: str) -> Path:
    """The folder, if it has what an adapter in peft's form is made of."""
    for name in FOLDER_FILES:
        if not (folder / name).is_file():
            raise _missing(param, f"it has no {name}")
    return folder


def _row(match: re.Match[str], files: tuple[str, ...]) -> Row:
    """An adapter as the store knows what it fetches."""
    return Row(
        slug=match["repo"],
        surface="images",
        tasks=frozenset(),
        weights=f"hf://{match['repo']}@{match['revision'] or 'main'}",
        engine="",
        memory_bytes=0,
        licence="",
        files=files,
    )


def _not_allowed(param: str, what: str) -> UnsupportedParameter:
    return UnsupportedParameter(
        f"{param}: {what} is none of the adapters that this endpoint allows (LORA_ALLOW).",
        param=param,
        code="lora_not_allowed",
    )


def _missing(param: str, reason: str) -> InvalidValue:
    return InvalidValue(f"{param} cannot be had: {reason}.", param=param, code="lora_unavailable")
