"""``/metrics`` of the platform: its queues, and what each worker says of itself."""

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
    """All of it in Prometheus' text format; a worker's own has the label ``worker``."""
    asked = [worker for worker in platform.workers.values() if worker.metrics_port is not None]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_TIMEOUT_S)) as session:
        told = await asyncio.gather(*(_ask(session, worker) for worker in asked))
    families: dict[str, Metric] = {queue.name: queue for queue in _queues(platform)}
    for worker, said in zip(asked, told, strict=True):
        for family in said:
            whole = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                labels = {**sample.labels, "worker": worker.id}
                whole.add_sample(sample.name, labels, sample.value)
    content = generate_latest(_Found(families.values()))
    return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _ask(session: aiohttp.ClientSession, worker: Worker) -> list[Metric]:
    """What a worker says; nothing where it is not there yet, or somebody else is in its place."""
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


class _Found(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
