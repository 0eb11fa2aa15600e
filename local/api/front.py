"""What the gateway's routes stand on."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import Path, Query
from starlette.requests import HTTPConnection
from starlette.responses import Response

from local.api.client import ClientRoutes
from local.api.common import Refused, authorised, json_response
from local.queue.jobs import Job
from local.queue.platform import Platform
from local.webhooks import Webhooks

SurfaceName = Literal["chat", "images", "embeddings", "transcribe"]
JobId = Annotated[str, Path(alias="jobId")]
EndpointId = Annotated[str | None, Query(alias="endpointId", min_length=1)]


def is_delivered_to(webhook_url: str) -> bool:
    """Whether events are sent to an address."""
    if webhook_url.startswith("https://"):
        return True
    own = {"127.0.0.1", "localhost", "::1"}
    return webhook_url.startswith("http://") and urlsplit(webhook_url).hostname in own


class GatewayError(Exception):
    """An answer in the gateway's shape: ``{"error": {"code", "message", "detail"}}``."""

    def __init__(self, status: int, code: str, message: str, detail: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"error": {"code": code, "message": message, "detail": detail}}

    def response(self) -> Response:
        """As HTTP."""
        return json_response(self.content, self.status)


def upstream(refused: Refused) -> GatewayError:
    """RunPod's refusal, as the gateway hands it on."""
    detail = {
        "provider": "runpod",
        "upstream_status": refused.status,
        "upstream_body": json.dumps({"error": refused.message}),
    }
    message = "Upstream runpod request failed"
    return GatewayError(refused.status, "upstream_error", message, detail)


class Front:
    """The gateway's own part: keys, endpoints and webhooks.

    Args:
        platform: the queues.
        client: RunPod's routes, which the gateway's lead to.
        webhooks: told of jobs with a ``webhook_url``.
        key: the key that clients must bring; None = any.
    """

    def __init__(
        self, platform: Platform, client: ClientRoutes, webhooks: Webhooks, key: str | None
    ) -> None:
        self.platform = platform
        self.client = client
        self.webhooks = webhooks
        self._key = key

    def check_key(self, http: HTTPConnection) -> None:
        """Let a request through that brings the key.

        Raises:
            GatewayError: it does not.
        """
        if not authorised(http, self._key):
            raise GatewayError(401, "unauthorized", "Unauthorized user.")

    def endpoint(self, surface: str, explicit: str | None, model: object = None) -> str:
        """The endpoint that a client names, else the one for a surface and a model.

        Raises:
            GatewayError: there is none.
            Refused: there is none of the name that the client gives.
        """
        if explicit is not None and explicit.strip():
            return self.client.endpoint(explicit.strip())
        name = self.platform.endpoints.of(surface, model)
        if name is None:
            raise GatewayError(
                400, "missing_endpoint_id", f"No RunPod endpoint configured for surface {surface}"
            )
        return name

    def job(self, surface: str, job_id: str, endpoint: str | None) -> Job:
        """The job of that id, at the endpoint that the client names or that of the surface.

        Raises as ``endpoint`` and ``ClientRoutes.job`` do.
        """
        return self.client.job(self.endpoint(surface, endpoint), job_id)

    def recorded(self, job_id: str) -> Job | None:
        """The job of that id that came by one of the gateway's routes, at whatever endpoint."""
        for endpoint in self.platform.queues.endpoints.values():
            job = endpoint.jobs.get(job_id)
            if job is not None and job.order.surface is not None:
                return job
        return None

    def follow(self, job: Job, webhook_url: str | None, surface: str) -> None:
        """Tell the client of each step, where it asked for it at an address that is delivered to.

        The gateway delivers by https; here also by http to this machine, where there are no
        certificates to try with.
        """
        if webhook_url is not None and is_delivered_to(webhook_url):
            self.webhooks.on_steps(job, webhook_url, surface)
