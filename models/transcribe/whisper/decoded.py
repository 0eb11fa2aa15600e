"""One attempt to decode a window, and its quality by faster-whisper's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Decoded:
    """The result of decoding a window, and the measures of its quality."""

    result: Any
    log_probability: float
    temperature: float
    compression: float


def judged(result: Any, tokenizer: Any, temperature: float, options: Any) -> Decoded:
    """Return a result with its log probability per token and its compression ratio."""
    from faster_whisper.transcribe import get_compression_ratio

    tokens = result.sequences_ids[0]
    total = result.scores[0] * len(tokens) ** options.length_penalty
    text = tokenizer.decode(tokens).strip()
    compression = get_compression_ratio(text)
    return Decoded(result, total / (len(tokens) + 1), temperature, compression)


def looks_right(decoded: Decoded, options: Any) -> bool:
    """Whether a result is neither repetitive nor improbable; or silence, which always is."""
    unsure = decoded.log_probability < options.log_prob_threshold
    silent = decoded.result.no_speech_prob > options.no_speech_threshold and unsure
    return silent or not (unsure or decoded.compression > options.compression_ratio_threshold)


def best(tries: Sequence[Decoded], options: Any) -> Decoded:
    """Return the most probable attempt, if possible not a repetitive one, of those that look wrong.

    Its ``temperature`` is that of the last attempt, as in faster-whisper.
    """
    plain = [
        attempt for attempt in tries if attempt.compression <= options.compression_ratio_threshold
    ]
    surest = max(plain or tries, key=lambda attempt: attempt.log_probability)
    return replace(surest, temperature=tries[-1].temperature)


def is_silent(decoded: Decoded, options: Any) -> bool:
    """Whether the model detects no speech and the text is improbable."""
    sure = decoded.log_probability > options.log_prob_threshold
    return decoded.result.no_speech_prob > options.no_speech_threshold and not sure
