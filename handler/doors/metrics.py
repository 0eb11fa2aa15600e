"""Metrics, in Prometheus' text format."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from handler.doors.outcome import Outcome
from models.warm.pool import Pool

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

_COUNTERS = {  # of ``Engine.counters``
    "speech_characters": "Characters that were spoken.",
    "speech_sound_seconds": "Seconds of sound that were made.",
    "speech_run_seconds": "Seconds that the sound took to make.",
    "speech_first_sounds": "Texts whose first sentence was spoken.",
    "speech_first_sound_seconds": "Seconds from a text to its first sound, of all texts together.",
    "music_songs": "Songs that were made.",
    "music_sound_seconds": "Seconds of music that were made.",
    "music_run_seconds": "Seconds that the music took to make.",
}


class Metrics:
    """Counts requests; reads the pool when it is asked.

    Args:
        pool: the warm models.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, pool: Pool) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "quartet_requests", "Requests answered, by route and error code (ok without one).",
            ["route", "code"], registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "quartet_request_seconds", "Seconds from a request to the end of its answer.",
            ["route"], buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self._in_flight = Gauge(
            "quartet_requests_in_flight", "Requests being answered.",
            ["route"], registry=self._registry,
        )  # fmt: skip
        Gauge("quartet_tasks", "Tasks of the event loop.", registry=self._registry).set_function(
            _tasks
        )
        self._registry.register(_PoolCollector(pool))
        ProcessCollector(registry=self._registry)

    @contextmanager
    def request(self, route: str) -> Iterator[Outcome]:
        """Measure one request; the block says its error code, and is ``cancelled`` without one."""
        outcome, start = Outcome(), perf_counter()
        with self._in_flight.labels(route).track_inprogress():
            try:
                yield outcome
            finally:
                self._requests.labels(route, outcome.code).inc()
                self._seconds.labels(route).observe(perf_counter() - start)

    @property
    def in_flight(self) -> int:
        """How many requests are being answered, on all routes."""
        [family] = self._in_flight.collect()
        return int(sum(sample.value for sample in family.samples))

    def expose(self) -> bytes:
        """Everything, as text."""
        return generate_latest(self._registry)


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # nobody asks from an event loop
        return 0


class _PoolCollector:
    """The pool's state at the moment of the question."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        """Gauges of each warm model."""
        warm = GaugeMetricFamily(
            "quartet_model_warm", "Models in memory.", labels=["model", "surface"]
        )
        waiting = GaugeMetricFamily(
            "quartet_model_waiting", "Requests that wait for the model's device.", labels=["model"]
        )
        budget = GaugeMetricFamily(
            "quartet_model_budget", "The largest size of a run, padding included.", labels=["model"]
        )
        runs = CounterMetricFamily("quartet_model_runs", "Runs of the device.", labels=["model"])
        memory = GaugeMetricFamily(
            "quartet_model_memory_bytes", "What a warm model counts for.", labels=["model"]
        )
        most = GaugeMetricFamily(
            "quartet_memory_budget_bytes", "What warm models may count for together."
        )
        most.add_metric([], self._pool.budget_bytes)
        sizes = CounterMetricFamily(
            "quartet_model_size", "What ran, in tokens or the like.", labels=["model", "padding"]
        )
        start = GaugeMetricFamily(
            "quartet_model_start_seconds", "What a model's start has spent its time on.",
            labels=["model", "stage"],
        )  # fmt: skip
        for model in self._pool.models():
            for stage, seconds in model.start.seconds.items():
                start.add_metric([model.row.slug, stage], seconds)
            slug = model.row.slug
            warm.add_metric([slug, model.row.surface], 1)
            waiting.add_metric([slug], model.waiting)
            budget.add_metric([slug], model.budget)
            runs.add_metric([slug], model.load.runs)
            memory.add_metric([slug], model.row.memory_bytes)
            sizes.add_metric([slug, "without"], model.load.size)
            sizes.add_metric([slug, "with"], model.load.padded_size)
        own = _counted(self._pool)
        return [warm, waiting, budget, memory, most, runs, sizes, start, *own]


def _counted(pool: Pool) -> Iterator[Metric]:
    """What engines count of their own."""
    for name, meaning in _COUNTERS.items():
        family = CounterMetricFamily(f"quartet_{name}", meaning, labels=["model"])
        for model in pool.models():
            if name in model.engine.counters:
                family.add_metric([model.row.slug], model.engine.counters[name])
        yield family
