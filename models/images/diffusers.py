"""Images with diffusers' pipelines."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.errors import ContextLengthExceeded, InvalidValue, UnsupportedParameter
from models.images.edits import Stopped, check_task
from models.images.families import FAMILIES
from models.images.pictures import check_delivery, crop, decode, encoded, fitted, mask_of, padded
from models.images.request import ImageRequest, Images, Output
from models.images.tokens import TokenCounter
from models.quiet import hush
from models.row import Row
from models.surface import LeftOut, Leniency, Ticket, Work, only

_NEGATIVE_GUIDANCE = 2.0  # where a negative prompt comes without
_EDIT_PIXELS = 1024 * 1024  # Flux2KleinPipeline reads input pictures at no more than this
_LEAST_SIDE, _MOST_STRETCHED = 64, 8  # what it reads; diffusers raises otherwise
_STRENGTH = 0.6


@dataclass(frozen=True)
class ImageItem:
    """A checked request: the pipeline and its arguments, and how its pictures leave.

    Attributes:
        task: which pipeline.
        scheduler: other than the model's own.
        kept: the picture and the mask of what is to change in it; the rest is kept, bit by bit.
    """

    task: str
    arguments: dict[str, Any]
    seeds: tuple[int, ...]
    width: int
    height: int
    output: Output
    scheduler: str | None = None
    kept: tuple[Any, Any] | None = None


class DiffusersImages:
    """A model of diffusers; emits ``(step, steps)`` as it goes.

    Row options: ``family`` (of ``models.images.families``), ``prompt_tokens`` (the longest prompt),
    ``most_pixels`` (the largest picture).
    """

    budget = None
    capacity = 1
    packs = False

    def __init__(self, pipeline: Any, row: Row) -> None:
        self._row = row
        self._family = FAMILIES[row.options["family"]]
        self._count = TokenCounter(getattr(pipeline, "tokenizer_2", None) or pipeline.tokenizer)
        self._scheduler = pipeline.scheduler
        self._pipelines = {self._family.pipelines["txt2img"]: pipeline}
        pipeline.set_progress_bar_config(disable=True)

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> DiffusersImages:
        """Load the folder: bfloat16 on a GPU, float32 on a CPU."""
        import diffusers
        import torch

        from models.images import int8

        hush("transformers", "diffusers")
        dtype = torch.bfloat16 if device.kind == "cuda" else torch.float32
        name = FAMILIES[row.options["family"]].pipelines["txt2img"]
        stored = int8.parts(folder, dtype)
        half = next(folder.glob("*/*.fp16.safetensors"), None)
        pipeline = getattr(diffusers, name).from_pretrained(
            folder, dtype=dtype, local_files_only=True, variant="fp16" if half else None, **stored
        )
        return cls(pipeline.to(device.kind), row)

    def prepare(self, request: ImageRequest) -> Work:
        """Check the request against the model and decode its pictures; it runs alone.

        Raises:
            UnsupportedParameter: what the model cannot do: an input picture, a mask, a scheduler;
                of a strict request, a field that changes nothing, too.
            InvalidValue: fields that do not go together, or a picture larger than the model makes.
            ContextLengthExceeded: a prompt that the text encoder would cut.
            MediaUndecodable: an input picture cannot be read.
        """
        check_task(request, self._row)
        self._check_prompt("prompt", request.prompt)
        task = self._task(request)
        pictures = [decode(one) for one in request.images]
        width, height = self._size(request, pictures)
        check_delivery(request.output, len(request.seeds), width, height)
        leniency = Leniency(request.strict)
        arguments: dict[str, Any] = {
            "prompt": request.prompt,
            "width": self._up(width),
            "height": self._up(height),
            "num_inference_steps": self._steps(request),
            "guidance_scale": self._row.defaults["guidance"],
        }
        if self._family.prompt_limit:
            arguments["max_sequence_length"] = self._row.options["prompt_tokens"]
        arguments |= self._guided(request, leniency)
        edited, kept = self._edited(request, task, pictures, (width, height), leniency)
        item = ImageItem(
            task=task,
            arguments={**arguments, **edited},
            seeds=request.seeds,
            width=width,
            height=height,
            output=request.output,
            scheduler=self._chosen_scheduler(request),
            kept=kept,
        )
        return Work((item,), finish=partial(_finish, tuple(leniency.left_out)), beside=True)

    def run(self, batch: Sequence[Ticket[ImageItem]]) -> list[Any]:
        """Run the pipelines; each stops at the next step once its ticket is cancelled."""
        return [self._generate(ticket) for ticket in batch]

    def close(self) -> None:
        """Drop the pipelines."""
        self._pipelines = {}
        self._scheduler = None

    def _generate(self, ticket: Ticket[ImageItem]) -> tuple[ImageItem, list[Any]]:
        import torch

        item = ticket.item
        pipeline = self._pipeline(item.task)
        pipeline.scheduler = self._made_scheduler(item.scheduler)

        def on_step(pipeline: Any, step: int, _timestep: Any, kwargs: dict[str, Any]) -> Any:
            ticket.emit((step + 1, pipeline.num_timesteps))
            if ticket.cancelled:
                raise Stopped  # diffusers' own switch would still decode what is there
            return kwargs

        known = inspect.signature(pipeline.__call__).parameters
        device = pipeline.device.type
        try:
            result = pipeline(
                **{name: value for name, value in item.arguments.items() if name in known},
                num_images_per_prompt=len(item.seeds),
                generator=[torch.Generator(device).manual_seed(seed) for seed in item.seeds],
                callback_on_step_end=on_step,
            )
        except Stopped:
            return item, []
        return item, result.images

    def _pipeline(self, task: str) -> Any:
        """The pipeline of a task; all are made of the same parts."""
        import diffusers

        name = self._family.pipelines[task]
        if name not in self._pipelines:
            first = next(iter(self._pipelines.values()))
            made = getattr(diffusers, name)
            wanted = inspect.signature(made.__init__).parameters
            parts = {key: one for key, one in first.components.items() if key in wanted}
            settings = {
                key: value
                for key, value in first.config.items()
                if key in wanted and key not in parts and not key.startswith("_")
            }
            self._pipelines[name] = made(**parts, **settings)
            self._pipelines[name].set_progress_bar_config(disable=True)
        return self._pipelines[name]

    def _task(self, request: ImageRequest) -> str:
        task = "inpaint" if request.mask else "img2img" if request.images else "txt2img"
        param = "mask" if request.mask else "image"
        if request.mask and not request.images:
            raise InvalidValue("mask needs image: the picture that it is of.", param="mask")
        if task not in self._row.tasks:
            raise UnsupportedParameter(
                f"{param} is not supported: {self._row.slug} does not do {task}; leave it out, or "
                "ask a model that edits pictures.",
                param=param,
            )
        several = task == "img2img" and self._family.whole
        if len(request.images) > 1 and not several:
            raise UnsupportedParameter(
                f"image: {self._row.slug} takes one input picture; got {len(request.images)}.",
                param="image",
            )
        return task

    def _check_prompt(self, param: str, prompt: str) -> None:
        [length] = self._count([prompt])
        limit = self._row.options["prompt_tokens"]
        if length > limit:
            raise ContextLengthExceeded(
                f"{param} has {length} tokens; {self._row.slug} reads at most {limit}.", param=param
            )

    def _guided(self, request: ImageRequest, leniency: Leniency) -> dict[str, Any]:
        """The arguments of a negative prompt, whose guidance switches it on, and of guidance."""
        slug, family = self._row.slug, self._family
        if request.negative_prompt and family.negative is None:
            leniency.leave_out(
                "negative_prompt", f"{slug} is distilled and takes no negative_prompt"
            )
        if not request.negative_prompt or family.negative is None:
            if request.guidance in (None, self._row.defaults["guidance"]):
                return {}
            if family.guided:
                return {"guidance_scale": request.guidance}
            leniency.leave_out(
                "guidance",
                f"{slug} is distilled: guidance changes nothing without a negative_prompt",
            )
            return {}
        self._check_prompt("negative_prompt", request.negative_prompt)
        usual = max(self._row.defaults["guidance"], _NEGATIVE_GUIDANCE)
        scale = usual if request.guidance is None else request.guidance
        if scale <= family.unguided:
            leniency.leave_out(
                "guidance",
                f"guidance of {family.unguided:g} or less would switch the negative_prompt off",
            )
            scale = usual
        return {"negative_prompt": request.negative_prompt, family.negative: scale}

    def _edited(
        self,
        request: ImageRequest,
        task: str,
        pictures: Sequence[Any],
        size: tuple[int, int],
        leniency: Leniency,
    ) -> tuple[dict[str, Any], tuple[Any, Any] | None]:
        """The arguments of input pictures, and the picture and mask of what is kept."""
        if task == "txt2img":
            if request.strength is not None:
                leniency.leave_out("strength", "strength is of an input picture, and there is none")
            return {}, None
        if task == "img2img" and self._family.whole:
            if request.strength is not None:
                leniency.leave_out("strength", f"{self._row.slug} reads input pictures whole")
            for picture in pictures:
                self._check_whole(picture)
            return {"image": list(pictures) if len(pictures) > 1 else pictures[0]}, None
        source, up = fitted(pictures[0], *size), [self._up(side) for side in size]
        arguments = {"image": padded(source, *up), "strength": self._strength(request)}
        if task == "img2img":
            return arguments, None
        mask = fitted(mask_of(request.mask or b"", pictures[0].size), *size)
        return {**arguments, "mask_image": padded(mask, *up)}, (source, mask)

    def _check_whole(self, picture: Any) -> None:
        short, long = sorted(picture.size)
        if short < _LEAST_SIDE or long > _MOST_STRETCHED * short:
            raise InvalidValue(
                f"image has {picture.width}x{picture.height} pixels; {self._row.slug} reads "
                f"pictures of at least {_LEAST_SIDE} pixels a side, not longer than "
                f"{_MOST_STRETCHED} times their width.",
                param="image",
            )

    def _steps(self, request: ImageRequest) -> int:
        return request.steps or int(self._row.defaults["steps"])

    def _strength(self, request: ImageRequest) -> float:
        steps = self._steps(request)
        strength = _STRENGTH if request.strength is None else request.strength
        if steps * strength < 1:
            raise InvalidValue(
                f"strength {strength:g} of {steps} steps leaves none; send at least "
                f"{1 / steps:.2g}, or more steps.",
                param="strength",
            )
        return strength

    def _size(self, request: ImageRequest, pictures: Sequence[Any]) -> tuple[int, int]:
        most = self._row.options["most_pixels"]
        if request.width and request.height:
            width, height = request.width, request.height
        elif not pictures:
            width, height = map(int, self._row.defaults["size"].split("x"))
        else:
            first, grid = pictures[0], self._family.grid
            shrink = min(1.0, (min(_EDIT_PIXELS, most) / (first.width * first.height)) ** 0.5)
            width = max(grid, int(first.width * shrink))
            height = max(grid, int(first.height * shrink))
        if width * height > most:
            raise InvalidValue(
                f"size: {self._row.slug} makes pictures of at most {most} pixels; got "
                f"{width}x{height}.",
                param="size",
            )
        return width, height

    def _up(self, pixels: int) -> int:
        """The next side that the model can make; the picture is cut back to what was asked for."""
        grid = self._family.grid
        return -(-pixels // grid) * grid

    def _chosen_scheduler(self, request: ImageRequest) -> str | None:
        known = self._family.schedulers
        if request.scheduler is None or request.scheduler in known:
            return request.scheduler
        instead = f"send one of {', '.join(known)}" if known else "leave it out: it has its own"
        raise UnsupportedParameter(
            f"scheduler is not supported by {self._row.slug}; {instead}.", param="scheduler"
        )

    def _made_scheduler(self, name: str | None) -> Any:
        """A fresh one: what a run leaves in it is nothing to the next."""
        import diffusers

        if name is None:
            return type(self._scheduler).from_config(self._scheduler.config)
        made, changes = self._family.schedulers[name]
        return getattr(diffusers, made).from_config(self._scheduler.config, **changes)


def _finish(
    left_out: tuple[LeftOut, ...], outputs: Sequence[tuple[ImageItem, list[Any]]]
) -> Images:
    """Cut the pictures to the size that was asked for and encode them."""
    from PIL import Image

    item, pictures = only(outputs)
    cut = [crop(picture, item.width, item.height) for picture in pictures]
    if item.kept is not None:
        source, mask = item.kept
        cut = [Image.composite(picture, source, mask) for picture in cut]
    return Images(encoded(cut, item.seeds, item.output), left_out)
