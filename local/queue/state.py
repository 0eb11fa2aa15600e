"""The jobs of a platform in a file, so that they outlive its process.

The file is SQLite's, in WAL mode. A job is written before anybody is answered, so a process that is
killed loses none. Its times are the event loop's; the time without a platform does not count.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from local.queue.jobs import Hook, Job, Order, Status

log = logging.getLogger(__name__)

_VERSION = 1  # of the table's format
_TABLE = (
    "CREATE TABLE IF NOT EXISTS jobs"
    " (id TEXT PRIMARY KEY, job_order TEXT NOT NULL, progress TEXT NOT NULL, saved REAL NOT NULL)"
)
_TIMES = ("submitted", "taken", "finished")
_KEPT = ("worker", "tries", "strays", "run", "runs", "output", "error", *_TIMES)


class StateUnusable(Exception):
    """The file cannot be used; the message says why."""


class State:
    """Keeps jobs in a file.

    Args:
        path: of the file, which is made if it is not there.

    Raises:
        StateUnusable: another platform uses it, or it is not such a file.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = _opened(path)
        except sqlite3.OperationalError as error:
            raise StateUnusable(f"{path} is in use, or cannot be written ({error})") from None
        except sqlite3.DatabaseError as error:
            raise StateUnusable(f"{path} is not a file of this program ({error})") from None

    def save(self, job: Job) -> None:
        """Write a job; one that cannot be written is logged, and goes on."""
        progress = {name: getattr(job, name) for name in _KEPT} | {
            "endpoint": job.endpoint,
            "status": job.status,
            "hooks": [asdict(hook) for hook in job.hooks],
            # Those of a run are of no use without the run, but whether there were any is.
            "chunks": job.chunks if job.final else job.chunks[:1],
        }
        saved = (json.dumps(progress), _now(), job.id)
        try:
            wrote = self._file.execute("UPDATE jobs SET progress=?, saved=? WHERE id=?", saved)
            if not wrote.rowcount:
                order = json.dumps(asdict(job.order))
                row = (job.id, order, *saved[:2])
                self._file.execute("INSERT INTO jobs VALUES (?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            log.error("%s is not kept in the state file: %s", job.id, error)

    def drop(self, job_id: str) -> None:
        """Remove a job."""
        with suppress(sqlite3.Error):
            self._file.execute("DELETE FROM jobs WHERE id=?", (job_id,))

    def load(self) -> list[Job]:
        """Return all jobs as they were saved, the oldest first."""
        rows = self._file.execute("SELECT * FROM jobs").fetchall()
        away_s = _now() - max((saved for *_, saved in rows), default=0.0)
        jobs = [_job(job_id, json.loads(order), json.loads(progress), away_s)
                for job_id, order, progress, _ in rows]  # fmt: skip
        return sorted(jobs, key=lambda job: job.submitted)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _opened(path: Path) -> sqlite3.Connection:
    """Return a connection that has the file for itself; used in one thread, made in any."""
    with suppress(OSError):  # SQLite says better what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # jobs may bring keys
    file = sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)
    try:
        for line in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
            file.execute(f"PRAGMA {line}")
        file.execute("BEGIN IMMEDIATE")
        file.execute(_TABLE)
        [version] = file.execute("PRAGMA user_version").fetchone()
        if version not in {0, _VERSION}:
            raise StateUnusable(f"{path} is of another version of this program")
        file.execute(f"PRAGMA user_version={_VERSION}")
        file.execute("COMMIT")
    except BaseException:
        file.close()
        raise
    return file


def _job(job_id: str, order: dict[str, Any], progress: dict[str, Any], away_s: float) -> Job:
    job = Job(job_id, progress["endpoint"], Order(**order), progress["submitted"])
    job.status = Status(progress["status"])
    job.chunks = progress["chunks"]
    job.hooks = [Hook(**hook) for hook in progress["hooks"]]
    for name in _KEPT:
        value = progress[name]
        setattr(job, name, value + away_s if name in _TIMES and value is not None else value)
    return job


def _now() -> float:
    return asyncio.get_running_loop().time()
