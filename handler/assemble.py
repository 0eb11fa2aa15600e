"""Put a worker together from the environment's settings."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

from handler.acceptance import Reception
from handler.contract import SURFACES
from handler.dispatch import Dispatcher
from handler.entry import Worker
from handler.media.allowed import Allowed
from handler.media.bucket import Bucket
from handler.media.guard import Guard
from handler.media.loras import LoraShelf
from handler.settings.endpoint import Endpoint
from handler.settings.engines import fitted
from handler.settings.names import renamed
from handler.settings.own import own_rows
from handler.settings.variable import SettingsError
from handler.settings.variables import Settings
from models.catalog import CATALOG, GB
from models.device import hardware
from models.device.hardware import Device
from models.device.memory import keep_freed
from models.errors import ModelNotFound
from models.row import Catalog, Row
from models.warm.loader import Loader
from models.warm.pool import Pool
from models.weights.store import WeightsStore

# A little below what carries it: the queue keeps 10 MB, the load balancer lets 30 MB through.
_EVENT_LIMIT_BYTES = 990_000  # the queue takes chunks of a megabyte
_OUTPUT_LIMIT_BYTES = {False: 9_500_000, True: 28_500_000}


def assemble(settings: Settings) -> Worker:
    """Build the worker; loads no model. Of engines it imports the modules, but not their libraries.

    Raises:
        SettingsError: the settings make no sense on this machine.
    """
    try:
        device = replace(hardware.detect(settings.device), wanted_dtype=settings.dtype)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if device.kind == "cpu":
        keep_freed()
    store = WeightsStore(settings.places())
    budget_bytes = device.budget_bytes
    if settings.memory_budget_gb is not None:
        budget_bytes = int(settings.memory_budget_gb * GB)
    everything, own = _everything(settings, device)
    served = Endpoint.build(settings, SURFACES, everything, device.kind, own=own).surfaces
    catalog = fitted(everything, settings, device.kind, budget_bytes, served)
    endpoint = Endpoint.build(settings, SURFACES, catalog, device.kind, store.has, own)
    output_limit_bytes = settings.output_limit_bytes or _OUTPUT_LIMIT_BYTES[settings.serve]
    loader = Loader(store, device)
    return Worker(
        reception=Reception(endpoint, settings.job_timeout_s),
        dispatcher=Dispatcher(
            pool=Pool(
                loader,
                budget_bytes,
                settings.max_batch_size,
                settings.hung_after_s,
                loader.prefetch,
                loader.begin,
            ),
            guard=Guard(settings.media_private_hosts, settings.media_timeout_s),
            bucket=_bucket(settings),
            inline_limit_bytes=settings.inline_limit_bytes,
            output_limit_bytes=output_limit_bytes,
            event_limit_bytes=None if settings.serve else _EVENT_LIMIT_BYTES,
            loras=LoraShelf(Allowed(settings.lora_allow), store, settings.places().shelf / "loras"),
            helpers=_helpers(settings, catalog, device.kind),
        ),
        output_limit_bytes=output_limit_bytes,
        rehearses=settings.rehearse,
    )


def _everything(settings: Settings, device: Device) -> tuple[Catalog, list[str]]:
    """All rows with their further names, and the slugs of those that the operator names.

    Raises:
        SettingsError: one of these cannot be served.
    """
    catalog = _catalog(settings)
    own = own_rows(settings, catalog, device)
    slugs = [row.slug for row in own]
    others = [row for row in catalog.rows if row.slug not in slugs]
    return renamed(Catalog([*own, *others]), settings.further_names()), slugs


def _catalog(settings: Settings) -> Catalog:
    if settings.fake_engines:
        from models import fake

        return Catalog(fake.rows(settings.fake_delay_s))
    return CATALOG


def _helpers(settings: Settings, catalog: Catalog, device_kind: str) -> dict[str, Row]:
    """The models that serve beside those that jobs are for, by their own surface.

    Raises:
        SettingsError: one that is named is not there, or cannot run.
    """
    rows = (_checker(settings, catalog), _diarizer(settings, catalog, device_kind))
    return {row.surface: row for row in rows if row is not None}


def _checker(settings: Settings, catalog: Catalog) -> Row | None:
    """The model that looks at pictures before they leave.

    Raises:
        SettingsError: there is none of that name.
    """
    if settings.safety_checker is None:
        return None
    return _named("SAFETY_CHECKER", catalog.of("safety"), settings.safety_checker)


def _diarizer(settings: Settings, catalog: Catalog, device_kind: str) -> Row | None:
    """The model that tells speakers apart, where what it runs on is installed.

    Raises:
        SettingsError: there is none of that name, or it is named and cannot run.
    """
    held, named = catalog.of("speakers"), settings.diarizer
    if find_spec("sherpa_onnx") is None:
        if named is not None:
            raise SettingsError("DIARIZER: sherpa-onnx is not installed (EXTRA=diarize)")
        return None
    if named is not None:
        return _named("DIARIZER", held, named)
    return held.default("speakers", device_kind) if held.rows else None


def _named(variable: str, held: Catalog, name: str) -> Row:
    """The row that an environment variable names."""
    try:
        return held.find(name)
    except ModelNotFound as error:
        raise SettingsError(f"{variable}: {error.message}") from None


def _bucket(settings: Settings) -> Bucket | None:
    config = settings.bucket()
    if config is None:
        return None
    # The operator's own store may well be a private host: it is trusted by being configured.
    hosts = settings.media_private_hosts | config.hosts
    return Bucket(config, Guard(hosts, settings.media_timeout_s))
