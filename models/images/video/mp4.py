"""Encoding mp4 files with H.264 and AAC; the index comes first, so that players can stream them.

Colours are ITU-R BT.709, and the file is tagged so: players guess the colours of an untagged file
by the size of its frames.
"""

from __future__ import annotations

import io
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

QUALITIES = (18, 23, 28)  # x264's constant rate factors; the first is visually lossless
_SOUND_BITS = 192_000
# What x264 needs for busy scenes in the first quality.
_BYTES_PER_PIXEL_FRAME = 0.03


def mp4(
    frames: Any,
    fps: Fraction,
    sound: Any = None,
    rate_hz: int = 48_000,
    *,
    quality: int = QUALITIES[0],
) -> bytes:
    """Encode a video.

    Args:
        frames: RGB, shape (frames, height, width, 3), uint8; both sides even.
        fps: exact.
        sound: shape (channels, samples), float in [-1, 1]; None = silent.
        rate_hz: of the sound.
        quality: of ``QUALITIES``.
    """
    import av
    from av.video.reformatter import ColorRange, Colorspace

    # A real file: the index goes to the front when all is written.
    with tempfile.TemporaryDirectory(prefix="quartet-video-") as folder:
        path = Path(folder) / "video.mp4"
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
            picture = container.add_stream("libx264", rate=fps, options={"crf": str(quality)})
            picture.height, picture.width = frames.shape[1:3]
            picture.pix_fmt = "yuv420p"
            _tag(picture.codec_context)
            heard = None if sound is None else _sound_stream(container, sound, rate_hz)
            for pixels in frames:
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                    format="yuv420p",
                    dst_colorspace=Colorspace.ITU709,
                    dst_color_range=ColorRange.MPEG,
                )
                container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
            if heard is not None:
                _add_sound(container, heard, sound, rate_hz)
        return path.read_bytes()


def stills(content: bytes, count: int = 3) -> list[bytes]:
    """Return evenly spaced frames of a video, the first and the last among them, as png files."""
    import av

    with av.open(io.BytesIO(content)) as container:
        frames = list(container.decode(video=0))
    chosen = sorted({round(index * (len(frames) - 1) / (count - 1)) for index in range(count)})
    pictures = []
    for index in chosen:
        buffer = io.BytesIO()
        frames[index].to_image().save(buffer, format="PNG")
        pictures.append(buffer.getvalue())
    return pictures


def likely_bytes(width: int, height: int, frames: int) -> int:
    """Estimate the size of a video; rather too large than too small."""
    return int(width * height * frames * _BYTES_PER_PIXEL_FRAME) + 100_000


def _tag(codec: Any) -> None:
    """Tag the stream with matrix, primaries, transfer curve and range."""
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    codec.colorspace = Colorspace.ITU709
    codec.color_primaries = ColorPrimaries.BT709
    codec.color_trc = ColorTrc.BT709
    codec.color_range = ColorRange.MPEG


def _sound_stream(container: Any, sound: Any, rate_hz: int) -> Any:
    layout = "stereo" if len(sound) == 2 else "mono"
    stream = container.add_stream("aac", rate=rate_hz, layout=layout)
    stream.bit_rate = _SOUND_BITS
    return stream


def _add_sound(container: Any, stream: Any, sound: Any, rate_hz: int) -> None:
    import av
    import numpy as np

    plain = np.ascontiguousarray(np.clip(sound, -1, 1), np.float32)
    frame = av.AudioFrame.from_ndarray(plain, "fltp", stream.layout.name)
    frame.sample_rate, frame.pts = rate_hz, 0
    frame.time_base = Fraction(1, rate_hz)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
