"""Make an engine from a catalog row: resolve the weights, import the engine's module, load."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from models.device.hardware import Device
from models.device.threads import give_way
from models.engine import Differences, Engine
from models.errors import ModelLoadFailed
from models.loading import alone
from models.row import Row
from models.stages import spent, stage
from models.weights.prefetch import read_ahead
from models.weights.store import WeightsStore


def engine_class(row: Row) -> type[Engine]:
    """Return the class of a row's engine; its libraries are not imported before its first load."""
    module, _, name = row.engine.partition(":")
    engine: type[Engine] = getattr(import_module(module), name)
    return engine


def differences(row: Row) -> Differences:
    """Return the fields in which a model differs from its surface, as its engine declares them."""
    return engine_class(row).honours(row)


def missing_libraries(row: Row) -> list[str]:
    """Return the modules that loading a row imports and that are not installed here."""
    return [name for name in engine_class(row).libraries if find_spec(name) is None]


_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class Loader:
    """Callable that makes the engine of a row. It blocks, so call it in a thread.

    Raises (when called):
        WeightsUnavailable: the weights are in no known place and cannot be fetched.
        ModelLoadFailed: a library is not installed.
    """

    store: WeightsStore
    device: Device
    _read_s: dict[str, float] = field(default_factory=dict)  # seconds of prefetching, by slug

    def __call__(self, row: Row) -> Engine:
        """Return a loaded engine."""
        try:
            return self._load(row)
        except ImportError as error:
            # A library may report a missing dependency in prose, without the module's name.
            named = ", ".join(missing_libraries(row)) or error.name or "a library"
            raise ModelLoadFailed(f"{row.slug} needs {named}, not installed here.") from error

    def _load(self, row: Row) -> Engine:
        with stage("download"):
            folder = self.store.resolve(row)
            sources = {name: source for name, source in row.adapters.items() if source is not None}
            adapters = {name: self._adapter(row, name, at) for name, at in sources.items()}
        if adapters:
            row = replace(row, options={**row.options, "adapters": adapters})
        with alone(), stage("load"):
            engine = engine_class(row).load(folder, row, self.device)
        spent("read", self._read_s.pop(row.slug, 0.0))
        return engine

    def begin(self) -> None:
        """Prepare the thread that will load and run a model: on a CPU, it gives way to others."""
        if self.device.kind == "cpu":
            give_way()

    def prefetch(self, row: Row) -> None:
        """Start reading a row's local weights into the page cache before its load."""
        if (weights := self.store.locate(row)) is not None:
            read_ahead(weights, lambda seconds: self._read_s.update({row.slug: seconds}))

    def _adapter(self, row: Row, name: str, weights: str) -> Path:
        """Return the folder of an adapter, which is resolved like the weights of a model."""
        own = replace(row, slug=f"{row.slug}:{name}", weights=weights, adapters={}, files=_ADAPTER)
        return self.store.resolve(own)
