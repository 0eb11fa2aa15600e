"""What engines of music share: a request becomes songs, and their sound files.

Each song is a part of its own and runs alone, so that a seed gives the same song whatever else is
asked for.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from models.counts import Counts
from models.engine import BatchEngine, Differences
from models.leniency import LeftOut, Leniency
from models.music.plan import Model, Plan, SongItem, planned
from models.music.request import MusicRequest, Song, Songs
from models.row import Row
from models.work import Progress, Stopped, Ticket, Work

_SHORT_S = 10.0


class Composer(BatchEngine):
    """Makes songs; emits ``Progress``.

    Row options:

        distilled     whether guidance is distilled into the weights, so that it changes nothing
        text_tokens   of the longest caption, with what the model adds to it
        lyric_tokens  of the longest lyrics

    Args:
        row: the model.
        model: what a plan needs to know of it.
    """

    libraries: ClassVar[tuple[str, ...]] = ("av", "numpy")
    prepare_in_thread = False

    def __init__(self, row: Row, model: Model) -> None:
        self.row = row
        self._model = model
        # Songs run alone; shorter ones go before a song with more work than this.
        self.budget = round(_SHORT_S * model.rate_hz * row.defaults["inference_steps"])
        self._counts = Counts("music", "songs", "sound_seconds", "run_seconds")

    @classmethod
    def honours(cls, row: Row) -> Differences:
        """Return where the model differs from the surface's fields."""
        return {"guidance_scale": None} if row.options.get("distilled") else {}

    @property
    def counters(self) -> Mapping[str, float]:
        """Songs and seconds so far; see ``Engine``."""
        return self._counts.values

    @abstractmethod
    def compose(self, ticket: Ticket[SongItem]) -> Any:
        """Return a song, float32 of shape (channels, samples), within full scale.

        Calls ``after_step`` after each step.
        """

    async def prepare(self, request: MusicRequest) -> Work:
        """Check the request and decode its recordings; see ``planned`` for what is raised."""
        leniency = Leniency(request.strict)
        plan = await planned(request, self.row, self._model, leniency)
        finish = partial(_finish, plan, tuple(leniency.left_out), self._model)
        sizes = [item.work for item in plan.items]
        return Work(plan.items, sizes, finish=finish, in_thread=True)

    def run(self, batch: Sequence[Ticket[SongItem]]) -> list[Any]:
        """Make a song; stop at the next step once nobody waits for it."""
        [ticket] = batch
        start = time.monotonic()
        try:
            sound = self.compose(ticket)[:, : ticket.item.samples]
        except Stopped:
            return [None]
        self._counts.add(
            songs=1,
            sound_seconds=sound.shape[1] / self._model.rate_hz,
            run_seconds=time.monotonic() - start,
        )
        return [sound]


def after_step(ticket: Ticket[SongItem], done: int) -> None:
    """Report progress.

    Raises:
        Stopped: nobody waits any more.
    """
    item = ticket.item
    ticket.emit(Progress(item.part, done, item.steps * item.parts, "steps"), lasting=False)
    if ticket.cancelled:
        raise Stopped


def _finish(
    plan: Plan, left_out: tuple[LeftOut, ...], model: Model, sounds: Sequence[Any]
) -> Songs:
    """Encode the songs, for ``Work.finish``."""
    first = plan.items[0]
    songs = tuple(
        Song(first.encoding.write(sound), item.seed)
        for sound, item in zip(sounds, plan.items, strict=True)
    )
    return Songs(
        songs,
        first.encoding.format,
        first.encoding.rate_hz,
        first.samples / model.rate_hz,
        plan.task,
        plan.tokens,
        -(-first.samples // model.hop) * len(songs),
        left_out,
    )
