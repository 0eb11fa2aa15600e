"""What libraries report to their makers by themselves is switched off.

A worker talks to the platform, to the operator's stores and hosts, and to nobody else. Each library
asks the environment, most of them while they are imported; an operator's own word stands, and an
empty one is none.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

OFF = {
    "DO_NOT_TRACK": "1",  # consoledonottrack.com; the hub's library and vLLM ask for it, too
    "HF_HUB_DISABLE_TELEMETRY": "1",  # of the hub's library, transformers, diffusers
    "DISABLE_TELEMETRY": "1",  # its older name
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # of onnxruntime, which keeps a device id in ~/.cache besides
}


def switch_off(environment: MutableMapping[str, str] | None = None) -> None:
    """Say so to this process and to those that it will start; to be called before any import."""
    env = os.environ if environment is None else environment
    for name, value in OFF.items():
        if not env.get(name, "").strip():
            env[name] = value
