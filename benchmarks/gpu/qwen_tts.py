"""Qwen3-TTS 1.7B with random weights, on our engine: how fast it speaks, and its first sound.

Random weights do not end a line, so each is cut after four seconds of sound. A streamed request is
measured from its text to its first sound, alone and beside seven others that begin with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.gpu.made import Run, forget, randomly, wait
from benchmarks.gpu.outcomes import Figure, Outcome
from models import tiny
from models.catalog import CATALOG
from models.speech.request import Output, SpeakRequest
from models.work import Unfinished

_LAYERS = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
TALKER = {
    **_LAYERS, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28,
    "vocab_size": 3072, "text_vocab_size": 151_936, "text_hidden_size": 2048,
    "codec_eos_token_id": 2150,
}  # fmt: skip
PREDICTOR = {
    **_LAYERS, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 5,
    "vocab_size": 2048, "num_code_groups": 16,
}  # fmt: skip
CODEC = {
    "latent_dim": 1024, "codebook_dim": 512, "codebook_size": 2048, "decoder_dim": 1536,
    "hidden_size": 512, "intermediate_size": 1024, "head_dim": 64, "num_attention_heads": 16,
    "num_hidden_layers": 8, "num_key_value_heads": 16, "num_quantizers": 16, "sliding_window": 72,
}  # fmt: skip
_FRAMES, _FRAME_S = 50, 0.08
_SPREAD = 0.02  # of random weights
_TEXT = "The old ship left the harbour before the sun came up."


class _Ticket:
    """A request of the benchmark's; nobody cancels it."""

    cancelled = False
    kind = "any"

    def __init__(self, item: Any) -> None:
        self.item = item

    def emit(self, event: object, *, lasting: bool = True) -> None:
        """Nobody listens."""


def measure(run: Run) -> Iterator[Outcome]:
    """Yield how fast it speaks, and how soon, alone and eight at once."""
    engine = _engine(run)
    _spoken(engine, run, 1)  # kernels are loaded
    for count in (1, 8):
        first_s, took_s = _spoken(engine, run, count)
        what = f"{count} at once"
        yield Figure(what, count * _FRAMES * _FRAME_S / took_s, "times real time")
        yield Figure(what, 1e3 * took_s / _FRAMES, "ms a frame of each")
        yield Figure(what, first_s, "s to the first sound")
    engine.close()
    forget(run.device)


def _spoken(engine: Any, run: Run, count: int) -> tuple[float, float]:
    """Speak as many texts together; returns the seconds to the first sound, and to the last."""
    asked = SpeakRequest(_TEXT, max_tokens=_FRAMES, output=Output("pcm", streamed=True))
    works = [engine.prepare(replace(asked, seed=seed)) for seed in range(count)]
    tickets: Sequence[_Ticket] = [_Ticket(part) for work in works for part in work.parts]
    start = time.perf_counter()
    first_s = 0.0
    while tickets:
        outputs = engine.run(tickets)
        wait(run.device)
        first_s = first_s or time.perf_counter() - start
        pairs = zip(tickets, outputs, strict=True)
        tickets = [ticket for ticket, output in pairs if isinstance(output, Unfinished)]
    return first_s, time.perf_counter() - start


def _engine(run: Run) -> Any:
    import torch
    from transformers import AutoTokenizer

    from models.speech.qwen.codec import Codec
    from models.speech.qwen.engine import QwenSpeaker
    from models.speech.qwen.generation import Generation
    from models.speech.qwen.networks import Talker
    from models.speech.qwen.prompt import Reader
    from models.speech.qwen.settings import Settings

    folder = run.folder / "qwen-tts"
    folder.mkdir()
    tiny.build("qwen-tts", folder)
    settings = Settings.read(folder)
    if not run.small:
        predictor = {**settings.talker["code_predictor_config"], **PREDICTOR}
        talker = {**settings.talker, **TALKER, "code_predictor_config": predictor}
        config = {**settings.config, "talker_config": talker}
        settings = replace(settings, config=config, codec={**settings.codec, **CODEC})
    reader = Reader(AutoTokenizer.from_pretrained(folder))
    row = CATALOG.find("Qwen3_TTS_12Hz_1_7B_CustomVoice")
    dtype = getattr(torch, run.device.dtype)
    with torch.inference_mode():
        made = randomly(lambda: Talker(settings.talker), run.device, dtype)
        codec = randomly(lambda: Codec(settings.codec), run.device, torch.float32)
        for network in (made, codec):
            for parameter in network.parameters():
                parameter.normal_(0, _SPREAD)
            network.turn_anew(run.device.kind)
        generation = Generation(made, settings, reader.role)
    return QwenSpeaker(row, reader, generation, codec)
