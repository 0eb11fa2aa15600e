"""``python -m benchmarks.chaos.platform PORT``: the local platform, without workers of its own.

It has the token of ``CHAOS_TOKEN``, so that workers go on with a platform that was started again.
It keeps its jobs in the file of ``CHAOS_STATE``. Its limits of time are short, and it keeps all
results until the end of the run. Its clock follows the file of ``CHAOS_CONTROL``.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import uvicorn

from benchmarks.chaos.clock import shift
from benchmarks.chaos.control import VARIABLE, Control
from benchmarks.chaos.servers import SECRET
from local.__main__ import KEEP_ALIVE_S
from local.app import Options, build
from local.queue.limits import Limits

LIMITS = Limits(
    run_retention_s=7200,
    runsync_retention_s=7200,
    webhook_pause_s=1,
    poll_s=3,
    worker_silence_s=12,
    cut_poll_s=3,
)


def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    shift(Control(Path(os.environ[VARIABLE])))
    options = Options(
        token=os.environ["CHAOS_TOKEN"],
        limits=LIMITS,
        webhook_secret=SECRET,
        state=Path(os.environ["CHAOS_STATE"]),
    )
    application, _ = build(options)
    uvicorn.run(
        application,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


if __name__ == "__main__":
    main()
