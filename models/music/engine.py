"""Songs with ACE-Step 1.5: diffusers' ``AceStepPipeline``.

One set of weights serves songs of a text and covers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.music.checkpoint import pipeline_of
from models.music.composer import Composer, after_step
from models.music.plan import Model, SongItem
from models.music.tiles import Tiles
from models.pipelines.lending import Lender
from models.pipelines.prompt_cache import PromptCache
from models.pipelines.token_counter import TokenCounter
from models.pipelines.turns import Turn, Turns
from models.quiet import hush
from models.row import Row
from models.work import Ticket


class AceStepMusic(Composer):
    """A model of music; see ``Composer``."""

    libraries = ("torch", "diffusers", "transformers", "accelerate", "av")
    express = True

    def __init__(self, pipeline: Any, row: Row) -> None:
        model = Model(
            rate_hz=pipeline.sample_rate,
            hop=pipeline.vae.hop_length,
            texts=partial(_texts, pipeline._format_prompt),
            count=TokenCounter(pipeline.tokenizer),
            covers=pipeline.audio_tokenizer is not None,
        )
        super().__init__(row, model)
        self._device = pipeline._execution_device
        self._name = type(pipeline).__name__
        self._pipelines = Lender(pipeline, PromptCache(pipeline.encode_prompt))
        self._tiles = Tiles(pipeline.vae)
        self._turns = Turns()

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> AceStepMusic:
        """Load a folder of ACE-Step's files: bfloat16 on a GPU, float32 on a CPU.

        Raises:
            WeightsUnavailable: a file is missing, or of another model.
        """
        import torch

        hush("transformers", "diffusers")
        dtype = torch.bfloat16 if device.kind == "cuda" else torch.float32
        return cls(pipeline_of(folder, dtype).to(device.kind), row)

    def compose(self, ticket: Ticket[SongItem]) -> Any:
        """Return a song at -1 dB of full scale.

        Between two steps, shorter songs go first, but for songs with recordings: these draw from
        torch's own generators. A song that ran out of memory is decoded in shorter tiles when it
        is made again.
        """
        import torch

        item = ticket.item
        sounds = {name: torch.from_numpy(sound) for name, sound in item.sounds.items()}
        seeded = _seeded(item.seed, self._device) if sounds else nullcontext()
        alone = bool(sounds) or self._tiles.due
        with (
            self._turns.take(item.work, alone=alone) as turn,
            self._pipelines.lend(self._name) as pipeline,
            self._tiles.run(),
            seeded,
        ):
            made = pipeline(
                generator=torch.Generator(self._device).manual_seed(item.seed),
                callback_on_step_end=partial(_callback, ticket, turn),
                output_type="np",
                **item.arguments,
                **sounds,
            )
        return made.audios[0]

    @property
    def pipeline(self) -> Any:
        """A pipeline that no run uses; all share the same parts."""
        return self._pipelines.idle(self._name)

    def close(self) -> None:
        """Drop the pipeline, and break its references to this engine's objects."""
        self._pipelines.close()
        del self._pipelines, self._tiles, self._model


def _callback(
    ticket: Ticket[SongItem], turn: Turn, _pipeline: Any, step: int, _: Any, kwargs: Any
) -> Any:
    """Report progress, and let a shorter song go first, as diffusers' callback."""
    turn.after_step()
    after_step(ticket, step + 1)
    return kwargs


@contextmanager
def _seeded(seed: int, device: Any) -> Iterator[None]:
    """Seed torch's own generators for a while: by these the VAE draws a recording's latents."""
    import torch

    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def _texts(format_prompt: Any, arguments: Mapping[str, Any]) -> Sequence[str]:
    """Return the two texts that the encoder reads, as the pipeline writes them."""
    from diffusers.pipelines.ace_step.pipeline_ace_step import TASK_INSTRUCTIONS

    texts: Sequence[str] = format_prompt(
        prompt=arguments["prompt"][0],
        lyrics=arguments["lyrics"][0],
        vocal_language=arguments["vocal_language"][0],
        audio_duration=arguments["audio_duration"],
        instruction=TASK_INSTRUCTIONS[arguments["task_type"]],
        **{name: arguments[name] for name in ("bpm", "keyscale", "timesignature")},
    )
    return texts
