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


def silence(seconds: float, rate_hz: int) -> Any:
    """Return silence."""
    import numpy as np

    return np.zeros(int(seconds * rate_hz), np.float32)


def level(samples: Any) -> float:
    """Return the loudness of samples as the root of their mean square, of full scale."""
    import numpy as np

    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
