"""What the tests share: workers with fake or tiny engines, and the weights behind them.

The handler is imported where it is used: those of a GPU run where its libraries are not
(docs/benchmarks.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from models.catalog import CATALOG
from models.device.hardware import Device
from models.errors import WeightsUnavailable
from models.row import Row
from models.warm.loader import Loader
from models.weights.places import Places
from models.weights.store import WeightsStore

if TYPE_CHECKING:
    from handler.entry import Worker

ROOT = Path(__file__).parent.parent
CPU = Device("cpu", memory_bytes=8 * 10**9, bf16=False)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Know the words of pytest-timeout where it is not installed."""
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "pytest-timeout is not installed: nothing")


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("timeout"):
        config.addinivalue_line("markers", "timeout: pytest-timeout is not installed: nothing")
    if find_spec("hypothesis"):
        from hypothesis import HealthCheck, settings

        # How fast a machine is decides no test of values; pytest-timeout ends what hangs.
        settings.register_profile(
            "quartet", deadline=None, suppress_health_check=[HealthCheck.too_slow]
        )
        settings.load_profile("quartet")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Dots without the names of the files, some thirty lines where there were a hundred."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and session.config.option.verbose == 0:
        reporter.showfspath = False


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def make_worker() -> Callable[..., Worker]:
    """A worker from environment variables, with fake engines unless told otherwise."""
    from handler.assemble import assemble
    from handler.settings.variables import Settings

    def make(**env: str) -> Worker:
        real = {"QUARTET_CACHE": os.environ.get("QUARTET_CACHE", ""), "DEVICE": "cpu"}
        return assemble(Settings.from_env({"FAKE_ENGINES": "1", **real, **env}))

    return make


@pytest.fixture
def worker(make_worker: Callable[..., Worker]) -> Worker:
    return make_worker()


class _Store(WeightsStore):
    """Skips a test whose weights come in a package that cannot be fetched here."""

    def resolve(self, row: Row) -> Path:
        try:
            return super().resolve(row)
        except WeightsUnavailable as error:
            pytest.skip(error.message)


_CACHE = Path(os.environ.get("QUARTET_CACHE") or "~/.cache/quartet").expanduser()
_STORE = _Store(
    Places((Path("~/.cache/huggingface/hub").expanduser(),), Path("/models"), None, _CACHE)
)


@pytest.fixture(scope="session")
def store() -> WeightsStore:
    return _STORE


def needs(slug: str) -> pytest.MarkDecorator:
    """Skips a test where the set-up could not fetch a model's weights."""
    reason = f"the weights of {slug} could not be fetched"
    return pytest.mark.skipif(_STORE.locate(CATALOG.find(slug)) is None, reason=reason)


@pytest.fixture(scope="session")
def load(store: WeightsStore) -> Callable[[Row], Any]:
    """Load a row's engine once a session, in float32 for exact comparisons."""
    engines: dict[str, Any] = {}

    def get(row: Row) -> Any:
        if row.slug not in engines:
            engines[row.slug] = Loader(store, CPU)(row)
        return engines[row.slug]

    return get


def row(slug: str) -> Row:
    return CATALOG.find(slug)


def tiny(slug: str, recipe: str) -> Row:
    """A production row on tiny weights: same engine, options and defaults."""
    from dataclasses import replace

    made = replace(row(slug), weights=f"tiny://{recipe}", gated=False)
    return replace(made, memory_bytes=10**8, weights_bytes=0)


def decoded(output: Any) -> Any:
    """What leaves the worker as JSON, read again; an error as it is."""
    from handler.wire import Encoded

    return json.loads(output.content) if isinstance(output, Encoded) else output


def error_of(output: Any) -> dict[str, Any]:
    """The error object inside what the SDK is given."""
    assert set(output) == {"error"}, output
    assert isinstance(output["error"], str)
    error = json.loads(output["error"])
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["code"], str)
    return error
