"""What a worker imports before it takes a job."""

from __future__ import annotations

import re

import pytest

from handler.contract import MARKS, SURFACES
from tests.support.running import WORKER, run_local

CONTRACT = r"handler\.contract\.\w+"
JOBS = {
    "chat": {"messages": [{"role": "user", "content": "Hello"}]},
    "images": {"prompt": "A fox", "size": "64x64", "response_format": "b64_json"},
    "embeddings": {"input": "A text"},
}


@pytest.mark.parametrize("surface", SURFACES)
def test_a_worker_imports_its_own_surface_alone(surface):
    """Also after a job in the gateway's wrapped form, which is known by all surfaces' marks."""
    # Nobody asks for metrics on RunPod, as ``local`` does.
    command = ("env", "-u", "METRICS_PORT", *WORKER)
    with run_local(surfaces=(surface,), command=command, PYTHONPROFILEIMPORTTIME="1") as local:
        if surface in JOBS:
            job = local.run(surface, {"input": JOBS[surface]})
            assert local.end(surface, job)["status"] == "COMPLETED"
        imported = {one[1] for line in local.lines if (one := re.search(r"\| +([\w.]+)$", line))}
    outermost = {module.split(".")[2] for module in imported if re.match(CONTRACT, module)}
    assert outermost & {*SURFACES} == {surface}
    assert "handler.doors.queue.scaler" in imported  # the list reaches to the loop
    of_http = {"starlette", "uvicorn", "prometheus_client", "fastapi", "playground"}
    assert not of_http & imported
    assert not {"handler.doors.http.routes", "handler.doors.metrics", "handler.openapi"} & imported


def test_the_registry_has_each_surfaces_marks():
    assert {name: surface.marks for name, surface in SURFACES.items()} == MARKS
    assert [surface.name for surface in SURFACES.values()] == list(SURFACES)


def test_the_registry_is_a_mapping():
    assert "chat" in SURFACES
    assert "dance" not in SURFACES
    assert SURFACES.get("dance") is None
    assert len(SURFACES) == len(list(SURFACES)) == 6
    with pytest.raises(KeyError):
        SURFACES["base"]  # a module of the same folder
