"""A RunPod job, and the three forms that its input comes in.

    plain      {"input": {…the client's OpenAI-style body…}}
    OpenAI     {"input": {"openai_route": "/v1/…", "openai_input": {…}}}      RunPod's own proxy
    wrapped    {"input": {"input": {…}, "policy": {…}, "s3Config": {…}, …}}   the gateway's routes

They are told apart by what they hold, in this order: ``openai_route``, then an ``input`` that is an
object (an embeddings body has a string or a list there), else plain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handler.bucket import BucketConfig
from handler.errors import JobInvalid
from models.errors import InvalidValue


@dataclass(frozen=True)
class Job:
    """One job, understood as far as its envelope goes.

    Attributes:
        id: the platform's id.
        body: the client's body.
        surface: the explicit ``surface`` key, as the client wrote it.
        route: the OpenAI route, None for the other forms.
        bucket: the job's own bucket.
        timeout_s: the job's own execution timeout, None when it brings none.
    """

    id: str
    body: Mapping[str, Any]
    surface: object = None
    route: str | None = None
    bucket: BucketConfig | None = None
    timeout_s: float | None = None

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
    if not isinstance(raw, dict) or not isinstance(raw.get("input"), dict):
        raise JobInvalid('A job is an object with an object under "input": {"input": {…}}.')
    envelope: dict[str, Any] = {key: raw[key] for key in ("s3Config", "policy") if raw.get(key)}
    content: dict[str, Any] = raw["input"]
    surface = content.get("surface")
    if "openai_route" not in content and isinstance(content.get("input"), dict):
        envelope |= {key: content[key] for key in ("s3Config", "policy") if content.get(key)}
        content = content["input"]
        surface = content.get("surface", surface)
    route, body = None, content
    if "openai_route" in content:
        route, body = content["openai_route"], content.get("openai_input") or {}
        if not isinstance(route, str) or not isinstance(body, dict):
            raise JobInvalid('"openai_route" is a string and "openai_input" an object.')
    return Job(
        id=str(raw.get("id", "local")),
        body=body,
        surface=surface,
        route=route,
        bucket=BucketConfig.from_job(envelope["s3Config"]) if "s3Config" in envelope else None,
        timeout_s=_timeout_s(envelope.get("policy")),
    )


def _timeout_s(policy: object) -> float | None:
    """``policy.executionTimeout`` is in milliseconds, at least 5 seconds' worth."""
    if policy is None:
        return None
    if not isinstance(policy, dict):
        raise InvalidValue("policy must be an object.", param="policy")
    timeout_ms = policy.get("executionTimeout")
    if timeout_ms is None:
        return None
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int | float) or timeout_ms < 5000:
        raise InvalidValue(
            "policy.executionTimeout must be a number of milliseconds, at least 5000.",
            param="policy.executionTimeout",
        )
    return timeout_ms / 1000
