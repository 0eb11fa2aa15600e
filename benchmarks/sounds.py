"""Sounds to transcribe: speech with noise and music, and files with irregular clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from models.transcribe.audio.rate import RATE_HZ

# Read by espeak-ng (-v de+m3 -s 130), in Opus at 20 kbit/s: "Guten Morgen, meine Damen und Herren.
# Ich heiße Peter und komme aus Berlin. Heute ist Montag."
GERMAN = Path(__file__).parent / "german.ogg"
# Read for LibriVox, in the public domain: "He might even have been made amiable himself."
SECOND = Path(__file__).parent / "second.ogg"


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE_HZ), np.int16)


def noise(seconds: float, peak: float, slope: float = 0.0) -> np.ndarray:
    """Return noise that falls with the given power of the frequency: 0.5 = pink, 1 = brown."""
    count = round(seconds * RATE_HZ)
    frequencies = np.fft.rfftfreq(count, 1 / RATE_HZ)
    frequencies[0] = frequencies[1]
    spectrum = np.fft.rfft(np.random.default_rng(7).normal(size=count)) * frequencies**-slope
    wave = np.fft.irfft(spectrum, count)
    return (wave / np.abs(wave).max() * peak * 32767).astype(np.int16)


def music(seconds: float, peak: float = 0.5) -> np.ndarray:
    """Return chords of decaying tones, two per second."""
    count = RATE_HZ // 2
    time = np.arange(count) / RATE_HZ
    chords = [(261.6, 329.6, 392.0), (349.2, 440.0, 523.3), (392.0, 493.9, 587.3)]
    bars = [
        sum(np.sin(2 * np.pi * tone * part * time) / part for tone in chord for part in (1, 2, 3))
        * np.exp(-3 * time)
        for chord in chords
    ]
    wave = np.resize(np.concatenate(bars), round(seconds * RATE_HZ))
    return (wave / np.abs(wave).max() * peak * 32767).astype(np.int16)


@dataclass(frozen=True)
class Track:
    """A track of a file made by ``muxed``.

    Attributes:
        samples: int16, 16 kHz, mono.
        codec: FFmpeg's name of the codec.
        rate: the sample rate of the encoding.
        starts_s: when it begins.
        hole: from which second on the track is late, and by how many seconds.
        layout: its channels, which are all the same.
        default: whether it is marked as the default track.
    """

    samples: np.ndarray
    codec: str = "libopus"
    rate: int = 48000
    starts_s: float = 0.0
    hole: tuple[float, float] | None = None
    layout: str = "mono"
    default: bool = False


def muxed(path: Path, tracks: Sequence[Track], picture_s: float = 0.0) -> Path:
    """Write a file with these tracks, and a picture track of ``picture_s`` seconds."""
    import av

    with av.open(str(path), "w") as container:
        packets: list[Any] = []
        if picture_s:
            packets += _picture(container, "flv" if path.suffix == ".flv" else "mpeg4", picture_s)
        streams = []
        for track in tracks:
            stream = container.add_stream(track.codec, rate=track.rate, layout=track.layout)
            if track.default:
                stream.disposition = av.stream.Disposition.default
            streams.append(stream)
        for stream, track in zip(streams, tracks, strict=True):
            packets += _sound(stream, track)
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            container.mux(packet)
    return path


def _sound(stream: Any, track: Track) -> list[Any]:
    import av

    frame = av.AudioFrame.from_ndarray(track.samples[None], "s16", "mono")
    frame.sample_rate = RATE_HZ
    resampler = av.AudioResampler(stream.codec_context.format, track.layout, track.rate)
    fifo, packets = av.AudioFifo(), list[Any]()
    for out in [*resampler.resample(frame), *resampler.resample(None)]:
        out.pts = None
        fifo.write(out)
    size, at = stream.codec_context.frame_size or 1024, 0
    while (piece := fifo.read(size, partial=True)) is not None:
        piece.pts, piece.time_base = at, Fraction(1, track.rate)
        at += piece.samples
        packets += stream.encode(piece)
    packets += stream.encode(None)
    for packet in packets:
        later = track.starts_s
        if track.hole and float(packet.pts * packet.time_base) >= track.hole[0]:
            later += track.hole[1]
        shift = round(later / packet.time_base)
        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
    return packets


def _picture(container: Any, codec: str, seconds: float) -> list[Any]:
    import av

    stream = container.add_stream(codec, rate=10)
    stream.width = stream.height = 32
    packets = []
    for number in range(round(10 * seconds)):
        frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number % 256, np.uint8))
        frame.pts, frame.time_base = number, Fraction(1, 10)
        packets += stream.encode(frame)
    return packets + stream.encode(None)
