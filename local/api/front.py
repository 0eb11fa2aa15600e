"""The parts that the gateway's routes share."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import Path, Query
from starlette.requests import HTTPConnection
from starlette.responses import Response

from local.api.client import ClientRoutes
from local.api.common import Refused, authorised, json_response
from local.queue.jobs import Hook, Job
from local.queue.platform import Platform
from local.webhooks import Webhooks

SurfaceName = Literal["chat", "images", "embeddings", "transcribe"]
JobId = Annotated[str, Path(alias="jobId")]
EndpointId = Annotated[str | None, Query(alias="endpointId", min_length=1)]


def is_delivered_to(webhook_url: str) -> bool:
    """Whether webhooks are sent to this URL."""
    if webhook_url.startswith("https://"):
        return True
    own = {"127.0.0.1", "localhost", "::1"}
    return webhook_url.startswith("http://") and urlsplit(webhook_url).hostname in own


class GatewayError(Exception):
    """An error in the gateway's format: ``{"error": {"code", "message", "detail"}}``."""

    def __init__(self, status: int, code: str, message: str, detail: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"error": {"code": code, "message": message, "detail": detail}}

    def response(self) -> Response:
        """Return the error as an HTTP response."""
        return json_response(self.content, self.status)


def upstream(refused: Refused) -> GatewayError:
    """Return RunPod's error as the gateway passes it on."""
    detail = {
        "provider": "runpod",
        "upstream_status": refused.status,
        "upstream_body": json.dumps({"error": refused.message}),
    }
    message = "Upstream runpod request failed"
    return GatewayError(refused.status, "upstream_error", message, detail)


class Front:
    """The gateway's own logic: keys, endpoints and webhooks.

    Args:
        platform: the queues.
        client: RunPod's routes, to which the gateway's routes lead.
        webhooks: notified of jobs with a ``webhook_url``.
        key: the key that clients must send; None = any.
    """

    def __init__(
        self, platform: Platform, client: ClientRoutes, webhooks: Webhooks, key: str | None
    ) -> None:
        self.platform = platform
        self.client = client
        self.webhooks = webhooks
        self._key = key

    def check_key(self, http: HTTPConnection) -> None:
        """Check that a request has the key.

        Raises:
            GatewayError: it does not.
        """
        if not authorised(http, self._key):
            raise GatewayError(401, "unauthorized", "Unauthorized user.")

    def endpoint(self, surface: str, explicit: str | None, model: object = None) -> str:
        """Return the endpoint that a client names, or else that of the surface and model.

        Raises:
            GatewayError: there is no endpoint for the surface.
            Refused: there is no endpoint with the given name.
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
        """Return the job with an id, at the named endpoint or else at that of the surface.

        Raises what ``endpoint`` and ``ClientRoutes.job`` raise.
        """
        return self.client.job(self.endpoint(surface, endpoint), job_id)

    def recorded(self, job_id: str) -> Job | None:
        """Return the job with an id at any endpoint, if a gateway route submitted it."""
        for endpoint in self.platform.queues.endpoints.values():
            job = endpoint.jobs.get(job_id)
            if job is not None and job.order.surface is not None:
                return job
        return None

    def follow(self, job: Job, webhook_url: str | None, surface: str) -> None:
        """Send the client the job's events, if it gave a URL that events are sent to.

        The gateway requires https. Here, http to this machine is allowed, too, because there are no
        certificates for tests.
        """
        if webhook_url is not None and is_delivered_to(webhook_url):
            self.webhooks.follow(job, Hook(webhook_url, surface))
