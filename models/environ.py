"""Environment variables as people set them: padded, or empty where they mean to unset them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping

# Read by libraries at their import: RunPod's SDK and the hub's.
_PREFIXES = ("RUNPOD_", "HF_", "HUGGINGFACE_", "HUGGING_FACE_")


def tidied(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without white space around values, and without empty ones."""
    stripped = {name: value.strip() for name, value in env.items()}
    return {name: value for name, value in stripped.items() if value}


def tidy(env: MutableMapping[str, str], names: Iterable[str]) -> None:
    """Tidy in place the variables of these names, and those that libraries read for themselves.

    Others stay as they are: an empty ``CUDA_VISIBLE_DEVICES`` means that there are no GPUs.
    """
    known = frozenset(names)
    for name in [name for name in env if name in known or name.startswith(_PREFIXES)]:
        value = env[name].strip()
        if value:
            env[name] = value
        else:
            del env[name]
