"""Switch off the usage statistics that libraries send to their makers.

A worker connects to the platform and to the operator's stores and hosts only. Each library reads an
environment variable, most of them at import. A value that the operator has set is kept, unless it
is empty.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

OFF = {
    "DO_NOT_TRACK": "1",  # consoledonottrack.com; also read by the hub's library and vLLM
    "HF_HUB_DISABLE_TELEMETRY": "1",  # the hub's library, transformers, diffusers
    "DISABLE_TELEMETRY": "1",  # its older name
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime, which also keeps a device id in ~/.cache
}


def switch_off(environment: MutableMapping[str, str] | None = None) -> None:
    """Set the variables for this process and its children; call this before other imports."""
    env = os.environ if environment is None else environment
    for name, value in OFF.items():
        if not env.get(name, "").strip():
            env[name] = value
