"""What happens at each step of a run: progress, previews, and its end when nobody waits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from models.images.diffusion.plan import ImageItem
from models.images.diffusion.previews import Previews, estimate
from models.images.encoding import preview
from models.images.request import Preview
from models.pipelines.turns import Turn
from models.work import Progress, Stopped, Ticket


class StepWatch:
    """Watches one run of a pipeline, for as long as the block lasts.

    If there are previews, it replaces the ``step`` of the run's own scheduler.

    Args:
        batch: what runs.
        pipeline: with a scheduler of this run alone.
        previews: draws the latents.
        turn: the run's turn on the model's parts.
    """

    def __init__(
        self, batch: Sequence[Ticket[ImageItem]], pipeline: Any, previews: Previews, turn: Turn
    ) -> None:
        self._batch = batch
        self._pipeline = pipeline
        self._previews = previews
        self._turn = turn
        self._done = 0
        self._scheduler = pipeline.scheduler
        self._step = pipeline.scheduler.step
        if any(ticket.item.previews for ticket in batch):
            previews.prepare()
            self._scheduler.step = self._step_with_previews

    def __enter__(self) -> StepWatch:
        """Return the watch."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the scheduler its own ``step`` back: a cycle would keep the run's pictures."""
        vars(self._scheduler).pop("step", None)

    def after_step(self, _pipeline: Any, _step: int, _timestep: Any, kwargs: Any) -> Any:
        """Report progress, and let a shorter run go first, as diffusers' callback.

        Raises:
            Stopped: nobody waits any more. diffusers' own switch would still decode the latents.
        """
        self._done += 1
        for ticket in self._batch:
            total = self._pipeline.num_timesteps * ticket.item.parts
            ticket.emit(Progress(ticket.item.part, self._done, total, "steps"), lasting=False)
        self._turn.after_step()
        if all(ticket.cancelled for ticket in self._batch):
            raise Stopped
        return kwargs

    def _step_with_previews(
        self, output: Any, timestep: Any, latents: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Emit the previews that are due, then call the scheduler's own ``step``."""
        steps, now = self._pipeline.num_timesteps, self._done + 1
        due = [_preview_steps(steps, ticket.item.previews).get(now) for ticket in self._batch]
        if any(order is not None for order in due):
            likely = estimate(self._scheduler, output, timestep, latents)
            drawn = self._previews(likely, *self._batch[0].item.generated_size)
            for ticket, order, pixels in zip(self._batch, due, drawn, strict=True):
                if order is not None:
                    self._emit_preview(ticket, order, pixels)
        return self._step(output, timestep, latents, *args, **kwargs)

    def _emit_preview(self, ticket: Ticket[ImageItem], order: int, pixels: Any) -> None:
        item = ticket.item
        size = (item.width, item.height)
        encode = partial(preview, pixels, item.generated_size, size, item.output)
        ticket.emit(Preview(item.part, order, encode), lasting=False)


def _preview_steps(steps: int, previews: int) -> dict[int, int]:
    """Return the order of each preview by the step that it follows, as evenly spaced as possible.

    No preview follows the last step, so a run of few steps has fewer previews.
    """
    after = {round(steps * (order + 1) / (previews + 1)) for order in range(previews)}
    return {step: order for order, step in enumerate(sorted(after - {0, steps}))}
