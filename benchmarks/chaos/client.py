"""Brings a job to its end by the route of its plan, and notes what the client sees.

A client sends a request again that failed, as the SDKs do. A job that the platform does not know
any more was lost with the platform; the client notes it and stops.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import httpx
import openai
import runpod

from benchmarks.chaos.answers import normal
from benchmarks.chaos.checker import FINAL
from benchmarks.chaos.gallery import body
from benchmarks.chaos.history import Event, History
from benchmarks.chaos.plans import Plan

KEY = {"Authorization": "Bearer chaos"}
_POLL_S, _PAUSE_S, _REQUEST_S = 0.3, 0.5, 20.0
_GIVE_UP_S = 300.0
_OPENAI = {
    "chat": "/chat/completions",
    "images": "/images/generations",
    "transcribe": "/audio/transcriptions",
    "speech": "/audio/speech",
    "embeddings": "/embeddings",
}


class Gone(Exception):
    """The platform does not know the job."""


class Client:
    """The clients of a run.

    Args:
        url: the platform's address, through the clients' proxy.
        media_url: the media server's address, as the workers reach it.
        hook_url: where webhooks go.
        origin: ``time.monotonic`` at the start of the load.
    """

    def __init__(self, url: str, media_url: str, hook_url: str, origin: float) -> None:
        self._url, self._media, self._hook = url, media_url, hook_url
        self._origin = origin
        self._http = httpx.AsyncClient(base_url=url, headers=KEY, timeout=_REQUEST_S)
        self._files = httpx.AsyncClient(timeout=_REQUEST_S)
        self._openai: dict[str, openai.AsyncOpenAI] = {}
        self.jobs: dict[str, History] = {}
        self._early: dict[str, list[Event]] = {}

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()
        await self._files.aclose()
        for client in self._openai.values():
            await client.close()

    def restart_clock(self) -> None:
        """Let the time of the run begin now."""
        self._origin = time.monotonic()

    def now_s(self) -> float:
        """Return the seconds since the start of the load."""
        return time.monotonic() - self._origin

    def hook(self, job_id: str, value: dict[str, Any]) -> None:
        """Note a webhook; it may come before the answer that names its job."""
        event = Event(self.now_s(), "webhook", value)
        if job_id in self.jobs:
            self.jobs[job_id].events.append(event)
        else:
            self._early.setdefault(job_id, []).append(event)

    async def drive(self, plan: Plan) -> History:
        """Bring a job to its end."""
        history = History(plan)
        ways: dict[str, Callable[[History], Any]] = {
            "run": self._run,
            "stream": self._run,
            "runsync": self._runsync,
            "runpod": self._runpod,
            "gateway": self._gateway,
            "openai": self._through_openai,
            "openai stream": self._streamed,
        }
        try:
            async with asyncio.timeout(_GIVE_UP_S):
                await ways[plan.way](history)
        except Gone:
            self._note(history, "gone")
        except TimeoutError:
            self._note(history, "left", f"after {_GIVE_UP_S:.0f} s")
        return history

    async def look_again(self, history: History) -> None:
        """Read a job's status once more, when the run is over."""
        for event in history.of("accepted"):
            with suppress(Gone):
                await self._look(history, event.value, ends=True)

    def _note(self, history: History, kind: str, value: Any = None) -> None:
        history.events.append(Event(self.now_s(), kind, value))

    async def _send(self, history: History, method: str, path: str, **options: Any) -> Any:
        """Send a request until it is answered; return the JSON of the answer.

        Raises:
            Gone: 404.
        """
        while True:
            try:
                answer = await self._http.request(method, path, **options)
                if answer.status_code == 404:
                    raise Gone
                if answer.status_code < 400:
                    return answer.json()
                if answer.status_code == 400:
                    return {"refused": answer.text}
                self._note(history, "broken", f"{path.split('/')[-2]}: {answer.status_code}")
            except (httpx.HTTPError, ValueError) as error:
                self._note(history, "broken", f"{method} {type(error).__name__}")
            await asyncio.sleep(_PAUSE_S)

    async def _accept(self, history: History, path: str, content: dict[str, Any]) -> str:
        answer = await self._send(history, "POST", path, json=content)
        return self._accepted(history, answer["id"])

    def _accepted(self, history: History, job_id: str) -> str:
        self.jobs[job_id] = history
        self._note(history, "accepted", job_id)
        history.events += self._early.pop(job_id, [])
        return job_id

    async def _run(self, history: History) -> None:
        plan = history.plan
        content: dict[str, Any] = {"input": body(plan.body, self._media)}
        if plan.way == "stream":
            content["input"]["stream"] = True
        if plan.webhook:
            content["webhook"] = f"{self._hook}/hook"
        job_id = await self._accept(history, f"/v2/{plan.surface}/run", content)
        cancelling = asyncio.ensure_future(self._cancel(history, job_id))
        try:
            if plan.way == "stream":
                await self._read_stream(history, job_id, cancelling)
            await cancelling
            await self._follow(history, job_id)
        finally:
            cancelling.cancel()

    async def _cancel(self, history: History, job_id: str) -> None:
        """Cancel a job, and queue it again, if that is planned."""
        plan, path = history.plan, f"/v2/{history.plan.surface}"
        if plan.cancel_after_s is None:
            return
        await asyncio.sleep(plan.cancel_after_s)
        answer = await self._send(history, "POST", f"{path}/cancel/{job_id}")
        self._note(history, "cancel", answer["status"])
        if plan.retried and answer["status"] == "CANCELLED":
            answer = await self._send(history, "POST", f"{path}/retry/{job_id}")
            # An earlier request whose answer was lost may have queued it again.
            self._note(history, "retry", answer.get("status", "again"))

    async def _read_stream(
        self, history: History, job_id: str, cancelling: asyncio.Future[None]
    ) -> None:
        """Read ``/stream`` until the job is final, and whatever its client plans is done."""
        path = f"/v2/{history.plan.surface}/stream/{job_id}"
        while True:
            done = cancelling.done()
            answer = await self._send(history, "GET", path)
            for piece in answer["stream"]:
                self._note(history, "event", piece["output"])
            if answer["status"] in FINAL and not answer["stream"]:
                if done:
                    return
                await asyncio.sleep(_PAUSE_S)

    async def _look(self, history: History, job_id: str, *, ends: bool = False) -> str:
        path = f"/v2/{history.plan.surface}/status/{job_id}"
        return await self._seen(history, await self._send(history, "GET", path), ends=ends)

    async def _seen(self, history: History, view: dict[str, Any], *, ends: bool = True) -> str:
        status = str(view["status"])
        if status in FINAL and ends:
            output = await self._whole(history, view.get("output"))
            ended = {"status": status, "output": output, "error": view.get("error")}
            self._note(history, "ended", ended)
        elif status not in FINAL:
            self._note(history, "status", status)
        return status

    async def _follow(self, history: History, job_id: str) -> None:
        while await self._look(history, job_id, ends=True) not in FINAL:  # noqa: ASYNC110 - polls
            await asyncio.sleep(_POLL_S)

    async def _runsync(self, history: History) -> None:
        path = f"/v2/{history.plan.surface}/runsync"
        content = {"input": body(history.plan.body, self._media)}
        view = await self._send(history, "POST", f"{path}?wait=8000", json=content)
        job_id = self._accepted(history, view["id"])
        if await self._seen(history, view) not in FINAL:
            await self._follow(history, job_id)

    async def _gateway(self, history: History) -> None:
        surface = history.plan.surface
        content = body(history.plan.body, self._media)
        if history.plan.webhook:
            content["webhook_url"] = f"{self._hook}/hook"
        job_id = await self._accept(history, "/v1" + _OPENAI[surface], content)
        path = f"/v1/jobs/{surface}/{job_id}"
        status = ""
        while status not in FINAL:
            status = await self._seen(history, await self._send(history, "GET", path))
            await asyncio.sleep(_POLL_S)

    async def _runpod(self, history: History) -> None:
        """By the ``runpod`` package, which sends a failed request again by itself."""
        runpod.endpoint_url_base = f"{self._url}/v2"
        content = body(history.plan.body, self._media)
        async with aiohttp.ClientSession() as session:
            while not history.of("accepted"):
                try:
                    endpoint = runpod.AsyncioEndpoint(history.plan.surface, session, "chaos")
                    job = await endpoint.run(content)
                    self._accepted(history, job.job_id)
                except (aiohttp.ClientError, OSError, KeyError, ValueError) as error:
                    self._note(history, "broken", f"runpod {type(error).__name__}")
                    await asyncio.sleep(_PAUSE_S)
        await self._follow(history, history.of("accepted")[-1].value)

    def _client(self, surface: str) -> openai.AsyncOpenAI:
        if surface not in self._openai:
            url = f"{self._url}/v2/{surface}/openai/v1"
            self._openai[surface] = openai.AsyncOpenAI(
                base_url=url, api_key="chaos", max_retries=0, timeout=_GIVE_UP_S
            )
        return self._openai[surface]

    async def _through_openai(self, history: History) -> None:
        """By the ``openai`` package: one request, which is the whole life of its job."""
        client, surface = self._client(history.plan.surface), history.plan.surface
        content = body(history.plan.body, self._media)
        while True:
            try:
                output = await client.post(_OPENAI[surface], body=content, cast_to=object)
            except openai.OpenAIError as error:
                self._note(history, "broken", f"openai {type(error).__name__}: {str(error)[:120]}")
                await asyncio.sleep(_PAUSE_S)
            else:
                output = await self._whole(history, output)
                ended = {"status": "COMPLETED", "output": output, "error": None}
                self._note(history, "ended", ended)
                return

    async def _streamed(self, history: History) -> None:
        """By the ``openai`` package, as server-sent events."""
        client = self._client("chat")
        content = {**body(history.plan.body, self._media), "stream": True}
        while True:
            text, finished = "", False
            try:
                stream = await client.chat.completions.create(**content, model="")
                async for chunk in stream:
                    for choice in chunk.choices:
                        text += choice.delta.content or ""
                        finished = finished or choice.finish_reason is not None
            except (openai.OpenAIError, httpx.HTTPError) as error:
                self._note(history, "broken", f"stream {type(error).__name__}: {str(error)[:120]}")
            else:
                if finished:
                    self._note(history, "text", text)
                    return
                self._note(history, "broken", "the stream has no end")
            await asyncio.sleep(_PAUSE_S)

    async def _whole(self, history: History, output: Any) -> Any:
        """Return an answer in which the files of the bucket stand for their addresses."""
        return normal(await self._fetched(history, output))

    async def _fetched(self, history: History, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: await self._fetched(history, each) for name, each in value.items()}
        if isinstance(value, list):
            return [await self._fetched(history, each) for each in value]
        if isinstance(value, str) and value.startswith("http://"):
            return await self._file(history, value)
        return value

    async def _file(self, history: History, url: str) -> str:
        for _ in range(60):
            with suppress(httpx.HTTPError):
                answer = await self._files.get(url)
                if answer.status_code == 200:
                    return f"file {hashlib.sha256(answer.content).hexdigest()}"
                if answer.status_code == 404:
                    return "no file"
            await asyncio.sleep(_PAUSE_S)
        return "a file that cannot be read"
