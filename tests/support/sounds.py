"""Recordings, made for a test."""

from __future__ import annotations

import asyncio
import base64
import json
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.transcribe.audio import decoding
from models.transcribe.audio.rate import RATE_HZ
from models.transcribe.audio.samples import Samples
from tests.conftest import ROOT, needs, row

EXACT = {"compute_type": "float32"}


WHISPER = replace(row("Tiny_Whisper"), options=EXACT)


QUICK: dict[str, Any] = {"temperatures": (0.0,), "beams": 1}


# Of the example: Jane Austen, read for LibriVox, which is in the public domain.
SENTENCE = (
    "And Mr. John Dashwood had then leisure to consider how much there might be prudently in his "
    "power to do for them."
)


def decode(path: Path, timeout_s: float = 30, limit_s: float = 3600) -> decoding.Audio:
    return asyncio.run(decoding.decode(path, timeout_s, limit_s))


def floats(decoded: decoding.Audio) -> np.ndarray:
    return Samples(decoded.samples).cut(0, len(decoded.samples))


def write(path: Path, samples: np.ndarray, rate: int = RATE_HZ) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype(np.int16).tobytes())
    return path


@pytest.fixture(scope="module")
def sentence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's speech, as a file."""
    job = json.loads((ROOT / "examples/transcribe.json").read_text())
    path = tmp_path_factory.mktemp("speech") / "speech.ogg"
    path.write_bytes(base64.b64decode(job["input"]["audioUrl"].partition(",")[2]))
    return path


@pytest.fixture(scope="module")
def spoken(sentence: Path) -> np.ndarray:
    return decode(sentence).samples[:]


def convert(source: Path, target: Path, codec: str, rate: int = 44100) -> Path:
    import av

    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream(codec, rate=rate, layout="stereo")
        resampler = av.AudioResampler(stream.codec_context.format, "stereo", rate)
        for frame in reader.decode(audio=0):
            frame.pts = None
            for out in resampler.resample(frame):
                for packet in stream.encode(out):
                    writer.mux(packet)
        for packet in stream.encode(None):
            writer.mux(packet)
    return target


CODECS = [
    ("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "mp3"), ("m4a", "aac"), ("mkv", "pcm_s16le"),
    ("ogg", "libopus"), ("webm", "libopus"),
]  # fmt: skip


real = needs("Whisper_Base")


def float_wav(path: Path, samples: np.ndarray) -> Path:
    """A WAV of 32-bit floats."""
    return muxed_pcm(path, samples.astype(np.float32), "pcm_f32le", "flt")


def muxed_pcm(path: Path, samples: np.ndarray, codec: str, kind: str, layout: str = "mono") -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE_HZ, layout=layout)
        content = np.ascontiguousarray(samples.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(content, kind, layout)
        frame.sample_rate = RATE_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
