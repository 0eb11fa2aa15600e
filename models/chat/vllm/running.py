"""Requests that vLLM's process works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.chat.admission import Admission
from models.errors import (
    DeviceLost,
    ModelLoadFailed,
)
from models.row import Row

HUNG = "The model's process gives no sign of life; the worker restarts. Send the request again."
LOST = "The model's process has ended; the worker restarts. Send the request again."


class Running:
    """A request that is in: the names of its choices that still grow."""

    def __init__(self, item: Admission) -> None:
        self.prompt, self.length = item.prompt, item.length
        self.names: dict[int, str] = {}
        self.begun = False
        matchers = [] if item.form is None else [item.form.matcher() for _ in range(item.prompt.n)]
        self._matchers = dict(enumerate(matchers))

    def give_up(self) -> None:
        """Blame the grammar, if there is one: nothing else fails one request alone."""
        for matcher in self._matchers.values():
            raise matcher.broken

    def follow(self, index: int, tokens: Sequence[int] | None) -> None:
        """Hold new tokens, or the end (None), against the grammar; vLLM forgets one that breaks."""
        if matcher := self._matchers.get(index):
            matcher.end() if tokens is None else matcher.push(tokens)


class Alive:
    """Names the error of a process that is no more."""

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """A dead process is a lost device."""
        if kind is not None and kind.__name__ == "EngineDeadError":
            raise DeviceLost(LOST) from None


def adapters_of(engine: Any, row: Row) -> dict[str, Any]:
    """Load the row's adapters; return vLLM's requests for them, by name.

    Raises:
        ModelLoadFailed: one cannot be: at a request it would end vLLM's process.
    """
    adapters = row.options.get("adapters", {})
    if not adapters:
        return {}
    from vllm.lora.request import LoRARequest

    made = {
        name: LoRARequest(name, number, str(folder))
        for number, (name, folder) in enumerate(sorted(adapters.items()), start=1)
    }
    for name, request in made.items():
        try:
            engine.add_lora(request)
        except Exception as error:
            raise ModelLoadFailed(
                f"{row.slug}: the adapter {name} cannot be loaded; the worker's log says why."
            ) from error
    return made
