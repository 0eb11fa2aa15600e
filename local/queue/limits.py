"""The platform's limits. Tests use shorter times."""

from __future__ import annotations

from dataclasses import dataclass

_MB = 1024 * 1024


class TooLarge(Exception):
    """A result or a chunk exceeds the platform's limit."""


@dataclass(frozen=True)
class Limits:
    """The limits that RunPod documents for queue-based endpoints, and some of our own.

    Attributes:
        run_bytes: largest payload and result of ``/run``.
        runsync_bytes: the same for ``/runsync``.
        chunk_bytes: largest chunk of a stream.
        execution_timeout_s: how long a job may run, unless its policy says otherwise.
        ttl_s: how long a job may live after its submission, unless its policy says otherwise.
        run_retention_s: how long a finished job's result is kept.
        runsync_retention_s: the same for ``/runsync``.
        sync_wait_s: how long ``/runsync`` waits by default.
        min_sync_wait_s, max_sync_wait_s: the range of that wait.
        webhook_tries: the number of attempts to deliver a webhook.
        webhook_pause_s: the pause between two attempts.
        socket_pause_s: the pause between two frames of the gateway's WebSocket.
        socket_polls: the number of frames after which it closes.
        poll_s: how long a worker's long poll is held open (ours).
        worker_silence_s: how long a worker may be silent before it counts as lost (ours).
        cut_poll_s: how long after a broken poll a worker may come back (ours).
        letting_go_s: how long a worker may take to release a job that it has to stop (ours).
        tries: how many workers may be lost on a job before it fails (ours).
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
