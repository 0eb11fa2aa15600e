"""Images with diffusers' pipelines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.engine import BatchEngine, Differences
from models.images.diffusion import fields
from models.images.diffusion.families import FAMILIES
from models.images.diffusion.lora import Adapters
from models.images.diffusion.lora_hotswap import HotSwap
from models.images.diffusion.plan import ImageItem, ImagePlan
from models.images.diffusion.previews import Previews
from models.images.diffusion.step_watch import StepWatch
from models.images.encoding import encoded
from models.images.request import ImageRequest, Images
from models.leniency import Leniency
from models.operator import Operator
from models.pictures.resizing import crop
from models.pictures.transparency import changed_where
from models.pipelines import options, placement, quantized, single_file
from models.pipelines.lending import Lender
from models.pipelines.prompt_cache import PromptCache
from models.pipelines.token_counter import TokenCounter
from models.pipelines.turns import Turn, Turns
from models.pipelines.vae_tiling import VaeTiling
from models.quiet import hush
from models.row import Row
from models.work import Stopped, Ticket, Work

# Pixels of one run: one picture of this size keeps the device busy, and so do several smaller ones
# together.
_RUN_PIXELS = {"cuda": 1024 * 1024, "cpu": 512 * 512}
_ADAPTERS_SHARE = 1 / 20  # of the model's memory


class DiffusersImages(BatchEngine):
    """A model of diffusers; emits ``Progress`` and ``Preview``.

    Row options, besides those of ``models.pipelines.placement``:

        family           a key of ``models.images.diffusion.families.FAMILIES``
        prompt_tokens    of the longest prompt
        most_pixels      of the largest picture
        offloaded_bytes  memory on the device with the option ``offload``
        denoiser_bytes   size of the denoiser, which can be quantised
        encoder_bytes    size of the largest other part
        checkpoint       name of the file, of a model in one file
    """

    libraries = ("torch", "diffusers", "transformers", "accelerate")

    def __init__(self, pipeline: Any, row: Row) -> None:
        self._row = row
        self._family = FAMILIES[row.options["family"]]
        self._device = pipeline._execution_device.type
        self.budget = _RUN_PIXELS[self._device]
        width, height = map(int, row.defaults["size"].split("x"))
        self.capacity = max(1, self.budget // (width * height))
        tokenizer = getattr(pipeline, "tokenizer_2", None) or pipeline.tokenizer
        around = getattr(pipeline, "prompt_template_encode", None)
        dropped = getattr(pipeline, "prompt_template_encode_start_idx", 0)
        counter = TokenCounter(tokenizer, self._family.thinks, around, dropped)
        self._plan = ImagePlan(row, counter)
        self._first = pipeline
        self._prompts = PromptCache(pipeline.encode_prompt)
        self._turns = Turns()
        self._pipelines = Lender(pipeline, self._prompts)
        self._previews = Previews(pipeline, self._family.unpacked)
        compiled = row.options.get("compiled") is not None
        self.express = placement.serves_two_runs(row)
        kept_bytes = int(row.memory_bytes * _ADAPTERS_SHARE)
        self._adapters = (HotSwap if compiled else Adapters)(pipeline, row.slug, kept_bytes)
        self._tiling = VaeTiling(pipeline.vae)

    @classmethod
    def honours(cls, row: Row) -> Differences:
        """Return where the model differs from the surface's fields."""
        return fields.differences(row)

    @classmethod
    def configured(cls, row: Row, operator: Operator) -> Row:
        """Return the row with the operator's options of pipelines."""
        return options.configured(row, operator)

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> DiffusersImages:
        """Load a pipeline's folder: bfloat16 on a GPU, float32 on a CPU."""
        import diffusers
        import torch

        hush("transformers", "diffusers")
        dtype = torch.bfloat16 if device.kind == "cuda" else torch.float32
        name = FAMILIES[row.options["family"]].pipelines["txt2img"]
        if (file := row.options.get("checkpoint")) is not None:
            pipeline = single_file.load(name, folder, file, dtype)
            return cls(placement.placed(pipeline, row, device.kind), row)
        parts = quantized.parts(folder, dtype)
        half = next(folder.glob("*/*.fp16.safetensors"), None)
        pipeline = getattr(diffusers, name).from_pretrained(
            folder, dtype=dtype, local_files_only=True, variant="fp16" if half else None, **parts
        )
        return cls(placement.placed(pipeline, row, device.kind), row)

    def prepare(self, request: ImageRequest) -> Work:
        """Check the request against the model and decode its pictures.

        Each picture is a part. Text-to-image parts of equal size and arguments share runs.

        Raises:
            UnsupportedParameter: the model cannot honour a field: an input picture, a mask, a
                scheduler; of a strict request, also a field that would change nothing.
            InvalidValue: fields contradict each other, or the picture is too large for the model.
            ContextLengthExceeded: the text encoder would cut the prompt.
            MediaUndecodable: an input picture cannot be read.
        """
        fields.check_task(request, self._row)
        leniency = Leniency(request.strict)
        items = self._plan(request, leniency)
        width, height = items[0].generated_size
        tokens = len(items) * width * height // self._family.grid**2
        images = partial(
            Images,
            left_out=tuple(leniency.left_out),
            prompt_tokens=self._plan.prompt_tokens(request),
            picture_tokens=tokens,
        )
        return Work(
            items,
            sizes=[width * height] * len(items),
            kind=items[0].kind,
            total=sum(item.work for item in items),
            finish=partial(_finish, images, items),
            in_thread=True,
        )

    def run(self, batch: Sequence[Ticket[ImageItem]]) -> list[Any]:
        """Make the pictures in one go; stop at the next step once nobody waits for any of them.

        Between two steps, shorter runs go first. A picture that ran out of memory is decoded in
        tiles when it is run again.
        """
        adapters = tuple((adapter.name, adapter.scale) for adapter in batch[0].item.adapters)
        work = sum(ticket.item.work for ticket in batch)
        try:
            with (
                self._turns.take(work, adapters, alone=self._tiling.due) as turn,
                self._tiling.run(alone=len(batch) == 1),
            ):
                self._prompts.marked = adapters
                return self._generate(batch, turn)
        except Stopped:
            return [None] * len(batch)

    def pipeline(self, task: str) -> Any:
        """Return a pipeline of a task that no run uses; all share the same parts."""
        return self._pipelines.idle(self._family.pipelines[task])

    def scheduler(self, name: str | None) -> Any:
        """Return a new scheduler by its name, so that no state of one run reaches the next."""
        import diffusers

        own = self._pipelines.scheduler
        if name is None:
            return type(own).from_config(own.config)
        class_name, changes = self._family.schedulers[name]
        return getattr(diffusers, class_name).from_config(own.config, **changes)

    def close(self) -> None:
        """Drop the pipelines, and break their references to this engine's objects."""
        self._pipelines.close()
        placement.unhooked(self._first, self._row)
        del self._first, self._prompts, self._previews, self._adapters
        del self._tiling, self._pipelines

    def _generate(self, batch: Sequence[Ticket[ImageItem]], turn: Turn) -> list[Any]:
        import torch

        items = [ticket.item for ticket in batch]
        first = items[0]
        generators = [torch.Generator(self._device).manual_seed(item.seed) for item in items]
        name, scheduler = self._family.pipelines[first.task], self.scheduler(first.scheduler)
        with self._pipelines.lend(name, scheduler) as pipeline, self._adapters.on(first.adapters):
            accepted = inspect.signature(pipeline.__call__).parameters
            arguments = {key: value for key, value in first.arguments.items() if key in accepted}
            if first.negative is not None:
                arguments["negative_prompt"] = [item.negative for item in items]
            with StepWatch(batch, pipeline, self._previews, turn) as watch:
                made = pipeline(
                    prompt=[item.prompt for item in items],
                    generator=generators,
                    callback_on_step_end=watch.after_step,
                    **arguments,
                )
        return list(made.images)


def _finish(
    images: Callable[..., Images], items: Sequence[ImageItem], pictures: Sequence[Any]
) -> Images:
    """Crop the pictures to the requested size and encode them, for ``Work.finish``."""
    cropped = [
        crop(picture, item.width, item.height)
        for picture, item in zip(pictures, items, strict=True)
    ]
    if items[0].kept is not None:
        source, mask = items[0].kept
        cropped = [changed_where(mask, picture, source) for picture in cropped]
    outgoing = encoded(cropped, [item.seed for item in items], items[0].output)
    answer = images(outgoing.pictures)
    return replace(answer, left_out=(*answer.left_out, *outgoing.left_out))
