"""A job's result as the gateway hands it on: as links, as a file, or in frames."""

from __future__ import annotations

import json
import re
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


def frame_of(job: Job, download_url: str) -> dict[str, Any]:
    """What the WebSocket sends of a job: its status, and what it holds so far.

    That is as links, as it is, or where it is large as an address to fetch it from.
    """
    payload = job.view()
    frame = {"type": "result", "status": payload["status"]}
    if found := links(payload):
        return {**frame, "mode": "links", "links": found}
    if len(json.dumps(payload, ensure_ascii=False).encode()) <= _INLINE_BYTES:
        return {**frame, "mode": "inline", "payload": payload}
    return {**frame, "mode": "download", "download_url": download_url}
