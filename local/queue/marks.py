"""The platform's own events in a job's stream: the stream restarts, or it is incomplete."""

from __future__ import annotations

import json
from typing import Any

from local.queue.jobs import Job


def restarted(job: Job, attempt: int | None = None) -> list[Any]:
    """Return the first events of a stream that begins anew, if the job had events before.

    The event has the format of those before it. It has no choices, for clients that read them.

    Args:
        job: the job.
        attempt: the number of the run whose events follow; None = the next.
    """
    if not job.chunks:
        return []
    event = {
        "type": "stream.restarted",
        "choices": [],
        "attempt": job.runs + 1 if attempt is None else attempt,
        "message": "The job runs again and its answer begins anew. Drop what came before.",
    }
    if not isinstance(job.chunks[0], str):
        return [event]
    return [f"event: stream.restarted\ndata: {json.dumps(event)}\n\n"]


def incomplete(job: Job) -> Any:
    """Return the last event of a stream that lost events."""
    message = "Events of this stream were lost on their way. It ends here and is not complete."
    if job.chunks and isinstance(job.chunks[0], str):
        error = {"message": message, "type": "server_error", "param": None}
        content = json.dumps({"error": {**error, "code": "stream_incomplete"}})
        return f"data: {content}\n\n"
    whole = f"{message} The job's output holds the whole answer."
    return {"type": "stream.incomplete", "choices": [], "message": whole}
