"""From a domain error to OpenAI's error object, and to the string that survives the SDK.

The SDK delivers ``{"error": "<string>"}`` faithfully from coroutines and generators alike; a dict
under ``error`` arrives as a Python repr, or not at all. So the error object leaves as JSON text.

The handler's own part of the tree that ``models.errors`` begins:

    RequestError
    ├── JobInvalid               the job is not of a form that lands here
    ├── SurfaceUnknown, SurfaceAmbiguous
    ├── RouteUnknown             an OpenAI route that no surface answers
    ├── RequestTooLarge          over HTTP: the body is larger than the limit
    ├── RequestTimeout           over HTTP: the body does not come in time
    ├── OriginForbidden          over HTTP: a web page of another site asks
    ├── OutputTooLarge           the answer is larger than the platform delivers
    └── MediaError               fetching a client's file: one class per way it fails
    WorkerError
    ├── JobTimeout               the worker's own deadline, before the platform's
    ├── WorkerBusy               over HTTP: it answers as many requests as it may
    ├── DiskFull                 the worker has no room for the job's files
    └── StorageFailed            the bucket did not take the result
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from models.errors import DeviceLost, QuartetError, RequestError, WorkerError


class JobInvalid(RequestError):
    """The job has none of the three forms."""

    code = "job_invalid"


class SurfaceUnknown(RequestError):
    """The job names no surface, or one that is not served here."""

    code = "surface_unknown"


class SurfaceAmbiguous(RequestError):
    """The body fits two surfaces."""

    code = "surface_ambiguous"


class RouteUnknown(RequestError):
    """No surface answers this OpenAI route."""

    code = "unknown_url"


class RequestTooLarge(RequestError):
    """The body of an HTTP request is larger than the limit."""

    code = "request_too_large"


class RequestTimeout(RequestError):
    """The body of an HTTP request does not come in time."""

    code = "request_timeout"


class OriginForbidden(RequestError):
    """A web page of another site sent the HTTP request."""

    code = "origin_forbidden"


class OutputTooLarge(RequestError):
    """The answer is larger than the platform delivers."""

    code = "output_too_large"


class MediaError(RequestError):
    """A client's file could not be fetched."""


class MediaInvalid(MediaError):
    """Neither a URL, nor a data URI, nor base64."""

    code = "media_invalid"


class MediaForbidden(MediaError):
    """The address is not a public one."""

    code = "media_address_forbidden"


class MediaUnreachable(MediaError):
    """The host does not exist, does not answer, or breaks off."""

    code = "media_unreachable"


class MediaRefused(MediaError):
    """The host answered with an error status."""

    code = "media_refused"


class MediaTooLarge(MediaError):
    """The file is larger than the limit."""

    code = "media_too_large"


class MediaTimeout(MediaError):
    """The file did not come in time."""

    code = "media_timeout"


class JobTimeout(WorkerError):
    """The job ran into the worker's own deadline."""

    code = "job_timeout"


class WorkerBusy(WorkerError):
    """The worker answers as many requests over HTTP as it may."""

    code = "worker_busy"


class DiskFull(WorkerError):
    """The disk of the worker has no room for the job's files."""

    code = "disk_full"


class StorageFailed(WorkerError):
    """The bucket did not take the result."""

    code = "storage_failed"


class ErrorObject(TypedDict):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None
    code: str


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def error_object(error: BaseException) -> ErrorObject:
    """Return OpenAI's error object; an unknown error says only that it was one."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        error = DiskFull(
            "The worker's disk is full. Send the request again; if that fails too, the operator "
            "needs a larger container disk."
        )
    if not isinstance(error, QuartetError):
        error = QuartetError("The worker failed on this job. Its log has the details.")
    return {
        "message": _sendable(error.message),
        "type": error.kind,
        "param": None if error.param is None else _sendable(error.param),
        "code": error.code,
    }


def _sendable(text: str) -> str:
    """Return a text whose unpaired surrogates, which UTF-8 cannot express, are escaped.

    A message may repeat what a client has sent, and JSON can express them.
    """
    return text.encode("utf-8", "backslashreplace").decode()


# Where an error has a status of its own; the others are 400 and 500, by their type.
_STATUS = {
    "model_not_found": 404,
    "unknown_url": 404,
    "origin_forbidden": 403,
    "request_timeout": 408,
    "request_too_large": 413,
    "worker_busy": 429,
    "storage_failed": 502,
    "disk_full": 503,
    "model_does_not_fit": 503,
    "model_load_failed": 503,
    "weights_unavailable": 503,
    "weights_gated": 503,
    "out_of_memory": 503,
    "device_lost": 503,
    "job_timeout": 504,
}


def http_status(error: ErrorObject) -> int:
    """The status that an error has over HTTP, as OpenAI's clients tell errors apart by it."""
    return _STATUS.get(error["code"], 400 if error["type"] == "invalid_request_error" else 500)


def statuses() -> Mapping[int, Sequence[str]]:
    """Return each status that an error may have, and the codes that have it.

    400 has every other code of an ``invalid_request_error``, 500 those of a ``server_error``.
    """
    codes: dict[int, list[str]] = {400: [], 500: []}
    for code, status in _STATUS.items():
        codes.setdefault(status, []).append(code)
    return dict(sorted(codes.items()))


def wire(error: BaseException) -> dict[str, str | bool]:
    """Return what the SDK is given: plain ASCII, so that no text can break its delivery.

    A lost device comes with the SDK's ``refresh_worker``, which has the platform replace the worker
    after this job, where it would otherwise fail, and bill, every job that follows.
    """
    output: dict[str, str | bool] = {"error": json.dumps(error_object(error))}
    if isinstance(error, DeviceLost):
        output["refresh_worker"] = True
    return output


def error_of(output: Any) -> ErrorObject | None:
    """The error object inside what leaves ``Worker``."""
    if isinstance(output, dict) and isinstance(output.get("error"), str):
        error: ErrorObject = json.loads(output["error"])
        return error
    return None


def code_of(output: Any) -> str:
    """The error code of what leaves ``Worker``, ``ok`` without one."""
    error = error_of(output)
    return "ok" if error is None else error["code"]
