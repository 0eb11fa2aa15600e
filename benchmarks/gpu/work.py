"""The operations and bytes of a transformer's work, and their share of a limit.

A multiplication and its addition are two operations. Norms, activations and samplers are not
counted: they are small, and without them a share is smaller, not larger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of the device.

    Attributes:
        flops: operations per second, in half precision.
        bandwidth: bytes per second, read and written.
    """

    flops: float
    bandwidth: float


def linear(tokens: float, weights: float) -> float:
    """Return the operations of linear layers with this number of weights."""
    return 2 * tokens * weights


def attention(lengths: Iterable[float], layers: int, width: int, *, causal: bool = False) -> float:
    """Return the operations of attention within texts: the scores and the weighted sums."""
    seen = 0.5 if causal else 1.0  # a token sees half of its text on average
    return sum(4 * layers * width * length * length * seen for length in lengths)


def share(done: float, seconds: float, limit: float | None) -> float | None:
    """Return the share of a limit per second that was reached; None if the limit is unknown."""
    return None if not limit else done / seconds / limit


def decode_bytes(weights_bytes: float, at_once: int, context: float, token_bytes: float) -> float:
    """Return the bytes that one step of decoding reads: all weights, and all keys and values.

    Args:
        weights_bytes: without the input embeddings, of which a step reads a row or two.
        at_once: the number of texts in the step.
        context: the average number of tokens of each so far.
        token_bytes: the size of one token's keys and values, in all layers.
    """
    return weights_bytes + at_once * context * token_bytes
