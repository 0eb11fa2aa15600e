"""Video with sound by LTX-2.3, distilled: from words, and pictures of its first and last frame.

The distilled model is made for eight steps of given sizes without guidance. diffusers' defaults are
those of another model: each of its guidances must be switched off, or every step costs three runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.engine import BatchEngine, Differences
from models.images.request import ImageRequest, Images, Output, Picture
from models.images.video import fields
from models.images.video.delivery import fitting, smaller_copy
from models.images.video.fields import STEPS
from models.images.video.mp4 import mp4, stills
from models.images.video.plan import Clip, ClipPlan
from models.images.video.weights import ltx_transformer
from models.leniency import LeftOut, Leniency
from models.operator import Operator
from models.pipelines import options, placement
from models.pipelines.lending import Lender
from models.pipelines.token_counter import TokenCounter
from models.pipelines.turns import Turn, Turns
from models.pipelines.vae_tiling import VaeTiling
from models.quiet import hush
from models.row import Row
from models.work import Progress, Stopped, Ticket, Work, only

# With diffusers' own values, each step would run the transformer three times.
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
_PIPELINES = {  # by ``Clip.conditioning``
    "words": "LTX2Pipeline",
    "first": "LTX2ImageToVideoPipeline",
    "frames": "LTX2ConditionPipeline",
}


class LtxVideo(BatchEngine):
    """A model of videos; emits ``Progress``.

    Row options: ``prompt_tokens`` (the longest prompt), ``most_pixels`` (of all frames together),
    and those of ``models.pipelines.placement``.
    """

    libraries = ("torch", "diffusers", "transformers", "accelerate", "av")
    budget = 768 * 512 * 25  # a second; shorter videos go before longer ones

    def __init__(self, pipeline: Any, row: Row) -> None:
        self._row = row
        self._device = pipeline._execution_device.type
        self._plan = ClipPlan(row, TokenCounter(pipeline.tokenizer))
        self._first = pipeline
        self._pipelines = Lender(pipeline, pipeline.encode_prompt)
        self._tiling = VaeTiling(pipeline.vae)
        self._turns = Turns()
        self.express = placement.serves_two_runs(row)

    @classmethod
    def honours(cls, row: Row) -> Differences:
        """Return where the model differs from the surface's fields."""
        return fields.differences(row)

    @classmethod
    def configured(cls, row: Row, operator: Operator) -> Row:
        """Return the row with the operator's options of pipelines."""
        return options.configured(row, operator)

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> LtxVideo:
        """Load a pipeline's folder; its transformer may be a file of Lightricks' beside the parts.

        Raises:
            WeightsUnavailable: that file is broken, of another model, or in an unsupported layout.
        """
        import torch
        from diffusers import LTX2Pipeline

        hush("transformers", "diffusers")
        dtype = torch.bfloat16 if device.kind == "cuda" else torch.float32
        file = next(folder.glob("*.safetensors"), None)
        parts = {} if file is None else {"transformer": ltx_transformer(file, folder, dtype)}
        pipeline = LTX2Pipeline.from_pretrained(folder, dtype=dtype, local_files_only=True, **parts)
        return cls(placement.placed(pipeline, row, device.kind), row)

    def prepare(self, request: ImageRequest) -> Work:
        """Check the request and decode its pictures; see ``ClipPlan`` for what is raised."""
        leniency = Leniency(request.strict)
        clip = self._plan(request, leniency)
        finish = partial(_finish, clip, request.output, tuple(leniency.left_out))
        return Work((clip,), [clip.pixels], finish=finish, in_thread=True)

    def run(self, batch: Sequence[Ticket[Clip]]) -> list[Any]:
        """Make the video; stop at the next step once nobody waits for it.

        Between two steps, shorter videos go first. A video that ran out of memory is decoded in
        tiles when it is run again.
        """
        [ticket] = batch
        try:
            with (
                self._turns.take(ticket.item.pixels, alone=self._tiling.due) as turn,
                self._tiling.run(),
            ):
                return [self._generate(ticket, turn)]
        except Stopped:
            return [None]

    def pipeline(self, conditioning: str) -> Any:
        """Return a pipeline for a kind of conditioning that no run uses; all share the parts."""
        return self._pipelines.idle(_PIPELINES[conditioning])

    def close(self) -> None:
        """Drop the pipelines."""
        placement.unhooked(self._first, self._row)
        self._pipelines.close()
        del self._first, self._tiling, self._pipelines

    def _generate(self, ticket: Ticket[Clip], turn: Turn) -> tuple[Any, Any]:
        """Return the frames, and the sound with its rate in Hz; a silent clip's sound is None.

        The frames are uint8 of shape (frames, height, width, 3).
        """
        import numpy as np
        import torch
        from diffusers.pipelines.ltx2.utils import DISTILLED_SIGMA_VALUES

        clip = ticket.item
        with self._pipelines.lend(_PIPELINES[clip.conditioning]) as pipeline:
            made = pipeline(
                prompt=clip.prompt,
                width=clip.width,
                height=clip.height,
                num_frames=clip.frames,
                frame_rate=float(clip.fps),
                num_inference_steps=STEPS,
                sigmas=DISTILLED_SIGMA_VALUES,
                generator=torch.Generator(self._device).manual_seed(clip.seed),
                max_sequence_length=self._row.options["prompt_tokens"],
                callback_on_step_end=partial(_after_step, ticket, turn),
                output_type="np",
                **_UNGUIDED,
                **_conditions(clip),
            )
        frames: Any = np.rint(np.clip(made.frames[0], 0, 1) * 255).astype(np.uint8)
        sound = made.audio[0].float().cpu().numpy() if clip.sound else None
        return frames, (sound, self._first.vocoder.config.output_sampling_rate)


def _conditions(clip: Clip) -> dict[str, Any]:
    """Return the pipeline's arguments for a clip's pictures."""
    if clip.conditioning == "words":
        return {}
    if clip.conditioning == "first":
        return {"image": clip.first}
    from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

    frames = ((clip.first, 0), (clip.last, clip.frames - 1))
    conditions = [
        LTX2VideoCondition(picture, index) for picture, index in frames if picture is not None
    ]
    return {"conditions": conditions}


def _after_step(
    ticket: Ticket[Clip], turn: Turn, _pipeline: Any, step: int, _: Any, kwargs: Any
) -> Any:
    """Report progress, and let a shorter video go first, as diffusers' callback.

    Raises:
        Stopped: nobody waits any more.
    """
    ticket.emit(Progress(0, step + 1, STEPS, "steps"), lasting=False)
    turn.after_step()
    if ticket.cancelled:
        raise Stopped
    return kwargs


def _finish(
    clip: Clip, output: Output, left_out: tuple[LeftOut, ...], outputs: Sequence[Any]
) -> Images:
    """Encode the video, for ``Work.finish``."""
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
    return Images((picture,), (*left_out, *warnings), prompt_tokens=clip.tokens)
