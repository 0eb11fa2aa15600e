"""Whether the models that further endpoints name exist: asked of a worker before one is started."""

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
    """What is wrong with the endpoints' models, one line for each endpoint.

    Args:
        further: the endpoints by name.
        env: what their workers inherit.
    """
    named = {name: served for name, served in further.items() if served.model is not None}
    looks = {name: _look(served, env) for name, served in named.items()}
    return [f"{name}: {line}" for name, look in looks.items() for line in _errors(look)]


def _look(served: Served, env: Mapping[str, str]) -> subprocess.Popen[str]:
    # Neither the hub nor a bucket is asked: only the names are of interest.
    env = {name: value for name, value in clean(env).items() if not name.startswith("BUCKET_")}
    return subprocess.Popen(
        _COMMAND,
        env={**env, **of_endpoint(served), "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _errors(look: subprocess.Popen[str]) -> list[str]:
    """What a worker says of its settings; one that cannot look says it again when it is started."""
    try:
        output, _ = look.communicate(timeout=_TIMEOUT_S)
        findings = json.loads(output)["findings"]
    except subprocess.TimeoutExpired:
        look.kill()
        look.communicate()
        return []
    except (ValueError, KeyError):
        return []
    return [
        finding["found"]
        for finding in findings
        if (finding["subject"], finding["level"]) == ("settings", "error")
    ]
