"""The folders of this machine that hold weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Where weights may lie on this machine.

    Attributes:
        hub_caches: folders in the hub's own layout (``models--org--name/snapshots/…``).
        baked: folder filled by ``python -m builder fetch`` at image build.
        volume: folder on the network volume, None without one.
        cache: folder of this machine.
        token: the hub's access token, for gated repositories.
        endpoint: another address of the hub (a mirror), None for the usual one.
    """

    hub_caches: tuple[Path, ...]
    baked: Path
    volume: Path | None
    cache: Path
    token: str | None = None
    endpoint: str | None = None

    def kind(self, path: Path) -> str:
        """Which of these places holds a path, in words."""
        named = [(root, "in a hub cache") for root in self.hub_caches]
        named += [(self.baked, "baked into the image"), (self.cache, "in this machine's cache")]
        named += [(self.volume, "on the volume")] if self.volume else []
        held = (name for root, name in named if path.is_relative_to(root))
        return next(held, "where its address says")

    @property
    def shelf(self) -> Path:
        """Where what is made here is kept: on the volume, if there is one that we may write to."""
        if self.volume is None:
            return self.cache
        try:
            self.volume.mkdir(parents=True, exist_ok=True)
        except OSError:
            return self.cache
        return self.volume if os.access(self.volume, os.W_OK) else self.cache
