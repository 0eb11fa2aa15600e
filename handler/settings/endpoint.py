"""The surfaces that this worker serves, and the models of each, from settings and catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher

from handler.contract.base import Surface
from handler.job import Origin
from handler.settings.variables import Settings, SettingsError
from models.errors import ModelNotFound
from models.row import Catalog, Row

_NEAREST = 3  # models named to who asks for one that is not held


@dataclass(frozen=True)
class Endpoint:
    """The worker's part of the world.

    Attributes:
        surfaces: those served, by name.
        catalog: the rows held: of a configured model's surface only that model.
        configured: the model that the environment names, None without one.
        device_kind: ``cuda`` or ``cpu``, which decides the defaults.
        baked: the model whose weights the image holds, None without one.
        tasks: what the environment says the model is to do, of one that it does not name.
        stand_ins: the row that serves in place of a default whose weights are not here, by slug.
        further_names: those that the environment gives to models, in lower case.
    """

    surfaces: Mapping[str, Surface]
    catalog: Catalog
    configured: Row | None
    device_kind: str
    baked: Row | None = None
    tasks: tuple[str, ...] = ()
    stand_ins: Mapping[str, Row] = field(default_factory=dict)
    further_names: frozenset[str] = frozenset()

    @classmethod
    def build(
        cls,
        settings: Settings,
        registry: Mapping[str, Surface],
        catalog: Catalog,
        device_kind: str,
        is_here: Callable[[Row], bool] = lambda _: True,
    ) -> Endpoint:
        """Decide what is served; ``is_here`` says whether a row's weights are on this machine.

        Raises:
            SettingsError: the variables contradict each other or the catalog.
        """
        wanted = () if settings.surface == ("all",) else settings.surface
        for name in wanted:
            if name not in registry:
                raise SettingsError(f"SURFACE: {name!r} is none of {', '.join(registry)}")
        catalog = Catalog(row for row in catalog.rows if row.surface in registry)
        configured = _configured(settings, catalog)
        by_task = _surfaces_of_tasks(settings, catalog)
        names = wanted or ((configured.surface,) if configured else by_task)
        served = {name: registry[name] for name in names or registry}
        if configured and configured.surface not in served:
            raise SettingsError(
                f"MODEL_SLUG: {configured.slug} serves {configured.surface}, "
                f"SURFACE says {', '.join(served)}"
            )
        if settings.model_tasks and not (by_task or names):
            raise SettingsError(f"MODEL_TASKS: no model does {', '.join(settings.model_tasks)}")
        if by_task and not set(by_task) & set(served):
            raise SettingsError(
                f"MODEL_TASKS: {', '.join(settings.model_tasks)} belong to {', '.join(by_task)}, "
                f"this worker serves {', '.join(served)}"
            )
        held = _served_rows(served, catalog, configured)
        stand_ins = _stand_ins(held, is_here)
        return cls(
            surfaces=served,
            catalog=held,
            configured=configured,
            device_kind=device_kind,
            baked=_baked(settings, catalog),
            tasks=settings.model_tasks,
            stand_ins=stand_ins,
            further_names=frozenset(name.lower() for name in settings.further_names()),
        )

    def pick(self, surface: str, wanted: str | None, task: str | None = None) -> Row:
        """The row for a request: the model it names, else the endpoint's, the image's, the task's.

        Raises:
            ModelNotFound: it names one that this worker does not hold for that surface.
        """
        held = self.catalog.of(surface)
        if wanted is not None and not self._is_generic(wanted, self.surfaces[surface]):
            return held.find(wanted)
        if self.configured is not None and self.configured.surface == surface:
            return self.configured
        able = {task for row in held.rows for task in row.tasks}
        task = task or next((one for one in self.tasks if one in able), None)
        baked = self.baked
        if baked is not None and baked.surface == surface and task in {None, *baked.tasks}:
            return baked
        row = held.default(surface, self.device_kind, task)
        return self.stand_ins.get(row.slug, row)

    def find(self, name: str) -> Row:
        """The row that answers to a name, of whatever surface.

        Raises:
            ModelNotFound: none does.
        """
        for surface in self.surfaces.values():
            if self._is_generic(name, surface):
                return self.pick(surface.name, None)
        return self.catalog.find(name)

    def _is_generic(self, name: str, surface: Surface) -> bool:
        """Whether a name means whatever is served, and the environment gives it to no model."""
        return name.lower() not in self.further_names and surface.is_generic(name)

    def seen_at(self, origin: Origin | None) -> Endpoint:
        """Return the part of the endpoint that a job sees which was queued at one of its own.

        A platform may queue for several endpoints and serve them with one worker: each of them
        serves one surface, or one model alone.

        Raises:
            ModelNotFound: the endpoint is for a model that this worker does not hold.
        """
        if origin is None or origin.surface not in self.surfaces:
            return self
        catalog, configured = self.catalog.of(origin.surface), self.configured
        if origin.model is not None:
            configured = catalog.find(origin.model)
            catalog = Catalog([configured])
        surfaces = {origin.surface: self.surfaces[origin.surface]}
        return replace(self, surfaces=surfaces, catalog=catalog, configured=configured)

    @property
    def only(self) -> Surface | None:
        """The one surface served, None when there are several."""
        return next(iter(self.surfaces.values())) if len(self.surfaces) == 1 else None

    @property
    def concurrency(self) -> int:
        """Jobs to take at once at least: of several surfaces, what the slowest takes."""
        return min(surface.concurrency for surface in self.surfaces.values())


def renamed(catalog: Catalog, further_names: Mapping[str, str]) -> Catalog:
    """The catalog with further names of its models; they come before other models' own.

    Raises:
        SettingsError: a name is to mean a model that the catalog does not have.
    """
    names: dict[str, tuple[str, ...]] = {}
    for name, model in further_names.items():
        row = _find(catalog, model)
        if row is None:
            nearest = ", ".join(_nearest([model], catalog.rows))
            raise SettingsError(
                f"SERVED_NAMES: this worker holds no {model}; the nearest: {nearest}"
            )
        names[row.slug] = (*names.get(row.slug, row.names), name)
    moved = [replace(row, names=names[row.slug]) for row in catalog.rows if row.slug in names]
    return Catalog([*moved, *(row for row in catalog.rows if row.slug not in names)])


def _stand_ins(held: Catalog, is_here: Callable[[Row], bool]) -> dict[str, Row]:
    """Return the stand-ins by the model they replace; a model that is named has none."""
    by_slug = {row.slug: row for row in held.rows}
    return {
        row.slug: stand_in
        for row in held.rows
        if (stand_in := by_slug.get(row.stand_in or "")) and not is_here(row) and is_here(stand_in)
    }


def _configured(settings: Settings, catalog: Catalog) -> Row | None:
    """The row that all names in the environment mean.

    A name that no row answers to stops the start: serving other weights than the ones named would
    be a silent replacement.
    """
    names = list(settings.model_names())
    rows = {name: _find(catalog, name) for name in names}
    unknown = [name for name, row in rows.items() if row is None]
    if unknown:
        tasks = set(settings.model_tasks)
        fitting = [row for row in catalog.rows if row.tasks & tasks] or catalog.rows
        known = ", ".join(_nearest(unknown, fitting))
        raise SettingsError(
            f"MODEL_SLUG: this worker holds no {' or '.join(unknown)}; the nearest: {known}"
        )
    meant = {row.slug: row for row in rows.values() if row is not None}
    if len(meant) > 1:
        raise SettingsError(f"MODEL_SLUG: {' and '.join(meant)} cannot both be meant")
    for row in meant.values():
        by_task = _surfaces_of_tasks(settings, catalog)
        if by_task and not row.tasks & set(settings.model_tasks):
            raise SettingsError(
                f"MODEL_TASKS: {row.slug} does {', '.join(sorted(row.tasks))}, "
                f"not {', '.join(settings.model_tasks)}"
            )
        return _at_revision(row, settings)
    return None


def _baked(settings: Settings, catalog: Catalog) -> Row | None:
    """The row whose weights the image holds.

    Raises:
        SettingsError: the catalog has none of that name.
    """
    if settings.baked_model is None:
        return None
    row = _find(catalog, settings.baked_model)
    if row is None:
        raise SettingsError(f"BAKED_MODEL: this worker holds no {settings.baked_model}")
    return row


def _at_revision(row: Row, settings: Settings) -> Row:
    """The row at the environment's revision, where that is one of a repo of the row's."""
    revision, repo = settings.pin()
    return row.pinned(repo, revision) if revision else row


def _nearest(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """The slugs of the models whose slug, repo or name looks most like one of these."""
    wanted = [part.lower() for name in names for part in (name, name.rpartition("/")[2])]

    def likeness(row: Row) -> float:
        known = [one.lower() for one in (row.slug, row.repo or "", *row.names)]
        return max(SequenceMatcher(None, left, right).ratio() for left in wanted for right in known)

    return [row.slug for row in sorted(rows, key=likeness, reverse=True)[:_NEAREST]]


def _find(catalog: Catalog, name: str) -> Row | None:
    try:
        return catalog.find(name)
    except ModelNotFound:
        return None


def _surfaces_of_tasks(settings: Settings, catalog: Catalog) -> tuple[str, ...]:
    wanted = set(settings.model_tasks)
    return tuple(dict.fromkeys(row.surface for row in catalog.rows if row.tasks & wanted))


def _served_rows(
    served: Mapping[str, Surface], catalog: Catalog, configured: Row | None
) -> Catalog:
    rows = [row for row in catalog.rows if row.surface in served]
    if configured is not None:
        rows = [row for row in rows if row.surface != configured.surface] + [configured]
    return Catalog(rows)
