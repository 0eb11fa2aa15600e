"""A job's result as the gateway hands it on: as links, as a file, or message by message."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import Response

from local.api.common import json_response
from local.queue.jobs import Job

_INLINE_BYTES = 64 * 1024
_LINK = re.compile(r"https?://", re.IGNORECASE)


def links(payload: Any) -> list[str]:
    """Every string in a payload that begins as a URL does: the gateway's idea of a result."""
    if isinstance(payload, str):
        return [payload] if _LINK.match(payload) else []
    if isinstance(payload, dict):
        payload = list(payload.values())
    if isinstance(payload, list):
        return list(dict.fromkeys(link for one in payload for link in links(one)))
    return []


def download_of(job: Job, surface: str, file_format: str) -> Response:
    """Links to the result, or the result as a file."""
    payload = job.view()
    if found := links(payload):
        return json_response(
            {
                "job_id": job.id,
                "provider_job_id": job.id,
                "surface": surface,
                "mode": "links",
                "links": found,
            }
        )
    text = json.dumps(payload, indent=2, ensure_ascii=False)
    kind = "text/plain" if file_format == "txt" else "application/json"
    name = f'attachment; filename="{job.id}.{file_format}"'
    headers = {"Content-Disposition": name, "Content-Type": f"{kind}; charset=utf-8"}
    return Response(text, headers=headers)


async def messages(job: Job, download_url: str) -> AsyncGenerator[dict[str, Any], None]:
    """What the WebSocket says: each state, and each chunk of a stream before the final one."""
    seen, sent, tries = None, 0, job.tries
    while True:
        if job.tries != tries:
            tries, sent = job.tries, 0  # another worker begins again
        if job.status != seen and not job.final:
            seen = job.status
            yield {"type": "result", "status": str(seen), **_shown(job, download_url)}
        elif sent < len(job.chunks):
            sent += 1
            yield {"type": "stream", "status": str(job.status), "output": job.chunks[sent - 1]}
        elif job.final:
            yield {"type": "result", "status": str(job.status), **_shown(job, download_url)}
            return
        else:
            await job.change()


def _shown(job: Job, download_url: str) -> dict[str, Any]:
    """A result as links, as it is, or where it is large as an address to fetch it from."""
    payload = job.view()
    if found := links(payload):
        return {"mode": "links", "links": found}
    if len(json.dumps(payload)) <= _INLINE_BYTES:
        return {"mode": "inline", "payload": payload}
    return {"mode": "download", "download_url": download_url}
