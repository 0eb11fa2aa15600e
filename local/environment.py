"""What a worker finds in its environment."""

from __future__ import annotations

from collections.abc import Mapping

from local.queue.endpoints import Served


def clean(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without what belongs to another platform, or to another way to start."""
    kept = {"RUNPOD_LOG_LEVEL"}
    ours = {"LOCAL_API_KEY", "WEBHOOK_SIGNING_SECRET"}
    ours |= {"SERVE", "PORT", "SERVE_HOST", "PORT_HEALTH", "METRICS_PORT", "PLAYGROUND"}
    return {
        name: value
        for name, value in env.items()
        if (not name.startswith("RUNPOD_") or name in kept) and name not in ours
    }


def with_stand_ins(env: Mapping[str, str], further: Mapping[str, Served]) -> dict[str, str]:
    """The environment, in which the models of further endpoints have their stand-ins."""
    pairs = [f"{one.model}={one.stand_in}" for one in further.values() if one.stand_in is not None]
    if not pairs:
        return dict(env)
    own = [env["SERVED_NAMES"]] if env.get("SERVED_NAMES", "").strip() else []
    return {**env, "SERVED_NAMES": ",".join([*own, *pairs])}


def of_endpoint(served: Served) -> dict[str, str]:
    """What tells a worker that it serves an endpoint alone."""
    model = {} if served.model is None else {"MODEL_SLUG": served.model}
    return {"SURFACE": served.surface, **model}


def variables(url: str, endpoint: str, worker_id: str, token: str) -> dict[str, str]:
    """What RunPod sets on a worker; the SDK fills in ``$ID`` and ``$RUNPOD_POD_ID``."""
    base = f"{url}/v2/{endpoint}"
    return {
        "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?token={token}",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?token={token}",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?token={token}",
        "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?token={token}",
        "RUNPOD_POD_ID": worker_id,
        "RUNPOD_AI_API_KEY": "local",
        # They ask a public name server, and for a share of free disk.
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
    }
