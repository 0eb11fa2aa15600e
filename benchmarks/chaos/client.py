"""Brings a job to its end by the route of its plan, as the clients of that route do.

A job that the platform does not know any more was lost with the platform; the client notes it and
stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx
import openai
import runpod

from benchmarks.chaos.checker import FINAL
from benchmarks.chaos.gallery import body
from benchmarks.chaos.history import History
from benchmarks.chaos.observer import GIVE_UP_S, PAUSE_S, POLL_S, Gone, Observer
from benchmarks.chaos.plans import Plan

_OPENAI = {
    "chat": "/chat/completions",
    "images": "/images/generations",
    "transcribe": "/audio/transcriptions",
    "speech": "/audio/speech",
    "music": "/audio/music",
    "embeddings": "/embeddings",
}


class Client(Observer):
    """The clients of a run."""

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
            async with asyncio.timeout(GIVE_UP_S):
                await ways[plan.way](history)
        except Gone:
            self._note(history, "gone")
        except TimeoutError:
            self._note(history, "left", f"after {GIVE_UP_S:.0f} s")
        return history

    async def _run(self, history: History) -> None:
        plan = history.plan
        content: dict[str, Any] = {"input": body(plan.body, self._media, self._most_tokens)}
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
                await asyncio.sleep(PAUSE_S)

    async def _runsync(self, history: History) -> None:
        path = f"/v2/{history.plan.surface}/runsync"
        content = {"input": body(history.plan.body, self._media, self._most_tokens)}
        view = await self._send(history, "POST", f"{path}?wait=8000", json=content)
        job_id = self._accepted(history, view["id"])
        if await self._seen(history, view) not in FINAL:
            await self._follow(history, job_id)

    async def _gateway(self, history: History) -> None:
        surface = history.plan.surface
        content = body(history.plan.body, self._media, self._most_tokens)
        if history.plan.webhook:
            content["webhook_url"] = f"{self._hook}/hook"
        job_id = await self._accept(history, "/v1" + _OPENAI[surface], content)
        path = f"/v1/jobs/{surface}/{job_id}"
        status = ""
        while status not in FINAL:
            status = await self._seen(history, await self._send(history, "GET", path))
            await asyncio.sleep(POLL_S)

    async def _runpod(self, history: History) -> None:
        """By the ``runpod`` package, which sends a failed request again by itself."""
        runpod.endpoint_url_base = f"{self._url}/v2"
        content = body(history.plan.body, self._media, self._most_tokens)
        async with aiohttp.ClientSession() as session:
            while not history.of("accepted"):
                try:
                    endpoint = runpod.AsyncioEndpoint(history.plan.surface, session, "chaos")
                    job = await endpoint.run(content)
                    self._accepted(history, job.job_id)
                except (aiohttp.ClientError, OSError, KeyError, ValueError) as error:
                    self._note(history, "broken", f"runpod {type(error).__name__}")
                    await asyncio.sleep(PAUSE_S)
        await self._follow(history, history.of("accepted")[-1].value)

    def _client(self, surface: str) -> openai.AsyncOpenAI:
        if surface not in self._openai:
            url = f"{self._url}/v2/{surface}/openai/v1"
            self._openai[surface] = openai.AsyncOpenAI(
                base_url=url, api_key="chaos", max_retries=0, timeout=GIVE_UP_S
            )
        return self._openai[surface]

    async def _through_openai(self, history: History) -> None:
        """By the ``openai`` package: one request, which is the whole life of its job."""
        client, surface = self._client(history.plan.surface), history.plan.surface
        content = body(history.plan.body, self._media, self._most_tokens)
        while True:
            try:
                output = await client.post(_OPENAI[surface], body=content, cast_to=object)
            except openai.OpenAIError as error:
                self._note(history, "broken", f"openai {type(error).__name__}: {str(error)[:120]}")
                await asyncio.sleep(PAUSE_S)
            else:
                output = await self._whole(history, output)
                ended = {"status": "COMPLETED", "output": output, "error": None}
                self._note(history, "ended", ended)
                return

    async def _streamed(self, history: History) -> None:
        """By the ``openai`` package, as server-sent events."""
        client = self._client("chat")
        content = {**body(history.plan.body, self._media, self._most_tokens), "stream": True}
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
            await asyncio.sleep(PAUSE_S)
