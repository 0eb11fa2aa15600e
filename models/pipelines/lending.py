"""Pipelines of the same parts, one for each run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from models.pipelines.placement import sibling


class Lender:
    """Lends a model's pipelines. A pipeline keeps its run's arguments, so no two runs share one.

    Args:
        pipeline: the first; others are made of its parts.
        encode_prompt: replaces that of every pipeline.

    Attributes:
        scheduler: the model's own; a run has another one, like it.
    """

    def __init__(self, pipeline: Any, encode_prompt: Callable[..., Any]) -> None:
        self._first = pipeline
        self.scheduler = pipeline.scheduler
        self._encode_prompt = encode_prompt
        self._idle = {type(pipeline).__name__: [self._equipped(pipeline)]}

    def idle(self, name: str) -> Any:
        """Return a pipeline of diffusers' class ``name`` that no run uses."""
        idle = self._idle.setdefault(name, [])
        if not idle:
            idle.append(self._equipped(sibling(self._first, name)))
        return idle[-1]

    @contextmanager
    def lend(self, name: str, scheduler: Any = None) -> Iterator[Any]:
        """Lend a pipeline to a run.

        Args:
            name: of diffusers' class.
            scheduler: for this run alone; None = one like the model's own.
        """
        own = self.scheduler
        pipeline = self.idle(name)
        self._idle[name].remove(pipeline)
        try:
            pipeline.scheduler = scheduler or type(own).from_config(own.config)
            yield pipeline
        finally:
            # The run's own scheduler may refer to the run.
            pipeline.scheduler = own
            self._idle[name].append(pipeline)

    def close(self) -> None:
        """Break the pipelines' references to what encodes prompts."""
        for pipeline in chain.from_iterable(self._idle.values()):
            del pipeline.encode_prompt
        self._idle = {}

    def _equipped(self, pipeline: Any) -> Any:
        pipeline.set_progress_bar_config(disable=True)
        pipeline.encode_prompt = self._encode_prompt
        return pipeline
