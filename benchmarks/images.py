"""Images: the worker compared with the bare pipeline, and the effects of sharing and previews.

    .venv/bin/python -m benchmarks.images

Tiny_Flux at 256x256, 4 steps, in turns in one process:

- ``pipeline``: diffusers' own call, and a PNG of its picture in base64, as in an answer
- ``worker``: a job through ``Worker.answer``, as the queue's loop calls it
- the share of the device thread's time that two previews take in a run at 512x512; they are encoded
  in another thread
- two jobs at once compared with one after the other, each picture in its own run: how much encoding
  and upload overlap with the next picture. The store is on loopback and takes 50 ms
- 8 pictures of 64x64 at once compared with one after the other: the gain of sharing a run
- a repeated prompt compared with a new one

Then 50 mixed jobs of all kinds of images, and the memory after each. Ratios are computed within a
round; figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import io
import itertools
import json
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from benchmarks.report import figures, table
from handler.assemble import assemble
from handler.entry import Worker
from handler.settings.variables import Settings
from handler.wire import Encoded
from models.images.encoding import encode
from models.warm.model import Warm
from models.warm.ticket import NEVER

MODEL, SIDE, STEPS = "Tiny_Flux", 256, 4
GOALS = {"overhead": 1.03, "previews": 1.01, "two_at_once": 0.9, "memory_growth": 1.03}
_UPLOAD_S = 0.05  # the time that the store on loopback takes for a picture


class Bench:
    """A worker, another one that never mixes jobs, and the pipeline inside the first."""

    def __init__(self, worker: Worker, single: Worker, warm: Warm) -> None:
        self.worker, self.single, self.warm = worker, single, warm
        engine = warm.engine
        self.engine = engine
        # As in a plain script: without the engine's cache of prompts.
        self.pipeline = type(engine._first)(**engine._first.components)
        self.pipeline.set_progress_bar_config(disable=True)
        self._seeds = itertools.count(1)

    async def bare(self, prompt: str) -> float:
        """Return the seconds for a picture by diffusers, as base64.

        It runs on the worker's thread: a second thread's OpenMP team would slow down both.
        """
        device = self.warm._feeder._device
        return await asyncio.get_running_loop().run_in_executor(device, self._bare, prompt)

    def _bare(self, prompt: str) -> float:
        import torch

        start = time.perf_counter()
        made = self.pipeline(
            [prompt],
            width=SIDE,
            height=SIDE,
            num_inference_steps=STEPS,
            guidance_scale=0.0,
            max_sequence_length=256,
            generator=[torch.Generator().manual_seed(next(self._seeds))],
        ).images[0]
        json.dumps({"b64_json": base64.b64encode(encode(made, "png")).decode()})
        return time.perf_counter() - start

    async def job(self, side: int = SIDE, by: Worker | None = None, **body: Any) -> float:
        """Return the seconds for a picture by the worker."""
        asked = {
            "prompt": "a red fox",
            "size": f"{side}x{side}",
            "steps": STEPS,
            "seed": next(self._seeds),
            "output_format": "png",
            "response_format": "b64_json",
            **body,
        }
        worker = by or self.worker
        start = time.perf_counter()
        if body.get("stream"):
            events = [event async for event in worker.stream({"id": "job", "input": asked})]
            assert "error" not in events[-1], events[-1]
        else:
            answer = await worker.answer({"id": "job", "input": asked}, lambda _: None)
            assert isinstance(answer, Encoded), answer
        return time.perf_counter() - start


async def overhead(bench: Bench) -> float:
    """Return the ratio of the worker's time to the pipeline's; each prompt is new."""
    number = next(bench._seeds)
    taken = await bench.job(prompt=f"a red fox {number}")
    return taken / await bench.bare(f"a red fox {number}")


async def previews(bench: Bench) -> float:
    """Return the ratio of the device thread's time with previews to that without."""
    engine, shown = bench.engine, bench.engine._previews
    taken: list[float] = []

    def timed(*given: Any) -> Any:
        start = time.perf_counter()
        seen = shown(*given)
        taken.append(time.perf_counter() - start)
        return seen

    engine._previews = timed
    try:
        whole = await bench.job(512, stream=True, partial_images=2)
    finally:
        engine._previews = shown
    assert len(taken) == 2
    return whole / (whole - sum(taken))


