"""A line while it is spoken: its codes, its sound so far, and how it may end.

Some lines do not end by themselves: the model falls silent and goes on, or speaks on without sense
(QwenLM/Qwen3-TTS#118, vllm-omni#4576, sglang-omni#1179). A line may take several times as long as
its text does, and may not be nearly silent for long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from models.speech.qwen.settings import FRAMES_PER_S
from models.speech.sound.joining import level

_SLOWEST, _LEEWAY_S = 4.0, 8.0  # how much longer than its text a line may be
_MOST_FRAMES = 2048  # 164 s, the published package's limit
_QUIET, _FAINT = 0.002, 0.02  # near silence: of full scale, and of the line's loudest frame
_QUIET_S = 5.0  # the longest near silence in a line


@dataclass
class Voiced:
    """A line while it is spoken.

    Attributes:
        generated: its codes, as ``generation`` keeps them.
        sounded: what the codec keeps of its frames.
        most: frames that it may have.
        wanted: frames after which the client wants it to end; None = no wish.
        attempt: 0, or 1 if it is said again.
        count: frames that were decoded.
        pieces: sound that was not handed over yet.
        loudest: the level of its loudest frame.
        quiet: near silent frames at its end.
    """

    generated: Any
    sounded: Any
    most: int
    wanted: int | None = None
    attempt: int = 0
    count: int = 0
    pieces: list[Any] = field(default_factory=list)
    loudest: float = 0.0
    quiet: int = 0

    @property
    def left(self) -> int:
        """Frames that it may still have."""
        return (self.most if self.wanted is None else min(self.most, self.wanted)) - self.count

    @property
    def cut(self) -> bool:
        """Whether it ends because the client wants so."""
        return self.wanted is not None and self.count >= self.wanted and not self.generated.ended

    @property
    def ended(self) -> bool:
        """Whether all of it is there."""
        return self.generated.ended or self.cut

    @property
    def runaway(self) -> str | None:
        """How it goes on without an end, for an error; None if it does not."""
        if self.ended:
            return None
        if self.quiet >= _QUIET_S * FRAMES_PER_S:
            return f"was nearly silent for {self.quiet / FRAMES_PER_S:.0f} s"
        if self.count >= self.most:
            return f"did not end within {self.count / FRAMES_PER_S:.0f} s"
        return None

    def hear(self, samples: Any, frames: int) -> None:
        """Take the sound of new frames, and measure its level."""
        self.count += frames
        self.pieces.append(samples)
        for frame in samples.reshape(frames, -1):
            loudness = level(frame)
            self.loudest = max(self.loudest, loudness)
            faint = loudness < max(_QUIET, _FAINT * self.loudest)
            self.quiet = self.quiet + 1 if faint else 0

    def taken(self) -> Any:
        """Return the sound that was not handed over yet; it then is."""
        import numpy as np

        pieces, self.pieces = self.pieces, []
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


def frames_for(seconds: float) -> int:
    """Return how many frames a line may have whose text takes so long, about."""
    return min(_MOST_FRAMES, int((_SLOWEST * seconds + _LEEWAY_S) * FRAMES_PER_S))
