"""Video with sound by LTX-2.3, distilled: words, and pictures of its first and last frame.

The distilled model is made for eight steps of given sizes without guidance. diffusers' defaults are
another model's: each of its guidances has to be switched off, or every step costs three runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.errors import ContextLengthExceeded, InvalidValue, UnsupportedParameter
from models.images import honoured, tuning
from models.images.checkpoint import ltx_transformer
from models.images.clips import fitting, smaller_copy
from models.images.mp4 import likely_bytes, mp4, stills
from models.images.pictures import decode, without_transparency
from models.images.request import ImageRequest, Images, Output, Picture, Video
from models.images.resizing import fitted
from models.images.tiling import Tiling
from models.images.tokens import TokenCounter
from models.quiet import hush
from models.row import Row
from models.surface import Differences, LeftOut, Leniency, Progress, Stopped, Ticket, Work, only

_GRID = 32  # pixels that a side is a multiple of
_LEAST = 64
_GROUP = 8  # frames that are one inside the model, besides the first
_STEPS = 8
_TELEVISION = 2e-4  # so near a rate means that one; whole ones are five times as far away
_BASE64 = 4 / 3
# What diffusers would spend two further runs of the transformer on at each step.
_UNGUIDED: dict[str, Any] = {
    "guidance_scale": 1.0,
    "audio_guidance_scale": 1.0,
    "stg_scale": 0.0,
    "audio_stg_scale": 0.0,
    "modality_scale": 1.0,
    "audio_modality_scale": 1.0,
    "guidance_rescale": 0.0,
    "audio_guidance_rescale": 0.0,
    "spatio_temporal_guidance_blocks": None,
}
_PIPELINES = {
    "words": "LTX2Pipeline",
    "first": "LTX2ImageToVideoPipeline",
    "frames": "LTX2ConditionPipeline",
}


@dataclass(frozen=True)
class Clip:
    """A video that is to be made.

    Attributes:
        first, last: pictures of these frames, of the video's size; None = the model's own.
        fps: exact.
    """

    prompt: str
    seed: int
    width: int
    height: int
    frames: int
    fps: Fraction
    sound: bool
    first: Any
    last: Any

    @property
    def way(self) -> str:
        """Which pipeline makes it."""
        if self.last is not None:
            return "frames"
        return "words" if self.first is None else "first"


class LtxVideo:
    """A model of videos; emits ``Progress``.

    Row options: ``prompt_tokens`` (the longest prompt), ``most_pixels`` (of all frames together),
    and those of ``models.images.tuning``.
    """

    libraries = ("torch", "diffusers", "transformers", "accelerate", "av")
    budget = None
    capacity = 1
    packs = False

    def __init__(self, pipeline: Any, row: Row) -> None:
        self._row = row
        self._device = pipeline._execution_device.type
        self._count = TokenCounter(pipeline.tokenizer)
        self._first = pipeline
        self._pipelines = {"words": _quiet(pipeline)}
        self._tiling = Tiling(pipeline.vae)

    @classmethod
    def honours(cls, row: Row) -> Differences:
        """The fields that are refused or left out."""
        return honoured.of_videos(row)

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> LtxVideo:
        """Load the folder: a pipeline of diffusers', its transformer perhaps a file of its own.

        Raises:
            WeightsUnavailable: that file is broken, of another model, or stored in another way
                than those that are read.
        """
        import torch
        from diffusers import LTX2Pipeline

        hush("transformers", "diffusers")
        dtype = torch.bfloat16 if device.kind == "cuda" else torch.float32
        own = next(folder.glob("*.safetensors"), None)
        stored = {} if own is None else {"transformer": ltx_transformer(own, folder, dtype)}
        pipeline = LTX2Pipeline.from_pretrained(
            folder, dtype=dtype, local_files_only=True, **stored
        )
        return cls(tuning.placed(pipeline, row, device.kind), row)

    def prepare(self, request: ImageRequest) -> Work:
        """Check the request and read its pictures; sides and lengths are made to fit.

        Raises:
            UnsupportedParameter: what a distilled model of videos cannot do.
            InvalidValue: a video that is too long, too large, or too large for an answer.
            ContextLengthExceeded: a prompt that the text encoder would cut.
            MediaUndecodable: a picture cannot be read.
        """
        leniency = Leniency(request.strict)
        self._check(request)
        clip = self._clip(request, leniency)
        size_bytes = likely_bytes(clip.width, clip.height, clip.frames)
        limit_bytes = request.output.limit_bytes
        if limit_bytes is not None and size_bytes * _BASE64 > limit_bytes:
            raise InvalidValue(
                f"A video of {clip.width}x{clip.height} and {clip.frames} frames would be some "
                f"{size_bytes * _BASE64 / 1e6:.1f} MB, and an answer holds "
                f"{limit_bytes / 1e6:.1f}; ask for a shorter or smaller one, or configure a "
                "bucket.",
                param="frames",
                code="output_too_large",
            )
        [tokens] = self._count([clip.prompt])
        finish = partial(_finish, clip, request.output, tuple(leniency.left_out), tokens)
        return Work((clip,), finish=finish, beside=True)

    def run(self, batch: Sequence[Ticket[Clip]]) -> list[Any]:
        """Make the video; stops at the next step once nobody waits.

        One that is out of memory is decoded in tiles when it is begun again.
        """
        [ticket] = batch
        try:
            with self._tiling.run():
                return [self._made(ticket)]
        except Stopped:
            return [None]

    def close(self) -> None:
        """Drop the pipelines."""
        tuning.unhooked(self._first, self._row)
        del self._first, self._tiling
        self._pipelines = {}

    # A request ---------------------------------------------------------------------------------

    def _check(self, request: ImageRequest) -> None:
        """Refuse by name what the model cannot honour."""
        slug = self._row.slug
        if not request.prompt:
            raise InvalidValue(
                "prompt is required.", param="prompt", code="missing_required_parameter"
            )
        [length] = self._count([request.prompt])
        if length > (limit := self._row.options["prompt_tokens"]):
            raise ContextLengthExceeded(
                f"prompt has {length} tokens; {slug} reads at most {limit}.", param="prompt"
            )
        if len(request.seeds) > 1:
            raise InvalidValue(f"n: {slug} makes one video at a time.", param="n")
        if len(request.images) > 1:
            raise InvalidValue(
                f"image is the first frame; got {len(request.images)} pictures.", param="image"
            )
        wrong = {
            "negative_prompt": bool(request.negative_prompt),
            "guidance": request.guidance not in (None, 1),
            "steps": request.steps not in (None, _STEPS),
            "strength": request.strength not in (None, 1),
            "scheduler": request.scheduler is not None,
            "mask": request.mask is not None,
            "loras": bool(request.adapters),
            "scale": request.scale not in (None, 1),
            "background": request.background == "transparent",
        }
        for name in (name for name, asked in wrong.items() if asked):
            raise UnsupportedParameter(
                f"{name} is not supported: {slug} is distilled, and makes videos in {_STEPS} steps "
                "without guidance; leave it out.",
                param=name,
            )

    def _clip(self, request: ImageRequest, leniency: Leniency) -> Clip:
        video = request.video or Video()
        first = self._read(request.images[0], "image", leniency) if request.images else None
        last = self._read(video.last, "last_image", leniency) if video.last else None
        width, height = self._size(request, first or last, leniency)
        fps = _exact(video.fps or self._row.defaults["fps"])
        frames = self._frames(video, fps, leniency)
        most = self._row.options["most_pixels"]
        if width * height * frames > most:
            raise InvalidValue(
                f"frames: {self._row.slug} makes {most // (width * height)} frames of "
                f"{width}x{height} at most; got {frames}.",
                param="frames",
            )
        pictures = [None if one is None else fitted(one, width, height) for one in (first, last)]
        sound = True if video.sound is None else video.sound
        seed = request.seeds[0]
        return Clip(request.prompt, seed, width, height, frames, fps, sound, *pictures)

    def _read(self, content: bytes, param: str, leniency: Leniency) -> Any:
        picture = decode(content, param, alpha=True)
        return without_transparency(picture, param, self._row.slug, leniency)

    def _size(self, request: ImageRequest, picture: Any, leniency: Leniency) -> tuple[int, int]:
        if request.width and request.height:
            wanted = request.width, request.height
        else:
            usual = map(int, self._row.defaults["size"].split("x"))
            wanted = next(usual), next(usual)
            if picture is not None:  # as many pixels, as wide as it is
                area = wanted[0] * wanted[1]
                ratio = min(4.0, max(0.25, picture.width / picture.height))
                wanted = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        width, height = (max(_LEAST, round(side / _GRID) * _GRID) for side in wanted)
        if request.width and (width, height) != wanted:
            leniency.adapt(
                "size",
                f"sides are multiples of {_GRID}: {wanted[0]}x{wanted[1]} became {width}x{height}",
            )
        return width, height

    def _frames(self, video: Video, fps: Fraction, leniency: Leniency) -> int:
        wanted = video.frames
        if wanted is None and video.seconds is not None:
            wanted = max(1, round(video.seconds * fps))
        if wanted is None:
            return int(self._row.defaults["frames"])
        frames = max(0, round((wanted - 1) / _GROUP)) * _GROUP + 1
        if frames != wanted and video.frames is not None:
            leniency.adapt(
                "frames", f"frames are a multiple of {_GROUP} and one: {wanted} became {frames}"
            )
        return frames

    # On the device -----------------------------------------------------------------------------

    def _made(self, ticket: Ticket[Clip]) -> tuple[Any, Any]:
        """The frames, uint8 of shape (frames, height, width, 3), and the sound or None."""
        import numpy as np
        import torch
        from diffusers.pipelines.ltx2.utils import DISTILLED_SIGMA_VALUES

        clip = ticket.item
        pipeline = self._pipeline(clip.way)
        made = pipeline(
            prompt=clip.prompt,
            width=clip.width,
            height=clip.height,
            num_frames=clip.frames,
            frame_rate=float(clip.fps),
            num_inference_steps=_STEPS,
            sigmas=DISTILLED_SIGMA_VALUES,
            generator=torch.Generator(self._device).manual_seed(clip.seed),
            max_sequence_length=self._row.options["prompt_tokens"],
            callback_on_step_end=partial(_after_step, ticket),
            output_type="np",
            **_UNGUIDED,
            **_shown(clip),
        )
        frames: Any = np.rint(np.clip(made.frames[0], 0, 1) * 255).astype(np.uint8)
        sound = made.audio[0].float().cpu().numpy() if clip.sound else None
        return frames, (sound, self._first.vocoder.config.output_sampling_rate)

    def _pipeline(self, way: str) -> Any:
        """The pipeline of a way; all are made of the same parts."""
        if way not in self._pipelines:
            self._pipelines[way] = _quiet(tuning.sibling(self._first, _PIPELINES[way]))
        return self._pipelines[way]


def _exact(fps: float) -> Fraction:
    """Frames a second, exact. What is near a rate of television is that: 23.98 is 24000/1001."""
    if fps == round(fps):
        return Fraction(round(fps))
    television = Fraction(round(fps) * 1000, 1001)
    if abs(float(television) / fps - 1) < _TELEVISION:
        return television
    return Fraction(fps).limit_denominator(1000)


def _quiet(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _shown(clip: Clip) -> dict[str, Any]:
    """The arguments of a clip's pictures."""
    if clip.way == "words":
        return {}
    if clip.way == "first":
        return {"image": clip.first}
    from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

    frames = ((clip.first, 0), (clip.last, clip.frames - 1))
    conditions = [LTX2VideoCondition(one, index) for one, index in frames if one is not None]
    return {"conditions": conditions}


def _after_step(ticket: Ticket[Clip], pipeline: Any, step: int, _: Any, kwargs: Any) -> Any:
    """As diffusers calls it.

    Raises:
        Stopped: nobody waits any more.
    """
    ticket.emit(Progress(0, step + 1, _STEPS, "steps"), lasting=False)
    if ticket.cancelled:
        raise Stopped
    return kwargs


def _finish(
    clip: Clip,
    output: Output,
    left_out: tuple[LeftOut, ...],
    tokens: int,
    outputs: Sequence[Any],
) -> Images:
    frames, (sound, rate_hz) = only(outputs)
    encode = partial(mp4, frames, clip.fps, sound, rate_hz)
    content, warnings = fitting(encode, output)
    picture = Picture(
        content,
        "mp4",
        clip.width,
        clip.height,
        clip.seed,
        frames=clip.frames,
        fps=float(clip.fps),
        stills=partial(stills, content),
    )
    if output.copy_limit_bytes is not None:
        picture = replace(
            picture, copy=partial(smaller_copy, picture, encode, output.copy_limit_bytes)
        )
    return Images((picture,), (*left_out, *warnings), prompt_tokens=tokens)
