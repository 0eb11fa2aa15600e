"""Images with diffusers' pipelines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.images import checkpoint, honoured, tuning
from models.images.adapters import Adapters
from models.images.edits import check_task
from models.images.encoding import encoded, preview
from models.images.families import FAMILIES
from models.images.hotswap import HotSwap
from models.images.items import ImageItem, Items
from models.images.previews import Previews, estimate
from models.images.prompts import Prompts
from models.images.request import ImageRequest, Images, Preview
from models.images.resizing import crop
from models.images.tiling import Tiling
from models.images.tokens import TokenCounter
from models.images.transparency import changed_where
from models.quiet import hush
from models.row import Row
from models.surface import Differences, Leniency, Progress, Stopped, Ticket, Work

# Of one run, in pixels: a picture of this size keeps a GPU busy by itself, and several smaller ones
# do together.
_RUN_PIXELS = {"cuda": 1024 * 1024, "cpu": 512 * 512}
_ADAPTERS_SHARE = 1 / 20  # of the model's memory


class DiffusersImages:
    """A model of diffusers; emits ``Progress`` and ``Preview`` as it goes.

    Row options: ``family`` (of ``models.images.families``), ``prompt_tokens`` (the longest prompt),
    ``most_pixels`` (the largest picture), ``offloaded_bytes`` (its memory with the option
    ``offload``), ``denoiser_bytes`` and ``encoder_bytes`` (of the part that denoises, which can be
    quantised, and of the largest other one), and those of ``models.images.tuning``.
    """

    libraries = ("torch", "diffusers", "transformers", "accelerate")
    packs = False

    def __init__(self, pipeline: Any, row: Row) -> None:
        self._row = row
        self._family = FAMILIES[row.options["family"]]
        self._device = pipeline._execution_device.type
        self.budget = _RUN_PIXELS[self._device]
        width, height = map(int, row.defaults["size"].split("x"))
        self.capacity = max(1, self.budget // (width * height))
        tokenizer = getattr(pipeline, "tokenizer_2", None) or pipeline.tokenizer
        self._items = Items(row, TokenCounter(tokenizer, self._family.thinks))
        self._scheduler = pipeline.scheduler
        self._first = pipeline
        self._prompts = Prompts(pipeline.encode_prompt)
        self._pipelines = {self._family.pipelines["txt2img"]: self._ours(pipeline)}
        self._previews = Previews(pipeline, self._family.unpacked)
        swapped = row.options.get("compiled") is not None
        kept_bytes = int(row.memory_bytes * _ADAPTERS_SHARE)
        self._adapters = (HotSwap if swapped else Adapters)(pipeline, row.slug, kept_bytes)
        self._tiling = Tiling(pipeline.vae)

    @classmethod
    def honours(cls, row: Row) -> Differences:
        """The fields that are refused or left out."""
        return honoured.of_words(row)

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> DiffusersImages:
        """Load the folder: bfloat16 on a GPU, float32 on a CPU."""
        import diffusers
        import torch

        hush("transformers", "diffusers")
        dtype = torch.bfloat16 if device.kind == "cuda" else torch.float32
        name = FAMILIES[row.options["family"]].pipelines["txt2img"]
        stored = checkpoint.parts(folder, dtype)
        half = next(folder.glob("*/*.fp16.safetensors"), None)
        pipeline = getattr(diffusers, name).from_pretrained(
            folder, dtype=dtype, local_files_only=True, variant="fp16" if half else None, **stored
        )
        return cls(tuning.placed(pipeline, row, device.kind), row)

    def prepare(self, request: ImageRequest) -> Work:
        """Check the request against the model and decode its pictures.

        Each picture is a part; those of words, of one size and made alike, share runs.

        Raises:
            UnsupportedParameter: what the model cannot do: an input picture, a mask, a scheduler;
                of a strict request, a field that changes nothing, too.
            InvalidValue: fields that do not go together, or a picture larger than the model makes.
            ContextLengthExceeded: a prompt that the text encoder would cut.
            MediaUndecodable: an input picture cannot be read.
        """
        check_task(request, self._row)
        leniency = Leniency(request.strict)
        items = self._items(request, leniency)
        width, height = items[0].up
        tokens = len(items) * width * height // self._family.grid**2
        made = partial(
            Images,
            left_out=tuple(leniency.left_out),
            prompt_tokens=self._items.prompt_tokens(request),
            picture_tokens=tokens,
        )
        return Work(
            items,
            sizes=[width * height] * len(items),
            kind=items[0].kind,
            finish=partial(_finish, made, items),
            beside=True,
        )

    def run(self, batch: Sequence[Ticket[ImageItem]]) -> list[Any]:
        """Make the pictures in one go; stops at the next step once nobody waits for any of them.

        A picture that is out of memory is decoded in tiles when it is begun again.
        """
        try:
            with self._tiling.run(alone=len(batch) == 1):
                return self._generate(batch)
        except Stopped:
            return [None] * len(batch)

    def close(self) -> None:
        """Drop the pipelines, and what of ours they hold that holds them."""
        for pipeline in self._pipelines.values():
            del pipeline.encode_prompt
        tuning.unhooked(self._first, self._row)
        del self._first, self._scheduler, self._prompts, self._previews, self._adapters
        del self._tiling
        self._pipelines = {}

    def _generate(self, batch: Sequence[Ticket[ImageItem]]) -> list[Any]:
        import torch

        items = [ticket.item for ticket in batch]
        first = items[0]
        pipeline = self._pipeline(first.task)
        pipeline.scheduler = self._made_scheduler(first.scheduler)
        known = inspect.signature(pipeline.__call__).parameters
        arguments = {key: value for key, value in first.arguments.items() if key in known}
        if first.negative is not None:
            arguments["negative_prompt"] = [item.negative for item in items]
        dice = [torch.Generator(self._device).manual_seed(item.seed) for item in items]
        watch = _Watch(batch, pipeline, self._previews)
        self._prompts.marked = tuple((one.name, one.scale) for one in first.adapters)
        try:
            with self._adapters.on(first.adapters):
                made = pipeline(
                    prompt=[item.prompt for item in items],
                    generator=dice,
                    callback_on_step_end=watch.after_step,
                    **arguments,
                )
        finally:
            pipeline.scheduler = self._scheduler  # the run's own holds the watch, and that the run
        return list(made.images)

    def _pipeline(self, task: str) -> Any:
        """The pipeline of a task; all are made of the same parts."""
        name = self._family.pipelines[task]
        if name not in self._pipelines:
            self._pipelines[name] = self._ours(tuning.sibling(self._first, name))
        return self._pipelines[name]

    def _ours(self, pipeline: Any) -> Any:
        """A pipeline that keeps what it encodes, and keeps quiet."""
        pipeline.set_progress_bar_config(disable=True)
        pipeline.encode_prompt = self._prompts
        return pipeline

    def _made_scheduler(self, name: str | None) -> Any:
        """A fresh one: what a run leaves in it is nothing to the next."""
        import diffusers

        if name is None:
            return type(self._scheduler).from_config(self._scheduler.config)
        made, changes = self._family.schedulers[name]
        return getattr(diffusers, made).from_config(self._scheduler.config, **changes)


class _Watch:
    """Watches a run: tells how far it is, shows what there is, and stops it."""

    def __init__(self, batch: Sequence[Ticket[ImageItem]], pipeline: Any, shown: Previews) -> None:
        self._batch = batch
        self._pipeline = pipeline
        self._shown = shown
        self._done = 0
        self._step = pipeline.scheduler.step
        if any(ticket.item.previews for ticket in batch):
            shown.prepare()
            pipeline.scheduler.step = self._seen_step

    def after_step(self, _pipeline: Any, _step: int, _timestep: Any, kwargs: Any) -> Any:
        """As diffusers calls it.

        Raises:
            Stopped: nobody waits any more; diffusers' own switch would still decode what is there.
        """
        self._done += 1
        for ticket in self._batch:
            total = self._pipeline.num_timesteps * ticket.item.parts
            ticket.emit(Progress(ticket.item.part, self._done, total, "steps"), lasting=False)
        if all(ticket.cancelled for ticket in self._batch):
            raise Stopped
        return kwargs

    def _seen_step(self, said: Any, timestep: Any, latents: Any, *args: Any, **kwargs: Any) -> Any:
        """The scheduler's, with a look at what it is given."""
        steps, now = self._pipeline.num_timesteps, self._done + 1
        due = [_shown_after(steps, ticket.item.previews).get(now) for ticket in self._batch]
        if any(order is not None for order in due):
            scheduler = self._pipeline.scheduler
            likely = estimate(scheduler, said, timestep, latents)
            seen = self._shown(likely, *self._batch[0].item.up)
            for ticket, order, pixels in zip(self._batch, due, seen, strict=True):
                if order is not None:
                    item = ticket.item
                    made = partial(preview, pixels, item.up, (item.width, item.height), item.output)
                    ticket.emit(Preview(item.part, order, made), lasting=False)
        return self._step(said, timestep, latents, *args, **kwargs)


def _shown_after(steps: int, previews: int) -> dict[int, int]:
    """After which steps a preview is shown, and which it is; as evenly as may be.

    None is shown after the last step, so that few steps have fewer previews.
    """
    after = {round(steps * (order + 1) / (previews + 1)) for order in range(previews)}
    return {step: order for order, step in enumerate(sorted(after - {0, steps}))}


def _finish(
    made: Callable[..., Images], items: Sequence[ImageItem], pictures: Sequence[Any]
) -> Images:
    """Cut the pictures to the size that was asked for and encode them."""
    cut = [
        crop(picture, item.width, item.height)
        for picture, item in zip(pictures, items, strict=True)
    ]
    if items[0].kept is not None:
        source, mask = items[0].kept
        cut = [changed_where(mask, picture, source) for picture in cut]
    leaving = encoded(cut, [item.seed for item in items], items[0].output)
    images = made(leaving.pictures)
    return replace(images, left_out=(*images.left_out, *leaving.left_out))
