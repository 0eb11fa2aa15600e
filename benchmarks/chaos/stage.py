"""A run: starts everything, sends the load under faults, and returns the record."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.chaos import leftovers, servers
from benchmarks.chaos.client import Client
from benchmarks.chaos.faults import Injector
from benchmarks.chaos.gallery import BODIES, SURFACES
from benchmarks.chaos.history import History, Record, Slot
from benchmarks.chaos.observer import KEY
from benchmarks.chaos.plans import Fault, Plan
from benchmarks.chaos.processes import PlatformProcess, WorkerSlot, unmount
from benchmarks.chaos.proxy import Link
from local.environment import clean

_START_S = 240.0
_SLOT_JOBS, _SMALL_SLOT_JOBS = 24, 8
_TOKENS = 8  # of an answer of a small model, which takes its time
_SLOT_WAIT_S = 10.0
_QUIET_S = 180.0


@dataclass(frozen=True)
class Options:
    """A run's configuration.

    Attributes:
        seed: of the proxies.
        workers: how many workers there are.
        at_once: how many jobs the clients have at a time.
        fake: whether the workers have engines without weights.
        folder: for logs and temporary files.
    """

    seed: int
    workers: int
    at_once: int
    fake: bool
    folder: Path


class Stage:
    """All processes, servers and proxies of a run."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.platform = PlatformProcess(options.folder / "platform.log")
        self.links: dict[str, Link] = {}
        self.workers: list[WorkerSlot] = []
        self._stack = AsyncExitStack()
        self.client: Client

    async def start(self) -> None:
        """Start everything, and wait until all workers take jobs."""
        await self.platform.start()
        store = servers.Bucket()
        self._stack.callback(store.stop)
        ports = {"client": self.platform.port, "bucket": store.port}
        ports["media"] = await self._serve(servers.media())
        hooks = servers.Receiver(lambda job_id, value: self.client.hook(job_id, value))
        hook_port = await self._serve(hooks.application())
        names = [f"worker {number}" for number in range(self._options.workers)]
        for name, port in [*ports.items(), *((name, self.platform.port) for name in names)]:
            link = self.links[name] = Link(name, port, self._options.seed)
            await link.start()
            self._stack.push_async_callback(link.close)
        self.client = Client(
            self.links["client"].url,
            self.links["media"].url,
            f"http://127.0.0.1:{hook_port}",
            None if self._options.fake else _TOKENS,
        )
        self._stack.push_async_callback(self.client.close)
        self.workers = [
            WorkerSlot(
                number, self.links[name], self._options.folder, self._env(), self.platform.token
            )
            for number, name in enumerate(names)
        ]
        self.keeping = [asyncio.create_task(worker.keep()) for worker in self.workers]
        await self.ready()

    async def _serve(self, application: object) -> int:
        runner, port = await servers.serve(application)  # type: ignore[arg-type]
        self._stack.push_async_callback(runner.cleanup)
        return port

    def _env(self) -> dict[str, str]:
        env = {k: v for k, v in clean(os.environ).items() if not k.startswith(("MODEL", "SURFACE"))}
        env |= {
            "DEVICE": "cpu",
            "SURFACE": ",".join(SURFACES),
            "CONCURRENCY": "16",
            "MEDIA_PRIVATE_HOSTS": "localhost",
            "OMP_NUM_THREADS": "1",
            "BUCKET_ENDPOINT_URL": self.links["bucket"].url,
            "BUCKET_ACCESS_KEY_ID": "key-id",
            "BUCKET_SECRET_ACCESS_KEY": "hush",
            "BUCKET_NAME": servers.BUCKET,
        }
        if self._options.fake:
            return env | {"FAKE_ENGINES": "1", "FAKE_DELAY_S": "0.002"}
        # In bfloat16, the rounding of a run with others decides between two words at times.
        return env | {"DTYPE": "float32"}

    async def ready(self) -> None:
        """Wait until all workers take jobs."""
        async with asyncio.timeout(_START_S), httpx.AsyncClient(headers=KEY) as http:
            while True:
                answer = await http.get(f"{self.platform.url}/v2/chat/health")
                if answer.json()["workers"]["ready"] >= len(self.workers):
                    return
                await asyncio.sleep(0.2)

    async def expected(self) -> dict[str, list[object]]:
        """Return the answers to each body without faults, alone and among others."""
        crowds = (self._options.at_once,) if self._options.fake else (1, 4, self._options.at_once)
        runs = [await self._answers(at_once) for at_once in crowds]
        return {name: [run[name] for run in runs] for name in BODIES}

    async def _answers(self, at_once: int) -> dict[str, object]:
        surfaces = {name: name.split()[0] for name in BODIES}
        plans = [Plan(n, surfaces[name], name, "runsync") for n, name in enumerate(BODIES)]
        histories = await self.load(plans, at_once)
        wrong = [h for h in histories if not h.of("ended") or h.of("ended")[-1].value["error"]]
        if wrong:
            raise RuntimeError(f"{wrong[0].plan.body} fails without faults: {wrong[0].events[-1]}")
        return {h.plan.body: h.of("ended")[-1].value["output"] for h in histories}

    async def load(self, plans: Iterable[Plan], at_once: int | None = None) -> list[History]:
        """Bring all jobs to their ends, some at a time."""
        waiting, histories = iter(list(plans)), list[History]()

        async def one_after_another() -> None:
            for plan in waiting:
                histories.append(await self.client.drive(plan))

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once or self._options.at_once):
                group.create_task(one_after_another())
        return histories

    async def slot(self) -> Slot:
        """Cancel jobs that run, and measure how long workers keep them.

        A worker of all surfaces loads a model at its first job. All jobs have begun to answer when
        they are cancelled, so no worker loads one then.
        """
        content = "x" * 4000 if self._options.fake else "Count to a thousand."
        jobs = _SLOT_JOBS if self._options.fake else _SMALL_SLOT_JOBS
        messages = [{"role": "user", "content": content}]
        body = {"messages": messages, "max_tokens": 1500, "stream": True}
        async with httpx.AsyncClient(base_url=self.platform.url, headers=KEY, timeout=30) as http:
            sent = [http.post("/v2/chat/run", json={"input": body}) for _ in range(jobs)]
            ids = [answer.json()["id"] for answer in await asyncio.gather(*sent)]
            async with asyncio.timeout(_START_S):
                await asyncio.gather(*(_begun(http, job_id) for job_id in ids))
            await asyncio.gather(*(http.post(f"/v2/chat/cancel/{job_id}") for job_id in ids))
            cancelled_s = self.client.now_s()
            while await self._in_flight(http):
                if self.client.now_s() > cancelled_s + _SLOT_WAIT_S:
                    return Slot(cancelled_s, None)
                await asyncio.sleep(0.05)
            return Slot(cancelled_s, self.client.now_s())

    async def _in_flight(self, http: httpx.AsyncClient) -> float:
        lives = [worker.lives[-1] for worker in self.workers]
        return sum(await asyncio.gather(*(leftovers.in_flight(http, life) for life in lives)))

    async def open_jobs(self) -> dict[str, int]:
        """Return the jobs of each endpoint, once there are none, or after a while."""
        end = time.monotonic() + _QUIET_S
        async with httpx.AsyncClient(base_url=self.platform.url, headers=KEY, timeout=30) as http:
            while True:
                answers = [await http.get(f"/v2/{surface}/health") for surface in SURFACES]
                jobs = [answer.json()["jobs"] for answer in answers]
                counts = [job["inQueue"] + job["inProgress"] for job in jobs]
                if not any(counts) or time.monotonic() > end:
                    return dict(zip(SURFACES, counts, strict=True))
                await asyncio.sleep(0.5)

    async def close(self) -> list[str]:
        """End everything; return what is left."""
        left = await leftovers.end_all(self.workers)
        await asyncio.gather(*self.keeping, return_exceptions=True)
        await self.platform.end(signal.SIGTERM)
        await self._stack.aclose()
        for worker in self.workers:
            for life in worker.lives:
                unmount(life.folder)
        return left


