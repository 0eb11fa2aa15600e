"""Sentences put end to end: silences of the right length, no clicks, nothing clipped."""

from __future__ import annotations

from typing import Any

_SILENT = 0.002  # the level below which nothing is heard (-54 dB)
_EDGE_S = 0.06  # of near silence that is left at both ends of a sentence: soft consonants
_FADE_S = 0.004
_LOUDEST = 0.97  # of full scale


def trimmed(samples: Any, rate_hz: int, speed: float = 1.0) -> Any:
    """Return a sentence without the silence around it, faded in and out; nothing if it is silent.

    Args:
        samples: of one channel, float32; more than full scale is made less loud.
        rate_hz: of the samples.
        speed: of what is said; faster, less silence is left around it.
    """
    import numpy as np

    samples = np.asarray(samples, np.float32)
    heard = np.flatnonzero(np.abs(samples) > _SILENT)
    if not len(heard):
        return samples[:0]
    edge, fade = int(_EDGE_S / speed * rate_hz), int(_FADE_S * rate_hz)
    cut = samples[max(0, heard[0] - edge) : heard[-1] + 1 + edge].copy()
    loudest = float(np.abs(cut).max())
    if loudest > _LOUDEST:
        cut *= _LOUDEST / loudest
    fade = min(fade, len(cut) // 2)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    cut[:fade] *= ramp
    cut[len(cut) - fade :] *= ramp[::-1]
    return cut


class Edges:
    """``trimmed`` for a sentence that comes in pieces, each of them within full scale."""

    def __init__(self, rate_hz: int, speed: float = 1.0) -> None:
        import numpy as np

        self._edge, self._fade = int(_EDGE_S / speed * rate_hz), int(_FADE_S * rate_hz)
        self._held: Any = np.zeros(0, np.float32)
        self._begun = False

    def push(self, samples: Any, *, ends: bool) -> Any:
        """Return what may leave; near silence is held back, as it may be the sentence's end."""
        import numpy as np

        waiting = np.concatenate([self._held, np.asarray(samples, np.float32)])
        heard = np.flatnonzero(np.abs(waiting) > _SILENT)
        if not self._begun:
            if not len(heard):
                self._held = waiting[len(waiting) - min(self._edge, len(waiting)) :]
                return waiting[:0]
            waiting = waiting[max(0, heard[0] - self._edge) :].copy()
            heard = heard - max(0, heard[0] - self._edge)
        last = int(heard[-1]) + 1 if len(heard) else 0
        # The end is faded out, so that much is held back in any case.
        stop = last + self._edge if ends else min(last, len(waiting) - self._fade)
        if not ends and stop < self._fade and not self._begun:
            self._held = waiting
            return waiting[:0]
        out, self._held = waiting[: max(0, stop)].copy(), waiting[max(0, stop) :]
        self._ramp(out, begins=not self._begun, ends=ends)
        self._begun = True
        return out

    def _ramp(self, samples: Any, *, begins: bool, ends: bool) -> None:
        import numpy as np

        fade = min(self._fade, len(samples) // (1 + (begins and ends)))
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        if begins:
            samples[:fade] *= ramp
        if ends:
            samples[len(samples) - fade :] *= ramp[::-1]


def silence(seconds: float, rate_hz: int) -> Any:
    """Return silence."""
    import numpy as np

    return np.zeros(int(seconds * rate_hz), np.float32)


def level(samples: Any) -> float:
    """Return the loudness of samples as the root of their mean square, of full scale."""
    import numpy as np

    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