async def two_at_once(bench: Bench) -> float:
    """Return the ratio of two jobs with uploads at once to one after the other."""

    def one() -> Any:
        return bench.job(by=bench.single, response_format="url")

    alone = await one() + await one()
    start = time.perf_counter()
    await asyncio.gather(one(), one())
    return (time.perf_counter() - start) / alone


async def shared(bench: Bench) -> float:
    """Return the ratio of 8 small pictures in one run to one after the other."""
    alone = sum([await bench.job(64) for _ in range(8)])
    start = time.perf_counter()
    await asyncio.gather(*(bench.job(64) for _ in range(8)))
    return (time.perf_counter() - start) / alone


async def prompts(bench: Bench) -> float:
    """Return the ratio of a repeated prompt to a new one."""
    new = await bench.job(64, prompt=f"a fox of number {next(bench._seeds)}")
    return await bench.job(64) / new


MEASURED = {
    "overhead": overhead,
    "previews": previews,
    "two_at_once": two_at_once,
    "shared": shared,
    "prompt_again": prompts,
}


async def memory(bench: Bench, jobs: int) -> tuple[float, float]:
    """Return the resident memory after 5 mixed jobs and after all of them, in bytes."""
    drawing = picture()
    bodies = [
        {"size": "128x128"},
        {"size": "200x136", "output_format": "webp"},
        {"image": drawing, "strength": 0.8},
        {"image": drawing, "mask": drawing, "strength": 0.8},
        {"size": "64x64", "n": 4, "output_format": "jpeg"},
    ]
    seen = []
    for index in range(jobs):
        await bench.job(**{"output_format": "png", **bodies[index % len(bodies)]})
        gc.collect()
        seen.append(resident())
    return seen[4], statistics.median(seen[-5:])


def picture() -> str:
    """Return a drawing as a data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_mandelbrot((128, 128), (-2, -1, 1, 1), 50).convert("RGB").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def resident() -> int:
    """Return this process's resident memory in bytes (Linux)."""
    fields = Path("/proc/self/status").read_text().split("VmRSS:")[1].split()
    return int(fields[0]) * 1024


@asynccontextmanager
async def store() -> AsyncIterator[dict[str, str]]:
    """Run a slow store on loopback; yield the variables that configure it."""

    async def put(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(_UPLOAD_S)
        return web.Response()

    application = web.Application(client_max_size=10**8)
    application.router.add_put("/{path:.*}", put)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield {
            "BUCKET_ENDPOINT_URL": f"http://127.0.0.1:{runner.addresses[0][1]}",
            "BUCKET_ACCESS_KEY_ID": "key",
            "BUCKET_SECRET_ACCESS_KEY": "secret",
            "BUCKET_NAME": "results",
        }
    finally:
        await runner.cleanup()


async def measure(rounds: int, jobs: int) -> None:
    """Run all rounds, and print the results."""
    async with store() as env:
        env |= {"SURFACE": "images", "MODEL_SLUG": MODEL, "DEVICE": "cpu"}
        worker = assemble(Settings.from_env(env))
        single = assemble(Settings.from_env({**env, "MODEL_MAX_BATCH_SIZE": "1"}))
        await _measure(worker, single, rounds, jobs)


async def _measure(worker: Worker, single: Worker, rounds: int, jobs: int) -> None:
    pool, row = worker.dispatcher.pool, worker.endpoint.pick("images", None)
    async with pool.lease(row, NEVER) as model:
        bench = Bench(worker, single, model.warm)
        for measured in MEASURED.values():  # warm: shapes, prompts, threads, the signer
            await measured(bench)
        seen: dict[str, list[float]] = {name: [] for name in MEASURED}
        for _ in range(rounds):
            for name, one in MEASURED.items():
                seen[name].append(await one(bench))
        early, late = await memory(bench, jobs)
    found = {name: statistics.median(values) for name, values in seen.items()}
    found["memory_growth"] = late / early
    table(
        ("ratio", "median", "least", "most", "goal", "met"),
        [
            (
                name,
                *(f"{figure:.3f}" for figure in (value, *_ends(seen.get(name, [value])))),
                *((f"≤ {GOALS[name]}", value <= GOALS[name]) if name in GOALS else ("", "")),
            )
            for name, value in found.items()
        ],
    )
    print(f"memory: {early / 1e6:.0f} MB after 5 jobs, {late / 1e6:.0f} MB after {jobs}")
    figures(found)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--jobs", type=int, default=50)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.jobs))


if __name__ == "__main__":
    main()
