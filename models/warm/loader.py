"""From a catalog row to an engine: resolve the weights, import the engine's module, load."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from models.device.hardware import Device
from models.row import Row
from models.surface import Engine
from models.weights.store import WeightsStore


@dataclass(frozen=True)
class Loader:
    """Callable that makes the engine of a row; blocking, for a thread.

    Raises (when called):
        WeightsUnavailable: the weights are nowhere and cannot be fetched.
    """

    store: WeightsStore
    device: Device

    def __call__(self, row: Row) -> Engine:
        """Return a loaded engine."""
        folder = self.store.resolve(row)
        module, _, name = row.engine.partition(":")
        engine_class: type[Engine] = getattr(import_module(module), name)
        return engine_class.load(folder, row, self.device)
