"""Embeddings per second: the worker compared with sentence-transformers and infinity.

    .venv/bin/python -m benchmarks.embeddings

All use the same weights and 512 texts of mixed lengths (up to 400 tokens; all read with a limit of
512), as 64 jobs of 8 and as 512 jobs of 1, all sent at once. In turns:

- ``SentenceTransformer.encode``, a call per job, in its own process
- the worker in float32, in this process: ``Worker.answer``, as the queue's loop calls it
- infinity's server, torch engine in float32, in its own environment (made at the first run)
- the worker's server (``--serve``), in float32 and in the precision that it chooses here

Ratios compare equal settings within a round; figures are medians over the rounds. The goals: the
worker 3.2 and 1.9 times ``encode``; its server 1.2 times infinity's in float32, and 1.5 times with
its own choice if the CPU has bfloat16; one short text on an idle worker within 10 % of a bare
``encode``; at most 15 % of padding.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import functools
import json
import math
import multiprocessing
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import requests
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.report import figures, table
from benchmarks.servers import infinity, install_infinity, ours
from handler.assemble import assemble
from handler.entry import Worker
from handler.settings.variables import Settings
from models.catalog import CATALOG
from models.device import hardware
from models.weights import sources
from models.weights.store import WeightsStore

MODEL = "All_MiniLM_L6_v2"
TEXTS, LONGEST = 512, 400
SHAPES = {"64x8": 8, "512x1": 1}
SHORT, CALLS = "How do I reset my password?", 60
PLAIN = {"normalize_embeddings": True, "show_progress_bar": False}
VOCABULARY = """
    time year people way day man thing woman life child world school state family student group
    country problem hand part place case week company system program question work government
    number night point home water room mother area money story fact month lot right study book
    eye job word business issue side kind head house service friend father power hour game line
"""

Run = Callable[[Sequence[Sequence[str]]], Any]


def workload() -> list[str]:
    """Return 512 texts in a fixed order: many short, few long, with log-normal lengths."""
    chance, words, texts = random.Random(7), VOCABULARY.split(), []
    while len(texts) < TEXTS:
        length = int(chance.lognormvariate(math.log(50), 1.0))
        if 3 <= length <= LONGEST - 2:  # a word is a token here, and two are special
            texts.append(" ".join(chance.choices(words, k=length)))
    return texts


@contextmanager
def longer_model() -> Iterator[tuple[Path, Path]]:
    """Yield a hub cache and folder with the model set to read 512 tokens, instead of 256."""
    row = CATALOG.find(MODEL)
    folder = WeightsStore(Settings.from_env({}).places()).resolve(row)
    key = sources.parse(row.weights).key
    inside = folder.relative_to(next(parent for parent in folder.parents if parent.name == key))
    with tempfile.TemporaryDirectory() as cache:
        copy = Path(cache) / key / inside
        shutil.copytree(folder, copy)
        config = copy / "sentence_bert_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"max_seq_length": 512}))
        yield Path(cache), copy


def in_jobs(texts: Sequence[str], size: int) -> list[list[str]]:
    """Return the texts as jobs of ``size`` each."""
    return [list(texts[at : at + size]) for at in range(0, len(texts), size)]


def over_http(url: str) -> Run:
    """Return a function that sends all jobs at once to a server; it returns vectors in order."""

    async def one(session: aiohttp.ClientSession, job: Sequence[str]) -> list[Any]:
        body = {"model": "model", "input": list(job), "encoding_format": "base64"}
        if url.endswith("/v1/embeddings"):
            body["model"] = MODEL
        async with session.post(url, json=body) as response:
            data = (await response.json())["data"]
        return [np.frombuffer(base64.b64decode(item["embedding"]), np.float32) for item in data]

    async def run(jobs: Sequence[Sequence[str]]) -> Any:
        timeout = aiohttp.ClientTimeout(600)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            answers = await asyncio.gather(*(one(session, job) for job in jobs))
        return np.concatenate(answers)

    return lambda jobs: asyncio.run(run(jobs))


@functools.cache
def library(folder: Path) -> Any:
    """Load the model with sentence-transformers, once per process."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def encode(folder: Path, jobs: Sequence[Sequence[str]]) -> Any:
    """Return the vectors of ``encode``, job by job."""
    model = library(folder)
    return np.concatenate([model.encode(list(job), **PLAIN) for job in jobs])


def encode_s(folder: Path) -> float:
    """Return the seconds for one short text."""
    model, start = library(folder), time.perf_counter()
    model.encode([SHORT], **PLAIN)
    return time.perf_counter() - start


def elsewhere() -> ProcessPoolExecutor:
    """Return an executor with a process that runs none of our code."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def in_process(runner: asyncio.Runner, worker: Worker) -> Run:
    """Return a function that sends all jobs at once to a worker in this process."""

    async def one(job: Sequence[str]) -> list[Any]:
        body = {"input": list(job), "encoding_format": "base64"}
        answer = await worker.answer({"id": "j", "input": body})
        data = json.loads(answer.content)["data"]
        return [np.frombuffer(base64.b64decode(item["embedding"]), np.float32) for item in data]

    async def run(jobs: Sequence[Sequence[str]]) -> Any:
        return np.concatenate(await asyncio.gather(*(one(job) for job in jobs)))

    return lambda jobs: runner.run(run(jobs))


def measure(contestants: dict[str, Run], rounds: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the seconds by contestant and shape, and each one's least cosine to ``encode``."""
    texts = workload()
    for run in contestants.values():
        run(in_jobs(texts[:64], 8))  # warms up, not counted
    seconds: dict[str, Any] = {name: {shape: [] for shape in SHAPES} for name in contestants}
    cosine: dict[str, float] = {}
    for _ in range(rounds):
        for shape, size in SHAPES.items():
            vectors = {}
            for name, run in contestants.items():
                start = time.perf_counter()
                vectors[name] = run(in_jobs(texts, size))
                seconds[name][shape].append(time.perf_counter() - start)
            for name, found in vectors.items():
                least = float((found * vectors["encode"]).sum(axis=1).min())
                cosine[name] = min(least, cosine.get(name, 1.0))
    return seconds, cosine


