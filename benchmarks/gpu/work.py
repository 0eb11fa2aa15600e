"""Operations and bytes that a transformer's work takes, and what share of a limit that is.

A multiplication and its addition are two operations. Norms, activations and samplers are left out:
they are small, and leaving them out makes a share smaller, not larger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the device reaches.

    Attributes:
        flops: operations a second, in half precision.
        bandwidth: bytes a second that are read and written.
    """

    flops: float
    bandwidth: float


def linear(tokens: float, weights: float) -> float:
    """Operations of linear layers of so many weights."""
    return 2 * tokens * weights


def attention(lengths: Iterable[float], layers: int, width: int, *, causal: bool = False) -> float:
    """Operations of attention within texts of these lengths: scores, and what they weigh."""
    seen = 0.5 if causal else 1.0  # a token sees half of its text on average
    return sum(4 * layers * width * length * length * seen for length in lengths)


def share(done: float, seconds: float, limit: float | None) -> float | None:
    """Of a limit a second, what was done; None where no limit is known."""
    return None if not limit else done / seconds / limit


def decode_bytes(weights_bytes: float, at_once: int, context: float, token_bytes: float) -> float:
    """What one step of decoding reads: all weights once, and each text's keys and values.

    Args:
        weights_bytes: without the table of input embeddings, of which a step reads a row or two.
        at_once: texts in the step.
        context: tokens that each has so far, on average.
        token_bytes: of one token's keys and values, all layers.
    """
    return weights_bytes + at_once * context * token_bytes
