"""A job's result as the gateway returns it: as links, as a file, or in frames."""

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
    """Return every string of a payload that begins like a URL: what the gateway calls a result."""
    if isinstance(payload, str):
        return [payload] if _LINK.match(payload) else []
    if isinstance(payload, dict):
        payload = list(payload.values())
    if isinstance(payload, list):
        return list(dict.fromkeys(link for item in payload for link in links(item)))
    return []


def download_of(job: Job, surface: str, file_format: str) -> Response:
    """Return links to the result, or the result as a file."""
    payload = job.view()
    if urls := links(payload):
        return json_response(
            {
                "job_id": job.id,
                "provider_job_id": job.id,
                "surface": surface,
                "mode": "links",
                "links": urls,
            }
        )
    text = json.dumps(payload, indent=2, ensure_ascii=False)
    kind = "text/plain" if file_format == "txt" else "application/json"
    name = f'attachment; filename="{job.id}.{file_format}"'
    headers = {"Content-Disposition": name, "Content-Type": f"{kind}; charset=utf-8"}
    return Response(text, headers=headers)


def frame_of(job: Job, download_url: str) -> dict[str, Any]:
    """Return the WebSocket's frame for a job: its status and its result so far.

    The result is sent as links, inline, or, if it is large, as a URL to download it from.
    """
    payload = job.view()
    frame = {"type": "result", "status": payload["status"]}
    if urls := links(payload):
        return {**frame, "mode": "links", "links": urls}
    if len(json.dumps(payload, ensure_ascii=False).encode()) <= _INLINE_BYTES:
        return {**frame, "mode": "inline", "payload": payload}
    return {**frame, "mode": "download", "download_url": download_url}
