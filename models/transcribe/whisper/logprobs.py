"""The log probability of each token of a text.

Beam search does not return probabilities of tokens, so the model scores the finished text once
more. faster-whisper derives its words' probabilities from the same scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

from models.byte_letters import BYTES

_LEAST = 1e-10


def log_probabilities(
    model: Any, tokenizer: Any, features: Any, texts: Sequence[Sequence[int]]
) -> list[list[dict[str, Any]]]:
    """Return OpenAI's ``logprobs`` of the texts of one window: ``{token, bytes, logprob}``.

    Args:
        model: faster-whisper's model.
        tokenizer: for the window's language and task.
        features: the window's spectrogram, shape (mels, frames).
        texts: tokens in order; those that are not text (timestamps) are left out.
    """
    from faster_whisper.audio import pad_or_trim

    spoken = [[token for token in text if token < tokenizer.eot] for text in texts]
    every = list(chain.from_iterable(spoken))
    if not every:
        return [[] for _ in spoken]
    encoded = model.encode(pad_or_trim(features))
    [aligned] = model.model.align(encoded, tokenizer.sot_sequence, [every], features.shape[-1])
    known = iter(aligned.text_token_probs)
    return [[_entry(tokenizer, token, next(known)) for token in text] for text in spoken]


def _entry(tokenizer: Any, token: int, probability: float) -> dict[str, Any]:
    spelled = bytes(BYTES[letter] for letter in tokenizer.tokenizer.id_to_token(token))
    logarithm = round(math.log(max(probability, _LEAST)), 6)
    text = spelled.decode(errors="replace")
    return {"token": text, "bytes": list(spelled), "logprob": logarithm}
