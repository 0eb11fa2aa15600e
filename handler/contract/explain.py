"""Validation errors that a client can act on: the field, the limit and the value sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from models.errors import InvalidValue, RequestError, shorten

_CODES = {"missing": "missing_required_parameter"}


def explain(error: ValidationError, called: Mapping[str, str] | None = None) -> RequestError:
    """The first problem, as OpenAI words it: the field, the limit, and what was got.

    Args:
        error: what pydantic found.
        called: the client's own names of fields that have several.
    """
    first = _most_telling(error)
    field, *inside = first["loc"] or ("",)
    name = (called or {}).get(str(field))
    param = _path((field, *inside)) if name is None else _path(tuple(inside), name)
    kind = first["type"]
    if kind == "missing":
        return InvalidValue(f"{param} is required.", param=param, code=_CODES["missing"])
    wrong_type = kind.endswith("_type")
    return InvalidValue(
        f"{param}: {_reason(first['msg'])}; got {describe(first['input'], kind)}.",
        param=param,
        code="invalid_type" if wrong_type else "invalid_value",
    )


def _most_telling(error: ValidationError) -> Any:
    """Return the most specific problem of the first wrong field.

    A field that may be a string or a list fails as both. The alternative that the client did not
    mean fails by a type; the meant one by a range, or further in.
    """
    problems = error.errors(include_url=False)
    field = problems[0]["loc"][:1]
    of_field = [problem for problem in problems if problem["loc"][:1] == field]
    return max(of_field, key=_telling)


def _telling(problem: Any) -> tuple[bool, int]:
    return not problem["type"].endswith("_type"), _path(problem["loc"]).count("[")


def _reason(message: str) -> str:
    """Pydantic's reason as the middle of a sentence: ``must be less than or equal to 2``."""
    if "unicode" in message:
        return "must be text that UTF-8 can hold"
    if "valid dictionary" in message:
        return "must be an object"
    text = message.removeprefix("Value error, ").partition(" after validation")[0]
    return re.sub(r"^(Input|String|List) should", "must", text)


def _path(location: tuple[int | str, ...], text: str = "") -> str:
    """``("messages", 0, "content")`` becomes ``messages[0].content``, behind ``text``."""
    before: int | str | None = None
    for step in location:
        before, last = step, before
        if isinstance(step, int):
            text += f"[{step}]"
        elif step == last:  # of a tagged union the tag comes before a field of the same name
            continue
        elif step.isidentifier() and step != "str":  # pydantic names the members of a union too
            text += f".{step}" if text else step
    return text or "input"


_WORD = re.compile(r"[\w.+-]{1,40}")  # a mistaken name of a choice; prose has spaces


def describe(value: object, kind: str = "") -> str:
    """Say what was got without repeating a client's content: numbers yes, prose no."""
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    if isinstance(value, int | float):
        return shorten(str(value), 40)
    if isinstance(value, str):
        short = kind in {"literal_error", "value_error", "string_pattern_mismatch", "enum"}
        if short and _WORD.fullmatch(value):
            return repr(value)
        return f"a string of {len(value)} characters" if value else "an empty string"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    return "an object" if isinstance(value, dict) else type(value).__name__
