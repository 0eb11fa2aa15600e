"""The cost of a thousand requests: seconds of a worker, times a price.

    .venv/bin/python -m benchmarks.costs --url http://127.0.0.1:8000 --price 0.00031 [--at-once 16]
    .venv/bin/python -m benchmarks.costs --each-s 0.05 --price 0.00031

With ``--url``, a worker that serves over HTTP gets the examples of its own /openapi.json,
``--at-once`` at a time for ``--seconds``. With ``--each-s``, the seconds that a busy worker needs
per request are given. ``--price`` is in dollars per second.

A worker is paid for from its start to its stop: for ``--cold-s`` before its first request, while it
computes, and while it waits for the next request, ``--idle-s`` at most.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.report import figures, table

BUSY = 2 / 3  # the largest utilisation of a worker: beyond, queues grow without limit
AN_HOUR = (10, 100, 1_000, 10_000, 100_000)


@dataclass(frozen=True)
class Terms:
    """The terms of payment.

    Attributes:
        price: dollars per second.
        cold_s: seconds from a worker's start to its first request.
        idle_s: seconds that it waits for another request before it is stopped.
    """

    price: float
    cold_s: float
    idle_s: float

    def paid_s(self, each_s: float, an_hour: float) -> float:
        """Return the seconds that are paid for per request, if requests arrive at random.

        At a low rate, one worker serves: the pauses between requests are exponentially
        distributed. The worker waits through pauses up to ``idle_s``; a longer pause costs
        ``idle_s`` and a cold start. At a rate above the capacity of one worker, as many run as are
        needed for a utilisation of two thirds.

        Args:
            each_s: seconds of a busy worker per request.
            an_hour: requests per hour.
        """
        between_s = 3600 / an_hour
        if each_s > BUSY * between_s:
            return each_s / BUSY
        pause_s = between_s - each_s
        lost = math.exp(-self.idle_s / pause_s)  # the share of pauses that end the worker
        return each_s + pause_s * (1 - lost) + self.cold_s * lost

    def thousand(self, each_s: float, an_hour: float) -> float:
        """Return the dollars of a thousand requests."""
        return 1000 * self.price * self.paid_s(each_s, an_hour)


def examples(url: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each route of a worker with an example body, once for each kind of request."""
    seen = set()
    api = httpx.get(f"{url}/openapi.json", timeout=60).raise_for_status().json()
    for path, methods in api["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        body = content.get("application/json", {})
        # Use only the first of several paths of an operation.
        kind = methods.get("post", {}).get("description"), str(body.get("example"))
        if "example" in body and kind not in seen and "audioUrl" not in body["example"]:
            seen.add(kind)
            yield path, body["example"]


async def measured(url: str, body: Mapping[str, Any], at_once: int, seconds: float) -> float:
    """Return the seconds of a busy worker per request.

    Raises:
        httpx.HTTPStatusError: the request is refused.
    """
    done = 0
    async with httpx.AsyncClient(timeout=600) as client:
        (await client.post(url, json=body)).raise_for_status()
        start = time.perf_counter()

        async def ask() -> None:
            nonlocal done
            while time.perf_counter() - start < seconds:
                (await client.post(url, json=body)).raise_for_status()
                done += 1

        await asyncio.gather(*(ask() for _ in range(at_once)))
        return (time.perf_counter() - start) / done


def each(given: argparse.Namespace) -> dict[str, float]:
    """Return the seconds per request, for each kind of request."""
    if given.each_s is not None:
        return {"given": given.each_s}
    found = {}
    for path, body in examples(given.url):
        try:
            took = measured(given.url + path, body, given.at_once, given.seconds)
            found[path] = asyncio.run(took)
        except httpx.HTTPStatusError as error:
            print(f"{path}: {error.response.status_code}, left out")
    return found


def main() -> None:
    """Measure, or use the given seconds, and print the costs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--url", help="of a worker that serves")
    source.add_argument("--each-s", type=float, help="seconds of a busy worker for one request")
    parser.add_argument("--price", type=float, required=True, help="dollars a second")
    parser.add_argument("--at-once", type=int, default=16, help="requests at a time")
    parser.add_argument("--seconds", type=float, default=20, help="for each kind of request")
    parser.add_argument("--cold-s", type=float, default=20, help="a cold start")
    parser.add_argument("--idle-s", type=float, default=5, help="the idle timeout")
    given = parser.parse_args()
    terms = Terms(given.price, given.cold_s, given.idle_s)
    found = each(given)
    rows = [
        [path, f"{1 / took:.2f}", f"{took:.3f}", f"{1000 * terms.price * took / BUSY:.4f}"]
        + [f"{terms.thousand(took, rate):.4f}" for rate in AN_HOUR]
        for path, took in found.items()
    ]
    head = ["request", "a second", "seconds each", "$/1000 busy"]
    table([*head, *(f"at {rate:,}/h" for rate in AN_HOUR)], rows)
    print(f"at ${terms.price:g} a second, {terms.cold_s:g} s to start, {terms.idle_s:g} s idle")
    figures({f"seconds {path}": took for path, took in found.items()})


if __name__ == "__main__":
    main()
