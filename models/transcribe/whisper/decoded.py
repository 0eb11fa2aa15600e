"""One try to decode a window, and whether it looks right, by faster-whisper's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Decoded:
    """What the model says of a window, and how sure it is."""

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
    """Neither repetitive nor unsure; or silence, of which nobody can be sure."""
    unsure = decoded.log_probability < options.log_prob_threshold
    silent = decoded.result.no_speech_prob > options.no_speech_threshold and unsure
    return silent or not (unsure or decoded.compression > options.compression_ratio_threshold)


def best(tries: Sequence[Decoded], options: Any) -> Decoded:
    """Of those that all look wrong, the surest that is not repetitive, as the last one tried."""
    plain = [
        attempt for attempt in tries if attempt.compression <= options.compression_ratio_threshold
    ]
    surest = max(plain or tries, key=lambda one: one.log_probability)
    return replace(surest, temperature=tries[-1].temperature)


def is_silent(decoded: Decoded, options: Any) -> bool:
    """Whether the model hears no speech and is unsure of what it wrote."""
    sure = decoded.log_probability > options.log_prob_threshold
    return decoded.result.no_speech_prob > options.no_speech_threshold and not sure
