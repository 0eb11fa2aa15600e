"""Check that the models of further endpoints exist, before a worker starts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from local.environment import clean, of_endpoint
from local.queue.endpoints import Served

_COMMAND = (sys.executable, "-m", "handler", "--check", "--json")
_TIMEOUT_S = 60


def complaints(further: Mapping[str, Served], env: Mapping[str, str]) -> list[str]:
    """Return the errors in the endpoints' models, one line each.

    Args:
        further: the endpoints by name.
        env: the environment of their workers.
    """
    named = {name: served for name, served in further.items() if served.model is not None}
    checks = {name: _start(served, env) for name, served in named.items()}
    return [f"{name}: {line}" for name, check in checks.items() for line in _errors(check)]


def _start(served: Served, env: Mapping[str, str]) -> subprocess.Popen[str]:
    # Without hub and bucket: only the names are checked.
    env = {name: value for name, value in clean(env).items() if not name.startswith("BUCKET_")}
    return subprocess.Popen(
        _COMMAND,
        env={**env, **of_endpoint(served), "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _errors(check: subprocess.Popen[str]) -> list[str]:
    """Return the errors in a worker's settings; if the check fails, its start will report them."""
    try:
        output, _ = check.communicate(timeout=_TIMEOUT_S)
        findings = json.loads(output)["findings"]
    except subprocess.TimeoutExpired:
        check.kill()
        check.communicate()
        return []
    except (ValueError, KeyError):
        return []
    return [
        finding["found"]
        for finding in findings
        if (finding["subject"], finding["level"]) == ("settings", "error")
    ]
