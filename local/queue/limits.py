"""The platform's numbers. Tests bring shorter ones."""

from __future__ import annotations

from dataclasses import dataclass

_MB = 1024 * 1024


class TooLarge(Exception):
    """A result or a chunk is over the platform's limit."""


@dataclass(frozen=True)
class Limits:
    """What RunPod documents for queue-based endpoints, and where it says nothing, our choice.

    Attributes:
        run_bytes: largest payload and result of ``/run``.
        runsync_bytes: the same of ``/runsync``.
        chunk_bytes: largest chunk of a stream.
        execution_timeout_s: how long a job may run when its policy says nothing.
        ttl_s: how long a job may live, from its submission, when its policy says nothing.
        run_retention_s: how long a finished job's result is kept.
        runsync_retention_s: the same of ``/runsync``.
        sync_wait_s: how long ``/runsync`` waits when it is not told.
        min_sync_wait_s, max_sync_wait_s: what it may be told.
        webhook_tries: how often a webhook is tried in all.
        webhook_pause_s: between two tries.
        socket_pause_s: between two frames of the gateway's WebSocket.
        socket_polls: after how many frames it ends.
        poll_s: how long a worker's long poll is held open (ours).
        worker_silence_s: a worker that is silent for so long is gone (ours).
        cut_poll_s: one whose poll broke off and who did not come back in this time too (ours).
        letting_go_s: how long a worker may take to let go of a job that it is told to stop (ours).
        tries: how many workers a job may lose before it fails (ours).
        strays: how often a job may be lost on its way to a worker before it fails (ours).
    """

    run_bytes: int = 10 * _MB
    runsync_bytes: int = 20 * _MB
    chunk_bytes: int = _MB
    execution_timeout_s: float = 600
    ttl_s: float = 24 * 3600
    run_retention_s: float = 1800
    runsync_retention_s: float = 60
    sync_wait_s: float = 90
    min_sync_wait_s: float = 1
    max_sync_wait_s: float = 300
    webhook_tries: int = 3
    webhook_pause_s: float = 10
    socket_pause_s: float = 1.5
    socket_polls: int = 40
    poll_s: float = 5
    worker_silence_s: float = 30
    cut_poll_s: float = 5
    letting_go_s: float = 1
    tries: int = 3
    strays: int = 10
