"""An upload to a presigned URL, tried again after failures that may pass."""

from __future__ import annotations

import asyncio
import io
import logging
import random
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from handler.errors import StorageFailed

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

log = logging.getLogger(__name__)

_PAUSES_S = (0.2, 0.4, 0.8)  # between four tries
_TAKEN = frozenset({200, 201, 204})
_MAY_PASS = frozenset({408, 429, *range(500, 600)})
_ERROR_BYTES = 4096  # S3's answers are shorter, and name their code first
_CODE = re.compile(rb"<Code>([A-Za-z0-9.]{1,64})</Code>")
_OF_ANOTHER_TIME = re.compile(rb"<Message>Request (has expired|is not (valid yet|yet valid))")

_ELSEWHERE = "it is in another region or at another address; correct the region or the endpoint"
_NOT_ALLOWED = "the keys are not allowed to write to it; allow them s3:PutObject"
_NO_BUCKET = "there is no such bucket; create it or correct its name"
_CLOCKS = "the clocks of the worker and of the store differ"
_BY_CODE = {
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "AuthorizationQueryParametersError": _ELSEWHERE,
    "InvalidAccessKeyId": "the store does not know the access key",
    "NoSuchBucket": _NO_BUCKET,
    "RequestExpired": _CLOCKS,
    "RequestTimeTooSkewed": _CLOCKS,
    "SignatureDoesNotMatch": "the secret key is not that of the access key",
}
_BY_STATUS = {
    **dict.fromkeys((301, 302, 303, 307, 308), _ELSEWHERE),
    401: _NOT_ALLOWED,
    403: _NOT_ALLOWED,
    404: _NO_BUCKET,
}


class OfAnotherTime(Exception):
    """The store refuses the time of the signature.

    Attributes:
        failure: the error for the job.
        date: the store's time, as its answer has it; empty if it has none.
    """

    def __init__(self, failure: StorageFailed, date: str) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.date = date


@dataclass(frozen=True)
class _Failure:
    """Why a try did not store the object, and whether another one may."""

    reason: str
    may_pass: bool
    cause: Exception | None = None
    of_another_time: bool = False
    date: str = ""

    def error(self) -> StorageFailed | OfAnotherTime:
        """Return the error to raise."""
        error = StorageFailed(f"The result could not be stored: {self.reason}.")
        return OfAnotherTime(error, self.date) if self.of_another_time else error


async def put(session: aiohttp.ClientSession, url: URL, content: bytes, content_type: str) -> None:
    """Upload ``content``; what is tried again writes the same object, so that twice does no harm.

    Raises:
        OfAnotherTime: the clocks of the worker and of the store differ.
        StorageFailed: the store refuses, or cannot be reached after four tries.
    """
    for pause_s in (*_PAUSES_S, None):
        failure = await _try(session, url, content, content_type)
        if failure is None:
            return
        if pause_s is None or not failure.may_pass:
            raise failure.error() from failure.cause
        pause_s *= random.uniform(0.8, 1.2)
        log.warning("an upload failed, %s; again in %.1f s", failure.reason, pause_s)
        await asyncio.sleep(pause_s)


async def _try(
    session: aiohttp.ClientSession, url: URL, content: bytes, content_type: str
) -> _Failure | None:
    import aiohttp

    headers = {"Content-Type": content_type}
    try:
        # As a file, sent in pieces: of bytes aiohttp warns that all at once hold up the loop.
        body = io.BytesIO(content)
        async with session.put(url, data=body, headers=headers, allow_redirects=False) as response:
            if response.status in _TAKEN:
                return None
            refusal = _refusal(response.status, await _head(response.content))
            return replace(refusal, date=response.headers.get("Date", ""))
    except (aiohttp.ClientError, OSError) as error:  # a time that is over is an OSError too
        reason = f"the bucket cannot be reached ({type(error).__name__})"
        return _Failure(reason, may_pass=True, cause=error)


async def _head(body: aiohttp.StreamReader) -> bytes:
    head = b""
    while len(head) < _ERROR_BYTES and (more := await body.read(_ERROR_BYTES - len(head))):
        head += more
    return head


def _refusal(status: int, body: bytes) -> _Failure:
    """Read S3's answer (``<Error><Code>…``); of its body nothing but the code is told."""
    found = _CODE.search(body)
    code = found[1].decode() if found else ""
    reason = f"the bucket answered with status {status}{code and f' ({code})'}"
    meaning = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if code == "AccessDenied" and _OF_ANOTHER_TIME.search(body):
        meaning = _CLOCKS  # the signature is new, and valid for an hour
    return _Failure(
        f"{reason}: {meaning}" if meaning else reason,
        may_pass=status in _MAY_PASS or code == "RequestTimeout",  # which S3 says with a 400
        of_another_time=meaning == _CLOCKS,
    )
