"""``/metrics`` of the platform: its queues, and the metrics of each worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.responses import Response

from local.queue.platform import Platform
from local.queue.workers import Worker

_TIMEOUT_S = 2.0


async def measures(platform: Platform) -> Response:
    """Return all metrics in Prometheus' text format; a worker's have the label ``worker``."""
    workers = [worker for worker in platform.workers.values() if worker.metrics_port is not None]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_TIMEOUT_S)) as session:
        scraped = await asyncio.gather(*(_scrape(session, worker) for worker in workers))
    families: dict[str, Metric] = {queue.name: queue for queue in _queues(platform)}
    for worker, metrics in zip(workers, scraped, strict=True):
        for family in metrics:
            whole = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                labels = {**sample.labels, "worker": worker.id}
                whole.add_sample(sample.name, labels, sample.value)
    content = generate_latest(_Families(families.values()))
    return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _scrape(session: aiohttp.ClientSession, worker: Worker) -> list[Metric]:
    """Return a worker's metrics; empty if it is not ready or its port is another process's."""
    try:
        url = f"http://127.0.0.1:{worker.metrics_port}/metrics"
        async with session.get(url) as answer:
            return list(text_string_to_metric_families(await answer.text())) if answer.ok else []
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return []


def _queues(platform: Platform) -> Iterable[Metric]:
    depth = GaugeMetricFamily("quartet_queue_depth", "Jobs that wait.", labels=["endpoint"])
    ended = CounterMetricFamily(
        "quartet_queue_jobs", "Jobs that have ended.", labels=["endpoint", "status"]
    )
    for name, endpoint in platform.queues.endpoints.items():
        depth.add_metric([name], len(endpoint.queue))
        for status, count in endpoint.ended.items():
            ended.add_metric([name, str(status)], count)
    return depth, ended


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
