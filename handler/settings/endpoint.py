"""The surfaces that this worker serves, and the models of each, from settings and catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from handler.contract.base import Surface
from handler.job import Origin
from handler.settings.names import find, nearest
from handler.settings.variable import SettingsError
from handler.settings.variables import Settings
from models.repository.address import is_address
from models.row import Catalog, Row


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
        own: Sequence[str] = (),
    ) -> Endpoint:
        """Decide what is served.

        Args:
            settings: the operator's.
            registry: all surfaces, by name.
            catalog: all rows, the operator's own among them.
            device_kind: ``cuda`` or ``cpu``.
            is_here: whether a row's weights are on this machine.
            own: slugs of the models that the operator names; of several, they alone are held.

        Raises:
            SettingsError: the variables contradict each other or the catalog.
        """
        wanted = () if settings.surface == ("all",) else settings.surface
        catalog = Catalog(row for row in catalog.rows if row.surface in registry)
        if len(own) > 1:
            catalog = _only(catalog, own)
            registry = {name: one for name, one in registry.items() if catalog.of(name).rows}
        configured = _configured(settings, catalog, own if len(own) == 1 else ())
        by_task = _surfaces_of_tasks(settings, catalog)
        _check_known(wanted, registry)
        names = wanted or ((configured.surface,) if configured else by_task)
        served = {name: registry[name] for name in names or registry}
        if settings.model_tasks and not names:
            tasks = ", ".join(settings.model_tasks)
            raise SettingsError(f"MODEL_TASKS: no model does {tasks}")
        _check_agreed(settings, served, configured, by_task)
        held = _served_rows(served, catalog, configured)
        stand_ins = _stand_ins(held, is_here)
        return cls(
            surfaces=served,
            catalog=held,
            configured=configured,
            device_kind=device_kind,
            baked=None if len(own) > 1 else _baked(settings, catalog),
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
        task = task or next((other for other in self.tasks if other in able), None)
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


def _stand_ins(held: Catalog, is_here: Callable[[Row], bool]) -> dict[str, Row]:
    """Return the stand-ins by the model they replace; a model that is named has none."""
    by_slug = {row.slug: row for row in held.rows}
    return {
        row.slug: stand_in
        for row in held.rows
        if (stand_in := by_slug.get(row.stand_in or "")) and not is_here(row) and is_here(stand_in)
    }


def _only(catalog: Catalog, own: Sequence[str]) -> Catalog:
    """The operator's own models alone, each a default: of a task, the first serves."""
    rows = [replace(catalog.find(slug), default_on=frozenset({"cpu", "cuda"})) for slug in own]
    return Catalog(rows)


def _configured(settings: Settings, catalog: Catalog, own: Sequence[str] = ()) -> Row | None:
    """The row that all names in the environment mean, and ``own``, the operator's model.

    A name that no row answers to stops the start: serving other weights than the ones named would
    be a silent replacement.
    """
    names = [*settings.model_names(), *own]
    rows = {name: find(catalog, name) for name in names}
    unknown = [name for name, row in rows.items() if row is None]
    if unknown:
        tasks = set(settings.model_tasks)
        fitting = [row for row in catalog.rows if row.tasks & tasks] or catalog.rows
        known = ", ".join(nearest(unknown, fitting))
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
    row = find(catalog, settings.baked_model)
    if row is None and is_address(settings.baked_model):
        return None  # described only if nothing else is named
    if row is None:
        raise SettingsError(f"BAKED_MODEL: this worker holds no {settings.baked_model}")
    return row


def _at_revision(row: Row, settings: Settings) -> Row:
    """The row at the environment's revision, where that is one of a repo of the row's."""
    revision, repo = settings.pin()
    return row.pinned(repo, revision) if revision else row


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


def _check_known(wanted: Sequence[str], registry: Mapping[str, Surface]) -> None:
    for name in wanted:
        if name not in registry:
            raise SettingsError(f"SURFACE: {name!r} is none of {', '.join(registry)}")


def _check_agreed(
    settings: Settings,
    served: Mapping[str, Surface],
    configured: Row | None,
    by_task: Sequence[str],
) -> None:
    """See that the surfaces, the model and the tasks of the environment agree."""
    if configured and configured.surface not in served:
        raise SettingsError(
            f"MODEL_SLUG: {configured.slug} serves {configured.surface}, "
            f"SURFACE says {', '.join(served)}"
        )
    if by_task and not set(by_task) & set(served):
        tasks = ", ".join(settings.model_tasks)
        raise SettingsError(
            f"MODEL_TASKS: {tasks} belong to {', '.join(by_task)}, "
            f"this worker serves {', '.join(served)}"
        )