async def _begun(http: httpx.AsyncClient, job_id: str) -> None:
    """Wait until a job of chat has had an event."""
    while not (await http.get(f"/v2/chat/stream/{job_id}")).json()["stream"]:  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def play(options: Options, plans: Sequence[Plan], schedule: Sequence[Fault]) -> Record:
    """Run the load under the faults, and return what happened."""
    stage = Stage(options)
    record = Record([], {})
    try:
        await stage.start()
        record.expected = await stage.expected()
        slots = [await stage.slot()]
        await asyncio.sleep(2)
        stage.client.restart_clock()
        named = {worker.name: worker for worker in stage.workers}
        injector = Injector(stage.links, named, stage.platform, stage.client.now_s)
        breaking = asyncio.create_task(injector.carry_out(schedule))
        record.histories = await stage.load(plans)
        breaking.cancel()
        await asyncio.gather(breaking, return_exceptions=True)
        record.spans, record.leftovers = injector.spans, injector.unended
        await stage.ready()
        record.open_jobs = await stage.open_jobs()
        for history in record.histories:
            await stage.client.look_again(history)
        await asyncio.sleep(4)  # the last webhooks, tries included
        slots.append(await stage.slot())
        record.slots = slots
        record.leftovers = [*record.leftovers, *await leftovers.held(stage.workers)]
    finally:
        record.leftovers = [*record.leftovers, *await stage.close()]
    return record
