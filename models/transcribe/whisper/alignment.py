"""The times of a segment's words, if they were not computed for the whole window."""

from __future__ import annotations

import math
from typing import Any


def aligned(
    model: Any, tokenizer: Any, mel: Any, segment: dict[str, Any], options: Any
) -> list[dict[str, Any]]:
    """Return the words of a segment, with times in seconds of the spectrogram.

    Args:
        model: faster-whisper's model.
        tokenizer: for the segment's language and task.
        mel: the spectrogram; it is read from the segment's start to its end.
        segment: has ``start`` and ``end`` in seconds, and ``tokens``.
        options: the library's options; they list the punctuation that is joined to words.
    """
    from faster_whisper.audio import pad_or_trim
    from faster_whisper.transcribe import merge_punctuations

    second, most = model.frames_per_second, model.feature_extractor.nb_max_frames
    first = max(0, math.floor(segment["start"] * second))
    last = min(math.ceil(segment["end"] * second), first + most, mel.shape[1] - 1)
    tokens = [token for token in segment["tokens"] if token < tokenizer.eot]
    if last <= first or not tokens:
        return []
    encoded = model.encode(pad_or_trim(mel[:, first:last]))
    [words] = model.find_alignment(tokenizer, [tokens], encoded, last - first)
    merge_punctuations(words, options.prepend_punctuations, options.append_punctuations)
    later = first / second
    return [
        {
            "word": word["word"],
            "start": round(float(word["start"]) + later, 2),
            "end": round(float(word["end"]) + later, 2),
            "probability": float(word["probability"]),
        }
        for word in words
        if word["word"]
    ]
