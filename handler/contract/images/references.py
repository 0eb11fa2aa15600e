"""Input pictures that come as objects, as in JSON bodies of OpenAI's edits and of xAI's.

    {"image_url": "https://…"}    {"image_url": {"url": "https://…"}}    {"url": "https://…"}
    {"b64_json": "iVBORw0…"}      {"file_id": "file-…"}: of a store of files that is not here

Past this file a picture is a string: a URL, a data URI or base64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from models.errors import UnsupportedParameter

_KEYS = ("image_url", "url", "b64_json")
_MOST = 64  # of a list; a longer one is refused as it is


def unwrapped(body: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """A body whose pictures are strings where they were objects that hold one.

    What is no such object stays as it is, for validation to name.

    Args:
        body: the client's.
        names: of the fields that are pictures, or lists of them.

    Raises:
        UnsupportedParameter: a picture is named by a ``file_id``.
    """
    plain = dict(body)
    for name in names:
        value = body.get(name)
        if isinstance(value, list) and len(value) <= _MOST:
            plain[name] = [_picture(item, f"{name}[{place}]") for place, item in enumerate(value)]
        elif isinstance(value, dict):
            plain[name] = _picture(value, name)
    return plain


def _picture(value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        return value
    if value.get("file_id"):
        raise UnsupportedParameter(
            f"{path}.file_id is not supported: no files are kept here; send image_url, with a URL "
            "or a data URI.",
            param=f"{path}.file_id",
        )
    held = next((value[key] for key in _KEYS if value.get(key)), value)
    inner = held.get("url") if isinstance(held, dict) and held is not value else None
    return held if inner is None else inner