def ratio(seconds: dict[str, Any], slow: str, fast: str, shape: str) -> float:
    """Return the median over the rounds of how many times as fast ``fast`` is."""
    pairs = zip(seconds[slow][shape], seconds[fast][shape], strict=True)
    return statistics.median(ours / other for ours, other in pairs)


def padding_waste(url: str) -> float:
    """Return the ratio of padded to real tokens of all a worker's runs, from its metrics."""
    text = requests.get(url.replace("/v1/embeddings", "/metrics"), timeout=60).text
    sizes = {
        sample.labels["padding"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "quartet_model_size_total"
    }
    return sizes["with"] / sizes["without"]


def latency(runner: asyncio.Runner, worker: Worker, bare: Callable[[], float]) -> dict[str, float]:
    """Measure one short text, in turns by the idle worker and by ``encode``."""
    job = {"id": "j", "input": {"input": SHORT, "encoding_format": "base64"}}

    async def both() -> tuple[list[float], list[float]]:
        times: tuple[list[float], list[float]] = ([], [])
        await worker.answer(job)
        for _ in range(CALLS):
            start = time.perf_counter()
            await worker.answer(job)
            times[0].append(time.perf_counter() - start)
            times[1].append(bare())
        return times

    worker_s, bare_s = runner.run(both())
    p95 = round(0.95 * CALLS) - 1
    return {
        "latency_ms_p50": statistics.median(worker_s) * 1000,
        "latency_ms_p50_encode": statistics.median(bare_s) * 1000,
        "latency_ratio_p50": statistics.median(worker_s) / statistics.median(bare_s),
        "latency_ratio_p95": sorted(worker_s)[p95] / sorted(bare_s)[p95],
    }


def contest(rounds: int) -> dict[str, float]:
    """Run all measurements, print the table, and return named figures."""
    with ExitStack() as around, ExitStack() as servers:
        cache, folder = around.enter_context(longer_model())
        process = around.enter_context(elsewhere())
        runner = around.enter_context(asyncio.Runner())
        env = {"SURFACE": "embeddings", "MODEL_SLUG": MODEL, "QUARTET_CACHE": str(cache)}
        exact = servers.enter_context(ours(**env, DTYPE="float32"))
        chosen = servers.enter_context(ours(**env))
        other = servers.enter_context(infinity(folder))
        worker = assemble(Settings.from_env({**env, "DEVICE": "cpu", "DTYPE": "float32"}))
        contestants = {
            "encode": lambda jobs: process.submit(encode, folder, jobs).result(),
            "worker": in_process(runner, worker),
            "infinity": over_http(other),
            "server": over_http(exact),
            "server, own choice": over_http(chosen),
        }
        seconds, cosine = measure(contestants, rounds)
        waste = padding_waste(exact)
        servers.close()
        latencies = latency(runner, worker, lambda: process.submit(encode_s, folder).result())
    rows = [
        [
            name,
            *(f"{TEXTS / statistics.median(times):.0f}" for times in shapes.values()),
            f"{cosine[name]:.5f}",
        ]
        for name, shapes in seconds.items()
    ]
    table(["texts/s", *SHAPES, "least cosine"], rows)
    named: dict[str, float] = {}
    for shape in SHAPES:
        named[f"ratio_encode_{shape}"] = ratio(seconds, "encode", "worker", shape)
        named[f"ratio_infinity_{shape}"] = ratio(seconds, "infinity", "server", shape)
        chosen_ratio = ratio(seconds, "infinity", "server, own choice", shape)
        named[f"ratio_infinity_{shape}_own_choice"] = chosen_ratio
    named |= {
        "texts_per_s": TEXTS / statistics.median(seconds["worker"]["64x8"]),
        "texts_per_s_own_choice": TEXTS / statistics.median(seconds["server, own choice"]["64x8"]),
        "padding_waste": waste,
        "cosine_least": min(cosine["worker"], cosine["server"]),
        "cosine_least_own_choice": cosine["server, own choice"],
    }
    return named | latencies


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embeddings")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    install_infinity()
    named = contest(arguments.rounds)
    goals = {
        "ratio_encode_64x8": 3.2,
        "ratio_encode_512x1": 1.9,
        "ratio_infinity_64x8": 1.2,
        "ratio_infinity_512x1": 1.2,
        "cosine_least": 0.9999,
    }
    if hardware.detect("cpu").bf16:
        goals |= {f"ratio_infinity_{shape}_own_choice": 1.5 for shape in SHAPES}
    limits = {"padding_waste": 1.15, "latency_ratio_p50": 1.1, "latency_ratio_p95": 1.1}
    print()
    rows = [
        [key, f"{named[key]:.2f}", f"≥ {goal}", named[key] >= goal] for key, goal in goals.items()
    ]
    rows += [
        [key, f"{named[key]:.2f}", f"≤ {most}", named[key] <= most] for key, most in limits.items()
    ]
    table(["figure", "measured", "goal", "met"], rows)
    figures(named)


if __name__ == "__main__":
    main()
