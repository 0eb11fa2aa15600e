"""Images with diffusers pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.errors import ContextLengthExceeded, UnsupportedParameter
from models.images.edits import check_task
from models.images.pictures import crop, decode, encoded
from models.images.request import ImageRequest, Images, Output
from models.images.tokens import TokenCounter
from models.quiet import hush
from models.row import Row
from models.surface import LeftOut, Leniency, Ticket, Work, only

_GRID = 16  # latents are 1/8 of the picture and are taken in 2x2 patches
_NEGATIVE_GUIDANCE = 2.0  # where a negative prompt comes without
_EDIT_PIXELS = 1024 * 1024  # Flux2KleinPipeline reads input pictures at no more than this


@dataclass(frozen=True)
class ImageItem:
    """A checked request: the pipeline's arguments, and how to cut and encode its pictures."""

    arguments: dict[str, Any]
    seeds: tuple[int, ...]
    width: int
    height: int
    output: Output


class _Stopped(Exception):
    """Ends a picture that nobody waits for."""


class DiffusersImages:
    """A diffusers pipeline; emits ``(step, steps)`` as it goes.

    Row options: ``pipeline`` (class in diffusers), ``prompt_tokens`` (the longest prompt),
    ``negative`` (the argument that switches a negative prompt on; absent = it takes none).
    """

    budget = None
    capacity = 1
    packs = False

    def __init__(self, pipeline: Any, row: Row) -> None:
        self._pipeline = pipeline
        self._row = row
        self._count = TokenCounter(getattr(pipeline, "tokenizer_2", None) or pipeline.tokenizer)
        self._pipeline.set_progress_bar_config(disable=True)

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> DiffusersImages:
        """Load the folder: bfloat16 on a GPU, float32 on a CPU."""
        import diffusers
        import torch

        hush("transformers", "diffusers")
        dtype = torch.bfloat16 if device.kind == "cuda" else torch.float32
        pipeline_class = getattr(diffusers, row.options["pipeline"])
        pipeline = pipeline_class.from_pretrained(folder, dtype=dtype, local_files_only=True)
        return cls(pipeline.to(device.kind), row)

    def prepare(self, request: ImageRequest) -> Work:
        """Check the request against the model and decode the input picture; it runs alone.

        Raises:
            UnsupportedParameter: an input picture that the model cannot use; of a strict request,
                a negative prompt or guidance, too.
            ContextLengthExceeded: a prompt that the text encoder would cut.
            MediaUndecodable: the input picture cannot be read.
        """
        check_task(request, self._row)
        self._check_prompt("prompt", request.prompt)
        picture = self._input(request)
        width, height = self._size(request, picture)
        defaults = self._row.defaults
        arguments: dict[str, Any] = {
            "prompt": request.prompt,
            "width": _up(width),
            "height": _up(height),
            "num_inference_steps": request.steps or defaults["steps"],
            "guidance_scale": defaults["guidance"],
            "max_sequence_length": self._row.options["prompt_tokens"],
        }
        if picture is not None:
            arguments["image"] = picture
        leniency = Leniency(request.strict)
        arguments |= self._guided(request, leniency)
        seeds = tuple(request.seed + index for index in range(request.n))
        item = ImageItem(arguments, seeds, width, height, request.output)
        return Work((item,), finish=partial(_finish, tuple(leniency.left_out)), beside=True)

    def run(self, batch: Sequence[Ticket[ImageItem]]) -> list[Any]:
        """Run the pipeline; stops at the next step once a ticket is cancelled."""
        return [self._generate(ticket) for ticket in batch]

    def close(self) -> None:
        """Drop the pipeline."""
        self._pipeline = None

    def _generate(self, ticket: Ticket[ImageItem]) -> tuple[ImageItem, list[Any]]:
        import torch

        item = ticket.item
        steps = item.arguments["num_inference_steps"]

        def on_step(pipeline: Any, step: int, _timestep: Any, kwargs: dict[str, Any]) -> Any:
            ticket.emit((step + 1, steps))
            if ticket.cancelled:
                raise _Stopped  # diffusers' own switch would still decode what is there
            return kwargs

        device = self._pipeline.device.type
        try:
            result = self._pipeline(
                **item.arguments,
                num_images_per_prompt=len(item.seeds),
                generator=[torch.Generator(device).manual_seed(seed) for seed in item.seeds],
                callback_on_step_end=on_step,
            )
        except _Stopped:
            return item, []
        return item, result.images

    def _check_prompt(self, param: str, prompt: str) -> None:
        [length] = self._count([prompt])
        limit = self._row.options["prompt_tokens"]
        if length > limit:
            raise ContextLengthExceeded(
                f"{param} has {length} tokens; {self._row.slug} reads at most {limit}.", param=param
            )

    def _guided(self, request: ImageRequest, leniency: Leniency) -> dict[str, Any]:
        """The arguments of a negative prompt, whose guidance switches it on.

        The models are distilled: their pictures follow the prompt without either.
        """
        slug, switch = self._row.slug, self._row.options.get("negative")
        if request.negative_prompt and switch is None:
            leniency.leave_out(
                "negative_prompt", f"{slug} is distilled and takes no negative_prompt"
            )
        if not request.negative_prompt or switch is None:
            if request.guidance not in (None, self._row.defaults["guidance"]):
                leniency.leave_out(
                    "guidance",
                    f"{slug} is distilled: guidance changes nothing without a negative_prompt",
                )
            return {}
        self._check_prompt("negative_prompt", request.negative_prompt)
        scale = _NEGATIVE_GUIDANCE if request.guidance is None else request.guidance
        if scale <= 1:
            leniency.leave_out(
                "guidance", "guidance of 1 or less would switch the negative_prompt off"
            )
            scale = _NEGATIVE_GUIDANCE
        return {"negative_prompt": request.negative_prompt, switch: scale}

    def _input(self, request: ImageRequest) -> Any:
        if request.image is None:
            return None
        if "img2img" not in self._row.tasks:
            raise UnsupportedParameter(
                f"{self._row.slug} makes pictures from text only and takes no input image; leave "
                "it out, or ask a model that edits pictures.",
                param="image",
            )
        return decode(request.image)

    def _size(self, request: ImageRequest, picture: Any) -> tuple[int, int]:
        if request.width and request.height:
            return request.width, request.height
        if picture is None:
            width, height = self._row.defaults["size"].split("x")
            return int(width), int(height)
        shrink = min(1.0, (_EDIT_PIXELS / (picture.width * picture.height)) ** 0.5)
        return max(_GRID, int(picture.width * shrink)), max(_GRID, int(picture.height * shrink))


def _finish(
    left_out: tuple[LeftOut, ...], outputs: Sequence[tuple[ImageItem, list[Any]]]
) -> Images:
    """Cut the pictures to the size that was asked for and encode them."""
    item, pictures = only(outputs)
    cut = [crop(picture, item.width, item.height) for picture in pictures]
    return Images(encoded(cut, item.seeds, item.output), left_out)


def _up(pixels: int) -> int:
    """The next size that the model can make; the picture is cut back to what was asked for."""
    return -(-pixels // _GRID) * _GRID
