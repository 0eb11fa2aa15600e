"""Whether this endpoint can start: ``python -m handler --check``, or ``python -m builder check``.

Each look is a function that yields what it found. The worker takes the same looks before it loads,
all but those that ask the network: what no job could survive ends it, the rest is logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from handler.assemble import assemble
from handler.entry import Worker
from handler.errors import error_object
from handler.settings.spelling import misspelt
from handler.settings.variables import Settings, SettingsError
from models.catalog import GB
from models.device import driver, hardware
from models.device.hardware import Device
from models.errors import QuartetError
from models.row import Row
from models.weights.sources import HubSource, parse
from models.weights.store import WeightsStore

log = logging.getLogger(__name__)

OK, WARNING, ERROR = "ok", "warning", "error"
_REACH_TIMEOUT_S = 10.0
_KEPT_FREE = 0.1  # of the container's disk: RUNPOD_MIN_DISK_PERCENT


@dataclass(frozen=True)
class Finding:
    """One line.

    Attributes:
        level: ``ok``, ``warning`` or ``error``.
        subject: what was looked at.
        found: what there is.
        do: what to do about it, None where nothing is to be done.
        fatal: whether no job can be answered on this machine.
    """

    level: str
    subject: str
    found: str
    do: str | None = None
    fatal: bool = False

    def __str__(self) -> str:
        """As it is printed."""
        line = f"{self.level:8}{self.subject:10}{self.found}"
        return line if self.do is None else f"{line} -> {self.do}"


def check(environment: Mapping[str, str]) -> list[Finding]:
    """Look at everything, the network too."""
    try:
        settings = Settings.from_env(environment)
        worker = assemble(settings)
    except SettingsError as error:
        return [Finding(ERROR, "settings", str(error), "set the variable that it names", True)]
    served = ", ".join(worker.dispatcher.endpoint.surfaces)
    found = [Finding(OK, "settings", f"serves {served}")]
    for name, near in misspelt(environment):
        do = f"set {near}, if that is meant"
        found.append(Finding(WARNING, "settings", f"{name} is no variable of this worker", do))
    found += at_start(settings, worker, weigh=True)
    return [*found, *_hub(settings, worker), *asyncio.run(_bucket(worker))]


def at_start(settings: Settings, worker: Worker, *, weigh: bool = False) -> list[Finding]:
    """Look at what a look costs nothing: the device, and each model that is a default.

    With ``weigh`` also at how large its weights are, file by file.
    """
    found, rows = list(_device(settings)), [] if settings.fake_engines else _expected(worker)
    device = hardware.detect(settings.device)
    if device.kind == "cuda":
        drivers = list(_driver(hardware.driver_version(), rows))
        found += drivers
        if not any(one.fatal for one in drivers):  # torch may not even be asked then
            found += _kernels(device, rows)
    for row in rows:
        found += [*_model(row), *_weights(settings, row, weigh), *_memory(row, worker)]
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


def bucket_fitness(worker: Worker) -> Callable[[], Awaitable[None]]:
    """A fitness check for the platform: it raises ``SettingsError`` where nothing can be stored."""

    async def bucket() -> None:
        for finding in await _bucket(worker):
            if finding.level == ERROR:
                raise SettingsError(f"{finding.subject}: {finding.found}; {finding.do}")

    return bucket


def printed(found: list[Finding], *, as_json: bool) -> str:
    """The lines, or one JSON object: ``{"ok": bool, "findings": [{"level", …}]}``."""
    if as_json:
        return json.dumps({"ok": passes(found), "findings": [asdict(one) for one in found]})
    return "\n".join(map(str, found))


def passes(found: list[Finding]) -> bool:
    """Whether the endpoint can start."""
    return all(one.level != ERROR for one in found)


def _expected(worker: Worker) -> list[Row]:
    """The model of each surface that a job without a model's name gets."""
    endpoint = worker.dispatcher.endpoint
    return [endpoint.pick(name, None) for name in endpoint.surfaces]


def _device(settings: Settings) -> Iterator[Finding]:
    device = hardware.detect(settings.device)
    size = f"{device.memory_bytes / GB:.0f} GB, computes in {settings.dtype or device.dtype}"
    if device.kind == "cuda":
        yield Finding(OK, "device", f"an NVIDIA GPU of {size}")
    elif settings.device == "cpu":
        yield Finding(OK, "device", f"the CPU, {size}")
    else:
        do = "choose a GPU for the endpoint, or set DEVICE=cpu where this is meant"
        yield Finding(WARNING, "device", f"no NVIDIA GPU answers: the CPU, {size}", do)


def _driver(version: str, rows: list[Row]) -> Iterator[Finding]:
    """Whether it carries what the models run on; ctranslate2 is there without torch, or beside."""
    whispers = [row.engine.startswith("models.transcribe.") for row in rows]
    cuda = driver.cuda_of_torch()
    if not all(whispers):
        if cuda is None:
            do = "install a torch that is built with CUDA, or set DEVICE=cpu"
            yield Finding(WARNING, "driver", f"{version}, and no torch here knows CUDA", do)
        else:
            yield _carries("torch", cuda, version)
    if any(whispers):
        cuda = driver.CUDA_OF_CTRANSLATE2
        finding = _carries("ctranslate2", cuda, version)
        if finding.level == OK and driver.is_doubtful(version):
            found = f"{version} may not run ctranslate2, built with CUDA {cuda}: a load will tell"
            do = f"let the endpoint use hosts with CUDA {cuda} or later only (allowedCudaVersions)"
            finding = Finding(WARNING, "driver", found, do)
        yield finding


def _kernels(device: Device, rows: list[Row]) -> Iterator[Finding]:
    """Whether torch has kernels for the GPU; ctranslate2 tries itself when it loads."""
    if all(row.engine.startswith("models.transcribe.") for row in rows):
        return
    complaint = driver.without_kernels(
        driver.architectures_of_torch(), device.capability, driver.cuda_of_torch()
    )
    if complaint is not None:
        found, _, do = complaint.partition(": ")
        yield Finding(ERROR, "kernels", found, do, fatal=True)


def _carries(library: str, cuda: str, version: str) -> Finding:
    complaint = driver.too_old(cuda, version)
    if complaint is None:
        return Finding(OK, "driver", f"{version}, {library} is built with CUDA {cuda}")
    found, _, do = complaint.partition(": ")
    return Finding(ERROR, "driver", found, do, fatal=True)


def _model(row: Row) -> Iterator[Finding]:
    yield Finding(OK, "model", f"{row.slug} serves {row.surface}; licence {row.licence}")
    if row.notice is not None:
        yield Finding(WARNING, "model", row.notice, "set MODEL_SLUG")


def _weights(settings: Settings, row: Row, weigh: bool) -> Iterator[Finding]:
    store = WeightsStore(settings.places())
    place = store.locate(row)
    if place is not None:
        size = f"{_size_bytes(place) / GB:.1f} GB " if weigh else ""
        yield Finding(OK, "weights", f"{size}{store.places.kind(place)}: {place}")
        return
    source = row.weights.partition("?")[0]
    if row.weights.startswith("file://"):
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
    found = f"{row.slug} takes {row.memory_bytes / GB:g} GB of {budget / GB:.1f} for models"
    if row.memory_bytes > budget:
        do = "choose a larger GPU or a smaller model, or set MEMORY_BUDGET_GB"
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


def _size_bytes(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(one.stat().st_size for one in place.rglob("*") if one.is_file())
