"""From a request to the arguments of a pipeline, or to an error."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.errors import ContextLengthExceeded, InvalidValue, UnsupportedParameter
from models.images.diffusion.families import FAMILIES
from models.images.diffusion.inputs import InputPictures, Sizes, decoded
from models.images.encoding import check_delivery
from models.images.request import Adapter, ImageRequest, Output
from models.leniency import Leniency
from models.row import Row

_NEGATIVE_GUIDANCE = 2.0  # with a negative prompt, if the request names no guidance
_EDIT_PIXELS = 1024 * 1024  # Flux2KleinPipeline reads input pictures at no more than this


@dataclass(frozen=True)
class ImageItem:
    """One picture of a checked request: the arguments of its pipeline, and its output.

    Attributes:
        task: selects the pipeline.
        arguments: of the pipeline, except the prompts.
        negative: the negative prompt, or None.
        part, parts: index among the request's pictures, and their number.
        generated_size: width and height that the model makes; the picture is its middle.
        scheduler: None = the model's own.
        kept: a picture and the mask of what changes in it; its other pixels are kept exactly.
    """

    task: str
    prompt: str
    negative: str | None
    arguments: dict[str, Any]
    seed: int
    part: int
    parts: int
    width: int
    height: int
    generated_size: tuple[int, int]
    output: Output
    scheduler: str | None = None
    adapters: tuple[Adapter, ...] = ()
    kept: tuple[Any, Any] | None = None
    previews: int = 0

    @property
    def work(self) -> int:
        """How much there is to do: pixels times steps."""
        width, height = self.generated_size
        return width * height * int(self.arguments["num_inference_steps"])

    @property
    def kind(self) -> Hashable:
        """Equal for pictures that may share a run; None = this picture runs alone."""
        if self.task != "txt2img":
            return None
        arguments = tuple(sorted(self.arguments.items()))
        loras = tuple((adapter.name, adapter.scale) for adapter in self.adapters)
        return (arguments, self.negative is None, self.scheduler, loras)


class ImagePlan:
    """Checks requests against a model.

    Args:
        row: the model; its options are those of ``DiffusersImages``.
        count: counts the tokens of texts.
    """

    def __init__(self, row: Row, count: Callable[[Sequence[str]], Sequence[int]]) -> None:
        self._row = row
        self._family = FAMILIES[row.options["family"]]
        self._count = count
        self._inputs = InputPictures(row)

    def __call__(self, request: ImageRequest, leniency: Leniency) -> list[ImageItem]:
        """Check a request, decode its pictures, and return an item for each picture to be made.

        Raises:
            UnsupportedParameter: the model cannot honour a field: an input picture, a mask, a
                scheduler; of a strict request, also a field that would change nothing.
            InvalidValue: fields contradict each other, or the picture is too large for the model.
            ContextLengthExceeded: the text encoder would cut the prompt.
            MediaUndecodable: an input picture cannot be read.
        """
        self._check_prompt("prompt", request.prompt)
        pictures, task = [], self._task(request)
        if request.images:
            pictures = decoded(request.images)
            task = self._inputs.task(request, task, pictures[0], leniency)
        width, height = self._size(request, pictures)
        opaque = request.mask is None or pictures[0].mode == "RGB"
        check_delivery(request.output, len(request.seeds), width, height, opaque=opaque)
        generated_size = (self._on_grid(width), self._on_grid(height))
        negative, guided = self._guided(request, leniency)
        sizes = Sizes((width, height), generated_size)
        edited, kept = self._inputs.arguments(request, task, pictures, sizes, leniency)
        first = ImageItem(
            task=task,
            prompt=request.prompt,
            negative=negative,
            arguments={**self._arguments(request, generated_size), **guided, **edited},
            seed=request.seeds[0],
            part=0,
            parts=len(request.seeds),
            width=width,
            height=height,
            generated_size=generated_size,
            output=request.output,
            scheduler=self._scheduler(request),
            adapters=request.adapters,
            kept=kept,
            previews=request.previews,
        )
        return [replace(first, seed=seed, part=part) for part, seed in enumerate(request.seeds)]

    def prompt_tokens(self, request: ImageRequest) -> int:
        """Return the tokens of the prompt and the negative prompt together."""
        prompts = [request.prompt, *filter(None, [request.negative_prompt])]
        return sum(self._count(prompts))

    def _arguments(self, request: ImageRequest, size: tuple[int, int]) -> dict[str, Any]:
        """Return the arguments that every task has."""
        arguments: dict[str, Any] = {
            "width": size[0],
            "height": size[1],
            "num_inference_steps": self._steps(request),
        }
        if self._family.blank is None:
            arguments["guidance_scale"] = self._row.defaults["guidance"]
        if self._family.prompt_limit:
            arguments["max_sequence_length"] = self._row.options["prompt_tokens"]
        return arguments

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

    def _guided(
        self, request: ImageRequest, leniency: Leniency
    ) -> tuple[str | None, dict[str, Any]]:
        """Return the negative prompt, and the arguments of guidance."""
        slug, family = self._row.slug, self._family
        if request.negative_prompt and family.negative is None:
            leniency.leave_out(
                "negative_prompt", f"{slug} is distilled and takes no negative_prompt"
            )
        if not request.negative_prompt and family.blank is not None and family.negative:
            given = request.guidance
            scale = float(self._row.defaults["guidance"]) if given is None else given
            if scale <= family.unguided:
                return None, {family.negative: family.unguided}
            return family.blank, {family.negative: scale}
        if not request.negative_prompt or family.negative is None:
            if request.guidance in (None, self._row.defaults["guidance"]):
                return None, {}
            if family.guided:
                return None, {"guidance_scale": request.guidance}
            leniency.leave_out(
                "guidance",
                f"{slug} is distilled: guidance changes nothing without a negative_prompt",
            )
            return None, {}
        self._check_prompt("negative_prompt", request.negative_prompt)
        default = max(self._row.defaults["guidance"], _NEGATIVE_GUIDANCE)
        scale = default if request.guidance is None else request.guidance
        if scale <= family.unguided:
            leniency.leave_out(
                "guidance",
                f"guidance of {family.unguided:g} or less would switch the negative_prompt off",
            )
            scale = default
        return request.negative_prompt, {family.negative: scale}

    def _steps(self, request: ImageRequest) -> int:
        return request.steps or int(self._row.defaults["steps"])

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

    def _on_grid(self, pixels: int) -> int:
        """Round a side up to the model's grid; the picture is cropped later."""
        grid = self._family.grid
        return -(-pixels // grid) * grid

    def _scheduler(self, request: ImageRequest) -> str | None:
        known = self._family.schedulers
        if request.scheduler is None or request.scheduler in known:
            return request.scheduler
        instead = f"send one of {', '.join(known)}" if known else "leave it out: it has its own"
        raise UnsupportedParameter(
            f"scheduler is not supported by {self._row.slug}; {instead}.", param="scheduler"
        )
