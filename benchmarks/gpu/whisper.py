"""Whisper large-v3 with random weights on ctranslate2: how many times real time.

The input is windows of 30 seconds, which in English at an ordinary pace have some 100 tokens.
Random weights never end by themselves, so each answer has exactly the maximum length. Decoding is
greedy, and with five beams as in our engine. The first figure is the encoder's alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu import work
from benchmarks.gpu.made import Run, seconds
from benchmarks.gpu.outcomes import Figure, Named, Outcome

WINDOW_S, SAID = 30.0, 100
FULL = {
    "d_model": 1280, "encoder_layers": 32, "decoder_layers": 32, "encoder_attention_heads": 20,
    "decoder_attention_heads": 20, "encoder_ffn_dim": 5120, "decoder_ffn_dim": 5120,
}  # fmt: skip
_FRAMES, _MELS, _STATES = 3000, 128, 1500  # per window: frames, mel bands, encoder states
_SPREAD = 0.03


def operations(config: dict[str, int], windows: int) -> float:
    """Return the encoder's operations for ``windows`` windows, without its two convolutions."""
    width, layers = config["d_model"], config["encoder_layers"]
    weights = layers * (4 * width * width + 2 * width * config["encoder_ffn_dim"])
    each = work.linear(_STATES, weights) + work.attention([_STATES], layers, width)
    return windows * each


def measure(run: Run) -> Iterator[Outcome]:
    """Yield figures of the encoder, then of whole windows: alone, and many at once."""
    import ctranslate2
    import numpy as np

    cuda = run.device.kind == "cuda"
    if cuda and not ctranslate2.get_cuda_device_count():
        raise RuntimeError("ctranslate2 finds no CUDA device")
    config = _config(run)
    written = write(run.folder / "whisper", {} if run.small else FULL)
    compute = "float16" if cuda else "float32"
    model = ctranslate2.models.Whisper(str(written), device=run.device.kind, compute_type=compute)
    yield Named("ctranslate2", ctranslate2.__version__)
    at_once = (1, 2) if run.small else (1, 16, 32)
    for count in at_once:
        noise = np.random.default_rng(5).standard_normal((count, _MELS, _FRAMES), np.float32)
        heard = ctranslate2.StorageView.from_array(noise)
        took = seconds(
            lambda heard=heard: model.encode(heard, to_cpu=True), run.device, _rounds(run)
        )
        share = work.share(operations(config, count), took, run.flops)
        yield Figure(f"encoder, {count} at once", 1e3 * took / count, "ms a window", share,
                     "arithmetic")  # fmt: skip
        for beams in (1, 5):
            yield from _windows(model, heard, count, beams, run)


def _windows(model: Any, heard: Any, count: int, beams: int, run: Run) -> Iterator[Outcome]:
    """Yield the figures of encoder and decoder."""
    prompt, end = _ids()
    said = 0

    def transcribe() -> None:
        nonlocal said
        results = model.generate(
            model.encode(heard), [prompt] * count, beam_size=beams, suppress_blank=False,
            # Twice the length: ctranslate2 allows half of it for the answer.
            max_length=2 * SAID, suppress_tokens=[end],
        )  # fmt: skip
        said = max(len(result.sequences_ids[0]) for result in results)

    took = seconds(transcribe, run.device, _rounds(run))
    what = f"{count} at once, {'greedy' if beams == 1 else f'{beams} beams'}"
    yield Figure(what, count * WINDOW_S / took, "times real time")
    yield Figure(what, 1e3 * took / max(1, said), "ms a token of each, encoder included")
    yield Named(f"whisper_tokens_{count}_{beams}", str(said))


def write(folder: Path, changes: dict[str, int]) -> Path:
    """Return a model in ctranslate2's format, with random float16 weights (3 GB in full size)."""
    import torch
    from ctranslate2.converters.transformers import WhisperLoader
    from transformers import WhisperForConditionalGeneration

    from models.tiny import whisper

    tokenizer = whisper.tokenizer()
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(whisper.config(tokenizer, **changes)).half()
    model = model.to_empty(device="cpu")
    model.tie_weights()
    whisper.tell(model, tokenizer)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-_SPREAD, _SPREAD)
    spec = WhisperLoader()(model, tokenizer)
    spec.validate()
    spec.optimize(quantization="float16")
    folder.mkdir()
    spec.save(str(folder))
    return folder


def _ids() -> tuple[list[int], int]:
    """Return the tokens that a window's answer begins with, and the end token."""
    from models.tiny import whisper

    known = whisper.tokenizer().convert_tokens_to_ids
    names = ("startoftranscript", "en", "transcribe", "notimestamps")
    return [known(f"<|{name}|>") for name in names], known("<|endoftext|>")


def _config(run: Run) -> dict[str, int]:
    return {"d_model": 32, "encoder_layers": 2, "encoder_ffn_dim": 64} if run.small else FULL


def _rounds(run: Run) -> int:
    return 1 if run.small else 3
