"""Rewrite patterns without lookaround, which llguidance does not support.

A lookahead at the beginning of a pattern becomes a further pattern that the text must match. Known
patterns of libraries are rewritten one by one. Other lookaround is left, and then refused.
"""

from __future__ import annotations

import re

_POSITIVE = "(?="
_NEGATIVE = "(?!"
# (?!\s*$), (?!^[-+.]*$): not these characters alone, so the text contains another one.
_ALONE = re.compile(r"\^?(?:\\(?P<letter>[sdw])|\[(?P<inside>[^\^\]][^\]]*)\])\*\$")

_TIME = r"T(?:\d+H(?:\d+M)?(?:\d+(?:[.,]\d+)?S)?|\d+M(?:\d+(?:[.,]\d+)?S)?|\d+(?:[.,]\d+)?S)"
_KNOWN = {
    # zod's ISO duration.
    r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$":
        rf"^P(?:\d+W|(?:\d+Y(?:\d+M)?(?:\d+D)?|\d+M(?:\d+D)?|\d+D)(?:{_TIME})?|{_TIME})$",
    # zod's email pattern up to 4.3, and the one before.
    r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$":
        r"^(?:[A-Za-z0-9_'+\-]+\.)*[A-Za-z0-9_'+\-]*[A-Za-z0-9_+-]@(?:[A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$",
    r"^(?!\.)(?!.*\.\.)([A-Z0-9_'+\-\.]*)[A-Z0-9_+-]@([A-Z0-9][A-Z0-9\-]*\.)+[A-Z]{2,}$":
        r"^(?:[A-Z0-9_'+\-]+\.)*[A-Z0-9_'+\-]*[A-Z0-9_+-]@(?:[A-Z0-9][A-Z0-9\-]*\.)+[A-Z]{2,}$",
}  # fmt: skip


def without_lookarounds(pattern: str) -> list[str]:
    """Return patterns such that a text that matches all of them matches the pattern."""
    pattern = _KNOWN.get(pattern) or _decimal(pattern) or pattern
    if not pattern.startswith("^") or "(?" not in pattern or _has_alternatives(pattern):
        return [pattern]
    made, rest = [], pattern[1:]
    while rest.startswith((_POSITIVE, _NEGATIVE)):
        end = _closing(rest)
        if end is None:
            return [pattern]
        inside = rest[len(_POSITIVE) : end]
        if rest.startswith(_POSITIVE):
            made.append(f"^(?:{inside})" if "|" in inside else f"^{inside}")
        elif alone := _ALONE.fullmatch(inside):
            letter = alone["letter"]
            made.append(f"\\{letter.upper()}" if letter else f"[^{alone['inside']}]")
        else:
            return [pattern]
        rest = rest[end + 1 :]
    return [*made, f"^{rest}"]


def _closing(pattern: str) -> int | None:
    """Return the index of the parenthesis that closes the group at the beginning of a pattern."""
    return next((at for at, depth in _depths(pattern) if depth == 0 and pattern[at] == ")"), None)


def _has_alternatives(pattern: str) -> bool:
    return any(depth == 0 and pattern[at] == "|" for at, depth in _depths(pattern))


def _depths(pattern: str) -> list[tuple[int, int]]:
    """Return the index of each plain character, and the group depth after it."""
    made, depth, at, bracket = [], 0, 0, False
    while at < len(pattern):
        letter = pattern[at]
        if letter == "\\":
            at += 2
            continue
        if bracket:
            bracket = letter != "]"
        elif letter == "[":
            bracket = True
        else:
            depth += (letter == "(") - (letter == ")")
            made.append((at, depth))
        at += 1
    return made


_SIGN = r"^(?!^[-+.]*$)[+-]?0*"
_DECIMALS = re.compile(
    r"(?:\(\?:\\d\{0,(?P<whole>\d+)\}\|\(\?=\[\\d\.\]\{1,(?P<all>\d+)\}0\*\$\)"
    r"(?:\\d\{0,\d+\}|\\d\*)\\\.(?:\\d\{0,(?P<places>\d+)\}|\\d\*)0\*\$\)"
    r"|\\d\*\\\.\?\\d(?:\*|\{0,(?P<only>\d+)\}0\*)\$)"
)
_MOST_DIGITS = 40


def _decimal(pattern: str) -> str | None:
    """Return pydantic's pattern of a Decimal (until 2.13) without lookaround.

    The pattern limits the number of digits, in total and after the point.
    """
    if not pattern.startswith(_SIGN):
        return None
    form = _DECIMALS.fullmatch(pattern.removeprefix(_SIGN))
    if form is None:
        return None
    if form["all"] is None:
        places = "*" if form["only"] is None else f"{{0,{form['only']}}}"
        some = "+" if form["only"] is None else f"{{1,{form['only']}}}"
        fraction = rf"|\.\d{some}" if form["only"] != "0" else ""
        return rf"^[+-]?(?:\d+(?:\.\d{places})?{fraction})$"
    digits = int(form["all"]) - 1
    if not 0 < digits <= _MOST_DIGITS:
        return None
    places_most = digits if form["places"] is None else int(form["places"])
    whole_most = digits if form["places"] is None else int(form["whole"])
    choices = [
        rf"\d{{1,{whole}}}(?:\.\d{{0,{min(places_most, digits - whole)}}})?"
        for whole in range(1, whole_most + 1)
    ]
    if places_most:
        choices.append(rf"\.\d{{1,{min(places_most, digits)}}}")
    return rf"^[+-]?(?:{'|'.join(choices)})$"
