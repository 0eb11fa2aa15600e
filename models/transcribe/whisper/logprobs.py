"""How sure the model is of each token of a text.

Beam search keeps no probabilities of tokens: the model reads the finished text once more. They are
those of which faster-whisper makes its words' probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

_LEAST = 1e-10


def log_probabilities(
    model: Any, tokenizer: Any, features: Any, texts: Sequence[Sequence[int]]
) -> list[list[dict[str, Any]]]:
    """OpenAI's ``logprobs`` of the texts of one window: ``{token, bytes, logprob}``, per text.

    Args:
        model: faster-whisper's.
        tokenizer: for the window's language and task.
        features: the window's spectrum, shape (mels, frames).
        texts: tokens, in their order; those that are no text (times) are left out.
    """
    from faster_whisper.audio import pad_or_trim

    said = [[token for token in text if token < tokenizer.eot] for text in texts]
    every = list(chain.from_iterable(said))
    if not every:
        return [[] for _ in said]
    encoded = model.encode(pad_or_trim(features))
    [aligned] = model.model.align(encoded, tokenizer.sot_sequence, [every], features.shape[-1])
    known = iter(aligned.text_token_probs)
    return [[_entry(tokenizer, token, next(known)) for token in text] for text in said]


def _entry(tokenizer: Any, token: int, probability: float) -> dict[str, Any]:
    spelled = bytes(_bytes()[one] for one in tokenizer.tokenizer.id_to_token(token))
    logarithm = round(math.log(max(probability, _LEAST)), 6)
    text = spelled.decode(errors="replace")
    return {"token": text, "bytes": list(spelled), "logprob": logarithm}


@cache
def _bytes() -> dict[str, int]:
    """GPT-2's way to write bytes: printable ones as they are, the others in order from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }
