"""The length of the tiles in which the VAE decodes a song, and encodes a recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from models.pipelines.second_try import SecondTry


@dataclass(frozen=True)
class _Lengths:
    """Lengths of tiles, and what neighbours share on each side: latents, and seconds of sound."""

    latents: int
    shared_latents: int
    seconds: float
    shared_s: float


_USUAL = _Lengths(512, 64, 30.0, 2.0)  # diffusers' own: twenty seconds, and thirty
_SHORT = _Lengths(128, 32, 8.0, 1.0)


class Tiles:
    """Lets the second try of a run that was out of memory have shorter tiles.

    Args:
        vae: an ``AutoencoderOobleck``.
    """

    def __init__(self, vae: Any) -> None:
        self._vae = vae
        self._tries = SecondTry()
        vae.enable_tiling()

    @property
    def due(self) -> bool:
        """Whether this thread's next run has short tiles."""
        return self._tries.due

    @contextmanager
    def run(self) -> Iterator[None]:
        """Wrap a run; its tiles are short if the last run was out of memory with the usual ones."""
        with self._tries.run() as second:
            self._set(_SHORT if second else _USUAL)
            yield

    def _set(self, lengths: _Lengths) -> None:
        rate_hz = self._vae.config.sampling_rate
        self._vae.tile_latent_min_length = lengths.latents
        self._vae.tile_latent_overlap = lengths.shared_latents
        self._vae.tile_sample_min_length = round(lengths.seconds * rate_hz)
        self._vae.tile_sample_overlap = round(lengths.shared_s * rate_hz)
