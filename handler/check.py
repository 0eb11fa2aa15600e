"""Whether this endpoint can start: ``python -m handler --check``, or ``python -m builder check``.

Each look is a function that yields what it found. The worker takes the same looks before it loads,
all but those that ask the network: what no job could survive ends it, the rest is logged.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from handler.assemble import assemble
from handler.entry import Worker
from handler.errors import error_object
from handler.findings import ERROR, OK, WARNING, Finding
from handler.machine import kept, machine, runs_on, volume
from handler.settings.foreign import notes
from handler.settings.spelling import misspelt
from handler.settings.variable import SettingsError
from handler.settings.variables import Settings
from models.catalog import GB
from models.errors import QuartetError
from models.row import Row
from models.warm.loader import missing_libraries
from models.weights.places import size_of
from models.weights.sources import HubSource, parse, shown
from models.weights.store import WeightsStore

log = logging.getLogger(__name__)

_REACH_TIMEOUT_S = 10.0
_KEPT_FREE = 0.1  # of the container's disk: RUNPOD_MIN_DISK_PERCENT


def check(environment: Mapping[str, str]) -> list[Finding]:
    """Look at everything, the network too."""
    try:
        settings = Settings.from_env(environment)
        worker = assemble(settings)
    except SettingsError as error:
        return [Finding(ERROR, "settings", str(error), "set the variable that it names", True)]
    served = ", ".join(worker.endpoint.surfaces)
    found = [Finding(OK, "settings", f"serves {served}"), *_baked(worker)]
    for name, near in misspelt(environment):
        do = f"set {near}, if that is meant"
        found.append(Finding(WARNING, "settings", f"{name} is no variable of this worker", do))
    found += [Finding(WARNING, "settings", note, "leave it out") for note in notes(environment)]
    found += [*at_start(settings, worker, weigh=True), *kept(settings, environment)]
    return [*found, *_hub(settings, worker), *asyncio.run(_bucket(worker))]


def at_start(settings: Settings, worker: Worker, *, weigh: bool = False) -> list[Finding]:
    """Look at what a look costs nothing: the device, and each model that is a default.

    With ``weigh`` also at how large its weights are, file by file.
    """
    rows = [] if settings.fake_engines else _expected(worker)
    found = [*machine(settings, rows), *_tuning(settings, rows)]
    for row in rows:
        found += [
            *_model(row),
            *_engine(row),
            *_weights(settings, row, weigh),
            *_memory(row, worker),
        ]
    return found


def before_loading(settings: Settings, worker: Worker) -> None:
    """Say what will go wrong before it does.

    What another machine may do better ends the worker. Anything else would end the next one too,
    and the next, each of them billed: its jobs get the clear error.

    Raises:
        SettingsError: no job could be answered on this machine.
    """
    for finding in at_start(settings, worker):
        if finding.fatal:
            raise SettingsError(f"{finding.subject}: {finding.found}; {finding.do}")
        if finding.level == ERROR:
            log.warning("%s: %s; %s", finding.subject, finding.found, finding.do)
    for finding in volume(settings):
        log.warning("%s: %s; %s", finding.subject, finding.found, finding.do)


def bucket_fitness(worker: Worker) -> Callable[[], Awaitable[None]]:
    """A fitness check for the platform: it raises ``SettingsError`` where nothing can be stored."""

    async def bucket() -> None:
        for finding in await _bucket(worker):
            if finding.level == ERROR:
                raise SettingsError(f"{finding.subject}: {finding.found}; {finding.do}")

    return bucket


def _expected(worker: Worker) -> list[Row]:
    """The model of each surface that a job without a model's name gets."""
    endpoint = worker.endpoint
    return [endpoint.pick(name, None) for name in endpoint.surfaces]


def _tuning(settings: Settings, rows: list[Row]) -> Iterator[Finding]:
    """Yield settings of image models that are probably a mistake."""
    images = any(row.surface == "images" for row in rows)
    if images and settings.images_quantization == "fp8" and not settings.images_compile:
        do = "set IMAGES_COMPILE=1 too, or leave IMAGES_QUANTIZATION out where the memory suffices"
        yield Finding(WARNING, "settings", "fp8 without IMAGES_COMPILE is probably slower", do)


def _model(row: Row) -> Iterator[Finding]:
    yield Finding(OK, "model", f"{row.slug} serves {row.surface}; licence {row.licence}")
    if row.notice is not None:
        yield Finding(WARNING, "model", row.notice, "set MODEL_SLUG")


def _engine(row: Row) -> Iterator[Finding]:
    """Whether what runs the model is installed."""
    missing = missing_libraries(row)
    if missing:
        do = f"use an image that is built for SURFACE={row.surface}, or install it"
        yield Finding(ERROR, "engine", f"{row.slug} needs {', '.join(missing)}", do)


def _baked(worker: Worker) -> Iterator[Finding]:
    """Whether the model whose weights are in the image is the one that is served."""
    baked = worker.endpoint.baked
    if baked is None:
        return
    served = [row.slug for row in _expected(worker)]
    if baked.slug in served:
        yield Finding(OK, "baked", f"{baked.slug} is in the image, and is served")
    else:
        do = f"leave MODEL_SLUG out, or build the image with MODEL={served[0]}"
        yield Finding(WARNING, "baked", f"{baked.slug} is in the image, {served[0]} is served", do)


