"""Environment variables as people set them: with white space, or empty to unset them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping

# Variables with these prefixes are read by RunPod's SDK and the hub's library at import.
_PREFIXES = ("RUNPOD_", "HF_", "HUGGINGFACE_", "HUGGING_FACE_")


def tidied(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without white space around values, and without empty values."""
    stripped = {name: value.strip() for name, value in env.items()}
    return {name: value for name, value in stripped.items() if value}


def tidy(env: MutableMapping[str, str], names: Iterable[str]) -> None:
    """Tidy the named variables in place, and those that libraries read at import.

    Others are unchanged: an empty ``CUDA_VISIBLE_DEVICES`` means that no GPU is visible.
    """
    known = frozenset(names)
    for name in [name for name in env if name in known or name.startswith(_PREFIXES)]:
        value = env[name].strip()
        if value:
            env[name] = value
        else:
            del env[name]
