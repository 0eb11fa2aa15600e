"""Bounds of numbers in a form that llguidance can enforce.

llguidance reads bounds as floating-point numbers, and bounds of integers as 64-bit integers. A
bound that is neither is moved inwards. Multiples below zero are not supported.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import reduce
from typing import Any

from models.chat.schemas.cases import Empty
from models.chat.schemas.limits import Refused
from models.chat.schemas.shapes import Numbers

_FURTHEST = Fraction(2**63 - 1024)  # the largest number that both types can represent
_MAX_COEFFICIENT = 2**32 - 1
_MAX_PLACES = 9


def bounds(shape: Numbers) -> dict[str, Any]:
    """Return the schema of numbers.

    Raises:
        Empty: no number matches.
        Refused: the multiples are not supported.
    """
    made: dict[str, Any] = {"type": "integer" if shape.integer else "number"}
    low, high = shape.low, shape.high
    step = reduce(_common, shape.multiples, Fraction(1) if shape.integer else None)
    if step is not None and step != 1:
        low = max(low or (Fraction(0), False), (Fraction(0), False))
        _check_multiples(shape, step, low, high)
        made["multipleOf"] = int(step) if step.denominator == 1 else float(step)
    if low is not None:
        made |= _bound("inimum", low, 1, whole=shape.integer)
    if high is not None:
        made |= _bound("aximum", (-high[0], high[1]), -1, whole=shape.integer)
    if shape.integer and made.get("minimum", 0) > made.get("maximum", math.inf):
        raise Empty("there is no integer between minimum and maximum")
    return made


def _bound(name: str, bound: tuple[Fraction, bool], sign: int, *, whole: bool) -> dict[str, Any]:
    """Return a lower bound, or an upper one, given its negative and ``sign`` -1."""
    value, exclusive = bound
    if value > _FURTHEST:
        raise Empty("a bound is beyond 64 bits")
    value = max(value, -_FURTHEST)
    if whole:
        number = math.floor(value) + 1 if exclusive else math.ceil(value)
        while float(number) != number:  # moves inwards; a few steps at most
            number = int(math.nextafter(float(number), math.inf))
        return {f"m{name}": sign * number}
    near = float(value)
    if Fraction(near) < value:
        near = math.nextafter(near, math.inf)
    if Fraction(near) != value:
        exclusive = False  # the bound has been moved already
    key = f"exclusiveM{name}" if exclusive else f"m{name}"
    return {key: sign * near}


def _common(left: Fraction | None, right: Fraction) -> Fraction:
    """Return the least common multiple."""
    if left is None:
        return right
    return Fraction(
        math.lcm(left.numerator, right.numerator), math.gcd(left.denominator, right.denominator)
    )


def _check_multiples(
    shape: Numbers,
    step: Fraction,
    low: tuple[Fraction, bool],
    high: tuple[Fraction, bool] | None,
) -> None:
    places = next((n for n in range(_MAX_PLACES) if (step * 10**n).denominator == 1), None)
    if places is None or step * 10**places > _MAX_COEFFICIENT or not _is_read(step, places):
        raise Refused(str(shape.keyword))
    if high is not None and high[0] < 0:
        raise Refused(str(shape.keyword))
    first = math.ceil(low[0] / step) * step
    if low == (first, True):
        first += step
    if high is not None and (first > high[0] or high == (first, True)):
        raise Empty("there is no multiple between minimum and maximum")


def _is_read(step: Fraction, places: int) -> bool:
    """Whether llguidance, which multiplies by ten to count decimal places, reads a step exactly."""
    value = float(step)
    for _ in range(places):
        value *= 10
    return bool(value == step * 10**places)