def _weights(settings: Settings, row: Row, weigh: bool) -> Iterator[Finding]:
    store = WeightsStore(settings.places())
    place = store.locate(row)
    if place is not None:
        size = f"{size_of(place) / GB:.1f} GB " if weigh else ""
        yield Finding(OK, "weights", f"{size}{store.places.kind(place)}: {place}")
        return
    source = shown(row.weights.partition("?")[0])
    if row.weights.startswith("file://") and " + " not in row.weights:
        do = "mount the volume, or choose another model"
        yield Finding(ERROR, "weights", f"{source} is not there", do)
        return
    about = f"about {row.disk_bytes / GB:.0f} GB"
    if store.places.shelf == store.places.volume:
        yield Finding(OK, "weights", f"come from {source} once, {about}, onto the volume")
    else:
        do = "bake them into the image (--build-arg MODEL), or attach a network volume"
        yield Finding(WARNING, "weights", f"come from {source} at each cold start, {about}", do)
    if row.gated and not settings.hf_token:
        do = f"set HF_TOKEN to a token of an account that has accepted {row.licence}"
        yield Finding(ERROR, "token", f"{row.slug} is gated and there is no token", do)
    yield from _disk(store.places.shelf, row)


def _disk(shelf: Path, row: Row) -> Iterator[Finding]:
    """Whether what is fetched can be kept."""
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=shelf):
            usage = shutil.disk_usage(shelf)
            own = shelf.stat().st_dev == Path("/").stat().st_dev
    except OSError as error:
        do = "set QUARTET_CACHE to a folder that can be written, or attach a network volume"
        yield Finding(ERROR, "disk", f"{shelf}: {error.strerror or 'cannot be written'}", do)
        return
    room = f"{usage.free / GB:.1f} GB free in {shelf}"
    # The SDK's own look takes a worker for unfit whose container disk is fuller than that.
    kept_free_bytes = _KEPT_FREE * usage.total if own else 0
    if usage.free < row.disk_bytes + kept_free_bytes:
        also = f", and {_KEPT_FREE:.0%} must stay free" if own else ""
        do = f"{row.slug} takes about {row.disk_bytes / GB:.0f} GB{also}: give the endpoint a "
        yield Finding(ERROR, "disk", room, f"{do}larger container disk or a network volume")
    else:
        yield Finding(OK, "disk", room)


def _memory(row: Row, worker: Worker) -> Iterator[Finding]:
    budget = worker.dispatcher.pool.budget_bytes
    gpus = row.options.get("gpus", 1) if runs_on("vllm", row) else 1
    where = f" of each of {gpus} GPUs" if gpus > 1 else ""
    found = f"{row.slug} takes {row.memory_bytes / GB:g} GB of {budget / GB:.1f} for models{where}"
    weights_bytes = row.weights_bytes // gpus
    if row.memory_bytes > budget:
        do = "choose a larger GPU or a smaller model, or set MEMORY_BUDGET_GB"
        yield Finding(ERROR, "memory", found, do)
    elif row.surface == "chat" and row.memory_bytes <= weights_bytes:
        do = f"its weights alone have {weights_bytes / GB:.1f} GB: raise CHAT_MEMORY_GB"
        yield Finding(ERROR, "memory", found, do)
    else:
        yield Finding(OK, "memory", found)


def _hub(settings: Settings, worker: Worker) -> Iterator[Finding]:
    """Whether the hub answers, where something is to come from it."""
    store = WeightsStore(settings.places())
    missing = [row for row in _expected(worker) if not store.has(row)]
    if not any(isinstance(parse(row.weights), HubSource) for row in missing):
        return
    import httpx
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:  # what it is asked for then comes from nowhere
        do = "unset it, bake the weights into the image, or attach a volume that has them"
        yield Finding(ERROR, "hub", "HF_HUB_OFFLINE is set, and weights are missing", do)
        return
    address = settings.hf_endpoint or constants.ENDPOINT
    try:
        httpx.head(address, timeout=_REACH_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL):
        do = "let this machine reach it, set HF_ENDPOINT to a mirror, or bring the weights along"
        yield Finding(ERROR, "hub", f"{address} cannot be reached", do)
    else:
        yield Finding(OK, "hub", f"{address} answers")


async def _bucket(worker: Worker) -> list[Finding]:
    bucket = worker.dispatcher.bucket
    if bucket is None:
        found = "none: an answer that is larger than the platform carries is refused"
        return [Finding(OK, "bucket", found)]
    where = f"{bucket.config.name} at {bucket.config.endpoint_url}"
    try:
        await bucket.probe()
    except QuartetError as error:
        do = "look at BUCKET_ENDPOINT_URL, BUCKET_NAME, the keys and their right to write"
        found = f"{where}: {error_object(error)['message']}"
        return [Finding(ERROR, "bucket", found, do)]
    return [Finding(OK, "bucket", f"{where} can be written")]
