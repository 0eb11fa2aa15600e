"""The HTTP door, served in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from handler.doors.http.protection import BodyLimits
from handler.doors.http.routes import Door
from tests.support.running import serve_worker


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_worker(FAKE_DELAY_S="0.02", REQUEST_LIMIT_BYTES="200000") as one:
        yield one


def metric(url: str, name: str, **labels: str) -> float:
    text = httpx.get(f"{url}/metrics").text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


@asynccontextmanager
async def in_process(worker: Any, **options: Any) -> AsyncIterator[tuple[Door, httpx.AsyncClient]]:
    door = Door(worker, BodyLimits(10**6), **options)
    application = door.application()
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        async with door.warming():
            yield door, client
