"""The requests of clients, and the notes of what they see.

A client sends a request again that failed, as the SDKs do.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import httpx
import openai

from benchmarks.chaos.answers import content_of, normal
from benchmarks.chaos.checker import FINAL
from benchmarks.chaos.history import Event, History

KEY = {"Authorization": "Bearer chaos"}
POLL_S, PAUSE_S, _REQUEST_S = 0.3, 0.5, 20.0
GIVE_UP_S = 300.0


class Gone(Exception):
    """The platform does not know the job."""


class Observer:
    """Sends requests, and notes what comes of them.

    Args:
        url: the platform's address, through the clients' proxy.
        media_url: the media server's address, as the workers reach it.
        hook_url: where webhooks go.
        most_tokens: of a chat's answer; None = as many as the body asks for.
    """

    def __init__(
        self, url: str, media_url: str, hook_url: str, most_tokens: int | None = None
    ) -> None:
        self._url, self._media, self._hook = url, media_url, hook_url
        self._most_tokens = most_tokens
        self._origin = time.monotonic()
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
            await asyncio.sleep(PAUSE_S)

    async def _accept(self, history: History, path: str, content: dict[str, Any]) -> str:
        answer = await self._send(history, "POST", path, json=content)
        return self._accepted(history, answer["id"])

    def _accepted(self, history: History, job_id: str) -> str:
        self.jobs[job_id] = history
        self._note(history, "accepted", job_id)
        history.events += self._early.pop(job_id, [])
        return job_id

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
            await asyncio.sleep(POLL_S)

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

    async def _file(self, history: History, url: str) -> Any:
        for _ in range(60):
            with suppress(httpx.HTTPError):
                answer = await self._files.get(url)
                if answer.status_code == 200:
                    return content_of(answer.content)
                if answer.status_code == 404:
                    return "no file"
            await asyncio.sleep(PAUSE_S)
        return "a file that cannot be read"
