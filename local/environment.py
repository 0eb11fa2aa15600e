"""The environment variables of a worker."""

from __future__ import annotations

from collections.abc import Mapping

from local.queue.endpoints import Served


def clean(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without variables for another platform or another start mode."""
    kept = {"RUNPOD_LOG_LEVEL"}
    ours = {"LOCAL_API_KEY", "WEBHOOK_SIGNING_SECRET"}
    ours |= {"SERVE", "PORT", "SERVE_HOST", "PORT_HEALTH", "METRICS_PORT", "PLAYGROUND"}
    return {
        name: value
        for name, value in env.items()
        if (not name.startswith("RUNPOD_") or name in kept) and name not in ours
    }


def with_stand_ins(env: Mapping[str, str], further: Mapping[str, Served]) -> dict[str, str]:
    """Return the environment with the stand-ins for the models of further endpoints."""
    stand_ins = [served for served in further.values() if served.stand_in is not None]
    pairs = [f"{served.model}={served.stand_in}" for served in stand_ins]
    if not pairs:
        return dict(env)
    own = [env["SERVED_NAMES"]] if env.get("SERVED_NAMES", "").strip() else []
    return {**env, "SERVED_NAMES": ",".join([*own, *pairs])}


def of_endpoint(served: Served) -> dict[str, str]:
    """Return the variables of a worker that serves one endpoint only."""
    model = {} if served.model is None else {"MODEL_SLUG": served.model}
    return {"SURFACE": served.surface, **model}


def variables(url: str, endpoint: str, worker_id: str, token: str) -> dict[str, str]:
    """Return the variables that RunPod sets; the SDK fills in ``$ID`` and ``$RUNPOD_POD_ID``."""
    base = f"{url}/v2/{endpoint}"
    return {
        "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?token={token}",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?token={token}",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?token={token}",
        "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?token={token}",
        "RUNPOD_POD_ID": worker_id,
        "RUNPOD_AI_API_KEY": "local",
        # These checks query a public name server, and require a share of free disk space.
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
    }
