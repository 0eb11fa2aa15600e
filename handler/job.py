"""A RunPod job, and the three forms that its input comes in.

    plain      {"input": {…the client's OpenAI-style body…}}
    OpenAI     {"input": {"openai_route": "/v1/…", "openai_input": {…}}}      RunPod's own proxy
    wrapped    {"input": {"input": {…}, "policy": {…}, "s3Config": {…}, …}}   the gateway's routes

They are told apart by what they hold, in this order: ``openai_route``; an ``input`` that is an
object with no other surface's mark beside it (an embeddings body has a string or a list there);
else plain. RunPod's own clients send a body that has an ``input`` as the job itself, so that the
body of an embeddings request may arrive as the job: ``{"input": "text"}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handler.contract import MARKS
from handler.contract.unsupported import is_left_out
from handler.errors import JobInvalid
from handler.media.bucket import BucketChoice, BucketConfig, read_s3_config
from models.errors import InvalidValue

_OTHER_MARKS = {mark for marks in MARKS.values() for mark in marks} - {"input"}
_MIN_TIMEOUT_MS, _MAX_TIMEOUT_MS = 5_000, 7 * 24 * 3600 * 1000


@dataclass(frozen=True)
class Origin:
    """The endpoint at which a job was queued: the surface that it serves, and perhaps the model."""

    surface: str
    model: str | None = None


@dataclass(frozen=True)
class Job:
    """One job, understood as far as its envelope goes.

    Attributes:
        id: the platform's id.
        body: the client's body.
        surface: the explicit ``surface`` key, as the client wrote it.
        route: the OpenAI route, None for the other forms.
        bucket: the job's own bucket, or one of the endpoint's store.
        timeout_s: the job's own execution timeout, None when it brings none.
        origin: where the job was queued, where the platform says it (``local``).
        uploads: files that came with the request, by the reference that the body has for each.
    """

    id: str
    body: Mapping[str, Any]
    surface: object = None
    route: str | None = None
    bucket: BucketConfig | BucketChoice | None = None
    timeout_s: float | None = None
    origin: Origin | None = None
    uploads: Mapping[str, Path] = field(default_factory=dict)

    @property
    def wants_stream(self) -> bool:
        """Whether the body asks for a stream."""
        return self.body.get("stream") is True


def parse_job(raw: object) -> Job:
    """Read a job.

    Raises:
        JobInvalid: it is of none of the three forms.
        InvalidValue: its ``s3Config`` or ``policy`` is wrong.
    """
    given = raw.get("input") if isinstance(raw, dict) else None
    if isinstance(given, str | list):
        given = {"input": given}
    if not isinstance(raw, dict) or not isinstance(given, dict):
        raise JobInvalid('A job is an object with an object under "input": {"input": {…}}.')
    envelope = _envelope(raw)
    content: dict[str, Any] = given
    surface = content.get("surface")
    if "openai_route" not in content:
        envelope |= _envelope(content)
        if _is_wrapped(content):
            content = content["input"]
        content = {**_beside(raw), **content}
        surface = content.get("surface", surface)
    route, body = None, content
    if "openai_route" in content:
        route = content["openai_route"]
        sent = content.get("openai_input")
        body = {} if sent is None else sent
        if not isinstance(route, str) or not isinstance(body, dict):
            raise JobInvalid('"openai_route" is a string and "openai_input" an object.')
    return Job(
        id=str(raw.get("id", "local")),
        body=body,
        surface=None if is_left_out(surface) else surface,
        route=route,
        bucket=read_s3_config(envelope["s3Config"]) if "s3Config" in envelope else None,
        timeout_s=_timeout_s(envelope.get("policy")),
        origin=_origin(raw.get("endpoint")),
    )


# What the platform says of a job, or reads for itself.
_PLATFORM = frozenset({
    "delayTime", "endpoint", "executionTime", "id", "input", "lowPriority", "policy", "retries",
    "runId", "s3Config", "status", "stream", "webhook", "workerId",
})  # fmt: skip


def _beside(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The body's fields that stand beside its ``input``.

    RunPod's clients send a body that has an ``input`` as the job itself, with its other fields.
    """
    return {key: value for key, value in raw.items() if key not in _PLATFORM}


def _envelope(outer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields beside an input; the gateway's direct routes put them into the body."""
    return {key: outer[key] for key in ("s3Config", "policy") if not is_left_out(outer.get(key))}


def _origin(said: object) -> Origin | None:
    """Read the local platform's field beside the input: ``{"surface": …, "model": …}``."""
    if not isinstance(said, dict) or not isinstance(said.get("surface"), str):
        return None
    model = said.get("model")
    return Origin(said["surface"], model if isinstance(model, str) else None)


def _is_wrapped(content: Mapping[str, Any]) -> bool:
    """An object under ``input``, and no surface's own mark beside it."""
    return isinstance(content.get("input"), dict) and not content.keys() & _OTHER_MARKS


def _timeout_s(policy: object) -> float | None:
    """``policy.executionTimeout`` is in milliseconds, from 5 seconds to 7 days."""
    if policy is None:
        return None
    if not isinstance(policy, dict):
        raise InvalidValue("policy must be an object.", param="policy")
    timeout_ms = policy.get("executionTimeout")
    if timeout_ms is None or is_left_out(timeout_ms):
        return None
    is_number = isinstance(timeout_ms, int | float) and not isinstance(timeout_ms, bool)
    if not is_number or not _MIN_TIMEOUT_MS <= timeout_ms <= _MAX_TIMEOUT_MS:
        raise InvalidValue(
            f"policy.executionTimeout must be a number of milliseconds from {_MIN_TIMEOUT_MS} to "
            f"{_MAX_TIMEOUT_MS}.",
            param="policy.executionTimeout",
        )
    return float(timeout_ms) / 1000
