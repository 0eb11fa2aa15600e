"""A conversation's pictures: references in messages, and the files behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from handler.contract.base import Call
from models.errors import InvalidValue, UnsupportedParameter
from models.pictures.request import InputPicture, PictureLimits


@dataclass(frozen=True)
class Reference:
    """One picture of a request.

    Attributes:
        address: a URL, a data URI or base64.
        param: the field that it stands in.
        low: whether a small copy of it does.
    """

    address: str
    param: str
    low: bool = False


async def fetched(call: Call, given: Sequence[Reference]) -> tuple[InputPicture, ...]:
    """Fetch the pictures of a request, each address once.

    Raises:
        UnsupportedParameter: the model cannot see.
        InvalidValue: there are too many.
        MediaError: one cannot be fetched, or all are too large together.
    """
    if not given:
        return ()
    if "img2txt" not in call.row.tasks:
        raise UnsupportedParameter(
            f"{given[0].param}: {call.row.slug} reads text alone; send it to a model that sees "
            "pictures (GET /v1/models lists their tasks: img2txt).",
            param=given[0].param,
        )
    limits: PictureLimits = call.row.options.get("pictures", PictureLimits())
    if len(given) > limits.count:
        param = given[limits.count].param
        raise InvalidValue(
            f"{param}: a request may have {limits.count} pictures; got {len(given)}.", param=param
        )
    contents: dict[str, bytes] = {}
    left_bytes = limits.size_bytes
    for one in given:
        if one.address not in contents:
            path = await call.door.fetch(one.address, one.param, max(1, left_bytes))
            contents[one.address] = await asyncio.to_thread(path.read_bytes)
            left_bytes -= len(contents[one.address])
    return tuple(InputPicture(contents[one.address], one.param, one.low) for one in given)
