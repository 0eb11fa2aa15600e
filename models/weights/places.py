"""The folders on this machine that hold weights."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ObjectStore:
    """A store of S3's protocol, and the keys to it.

    Attributes:
        url: its address, without a bucket.
        region: that is signed for.
        style: how an address names the bucket: ``path`` or ``virtual``.
    """

    url: str
    region: str
    style: str
    key_id: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Places:
    """The folders that may hold weights, and access to the hub and to a store.

    Attributes:
        hub_caches: folders in the hub's own layout (``models--org--name/snapshots/…``).
        baked: the folder that ``python -m builder fetch`` fills at image build.
        volume: the folder on the network volume, None without one.
        cache: this machine's cache folder.
        token: the hub's access token, for gated repositories.
        endpoint: the address of a mirror of the hub, None for the hub itself.
        store: for ``s3://`` addresses, None without one.
    """

    hub_caches: tuple[Path, ...]
    baked: Path
    volume: Path | None
    cache: Path
    token: str | None = None
    endpoint: str | None = None
    store: ObjectStore | None = None

    def kind(self, path: Path) -> str:
        """Return a phrase that says which of these places holds a path."""
        named = [(root, "in a hub cache") for root in self.hub_caches]
        named += [(self.baked, "baked into the image"), (self.cache, "in this machine's cache")]
        named += [(self.volume, "on the volume")] if self.volume else []
        held = (name for root, name in named if path.is_relative_to(root))
        return next(held, "where its address says")

    @property
    def shelf(self) -> Path:
        """The folder for downloads and compiled code: the volume if writable, or the cache."""
        if self.volume is None:
            return self.cache
        try:
            self.volume.mkdir(parents=True, exist_ok=True)
        except OSError:
            return self.cache
        return self.volume if os.access(self.volume, os.W_OK) else self.cache


def size_of(place: Path) -> int:
    """Return the bytes of a file, or of all files in a folder; 0 where there is nothing."""
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
