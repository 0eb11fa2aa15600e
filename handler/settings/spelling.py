"""Variables that are not ours and look like one that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from handler.settings.document import GATEWAY_ONLY, PLATFORM
from handler.settings.foreign import FOREIGN
from handler.settings.variables import Settings

_ALIKE = 0.85  # MODEL_TASK and MODEL_TASKS are 0.95, HF_TOKEN_PATH and HF_TOKEN 0.76


def misspelt(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each variable that nobody reads, and the unset one that may be meant by it.

    The platform's own are none: RUNPOD_CPU_COUNT is not RUNPOD_GPU_COUNT misspelt.
    """
    ours = {str(field.validation_alias) for field in Settings.model_fields.values()}
    known = {*ours, *PLATFORM, *GATEWAY_ONLY, *(variable.name for variable in FOREIGN)}
    unset = sorted(name for name in ours if name not in environment)
    for name in sorted(environment):
        if name not in known and not name.startswith("RUNPOD_"):
            for near in get_close_matches(name, unset, 1, _ALIKE):
                yield name, near
