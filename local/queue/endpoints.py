"""What an endpoint serves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

EVERYTHING = "all"  # the endpoint whose workers serve every surface; see ``Endpoints.apart``

_FURTHER = re.compile(
    r"(?P<name>[\w.-]{1,80})=(?P<surface>\w+)(:(?P<model>[^~]+)(~(?P<stand_in>[^~]+))?)?"
)


@dataclass(frozen=True)
class Served:
    """What an endpoint serves.

    Attributes:
        surface: the surface of all its jobs.
        model: the only model that it serves; None = any of the surface.
        stand_in: the model that serves under that model's name; None = the model itself.
    """

    surface: str
    model: str | None = None
    stand_in: str | None = None

    def is_for(self, surface: str, model: object) -> bool:
        """Whether this endpoint is dedicated to this model of this surface."""
        named = isinstance(model, str) and self.model is not None
        return named and (surface, str(model).lower()) == (self.surface, str(self.model).lower())


@dataclass(frozen=True)
class Endpoints:
    """The endpoints by name: one per surface, further ones, and ``all``.

    Attributes:
        surfaces: the surfaces that have an endpoint of their name.
        further: endpoints with other names.
        apart: whether each endpoint has its own workers; if not, those of ``all`` serve all queues.
    """

    surfaces: tuple[str, ...]
    further: Mapping[str, Served] = field(default_factory=dict)
    apart: bool = False

    @property
    def served(self) -> dict[str, Served | None]:
        """What each endpoint serves, by name; None = jobs of any surface."""
        own: dict[str, Served | None] = {name: Served(name) for name in self.surfaces}
        return {**own, **self.further, EVERYTHING: None}

    def of(self, surface: str, model: object = None) -> str | None:
        """Return the endpoint for a request, as a gateway chooses it by surface and model."""
        for name, served in self.further.items():
            if served.is_for(surface, model):
                return name
        return surface if surface in self.surfaces else None


def read_further(text: str, surfaces: tuple[str, ...]) -> tuple[str, Served]:
    """Parse ``NAME=SURFACE[:MODEL[~STAND_IN]]``.

    Raises:
        ValueError: the text is invalid, the name is taken, or the surface is not served.
    """
    match = _FURTHER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not NAME=SURFACE or NAME=SURFACE:MODEL[~STAND_IN]")
    if match["surface"] not in surfaces:
        raise ValueError(f"{match['surface']!r} is not one of {', '.join(surfaces)}")
    if match["name"] in {*surfaces, EVERYTHING}:
        raise ValueError(f"{match['name']!r} is an endpoint's name already")
    return match["name"], Served(match["surface"], match["model"], match["stand_in"])
