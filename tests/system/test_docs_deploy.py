"""docs/deploy.md and the README's part of it: bodies that RunPod takes, arguments that there are."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from handler.contract import SURFACES
from handler.job import parse_job
from handler.settings.endpoint import Endpoint
from handler.settings.variables import Settings
from models.catalog import CATALOG
from models.device import driver
from tests.conftest import ROOT

PAGES = {name: (ROOT / name).read_text() for name in ("README.md", "docs/deploy.md")}
BODIES = [
    (name, json.loads(body))
    for name, page in PAGES.items()
    for body in re.findall(r"-d '(\{.*?\})'\n```", page, re.DOTALL)
]
ENDPOINTS = [(name, body) for name, body in BODIES if "image" in body]
SCHEMA = json.loads((ROOT / "tests" / "schemas" / "endpoint.schema.json").read_text())


@pytest.mark.parametrize(("page", "body"), ENDPOINTS, ids=lambda one: str(one)[:40])
def test_the_endpoint_is_one_that_the_api_takes(page, body):
    jsonschema.validate(body, SCHEMA)
    settings = Settings.from_env(body["env"])
    assert settings.serve is (body["type"] == "LOAD_BALANCER")
    if settings.serve:
        assert f"{settings.port}/http" in body["ports"]
    endpoint = Endpoint.build(settings, SURFACES, CATALOG, "cuda")
    assert endpoint.configured is not None
    assert endpoint.only is not None


def test_there_is_one_in_each_page():
    assert {name for name, _ in ENDPOINTS} == set(PAGES)
    assert sum(body["type"] == "LOAD_BALANCER" for _, body in ENDPOINTS) >= 1


@pytest.mark.parametrize(
    "body", [body for _, body in BODIES if "image" not in body], ids=lambda one: str(one)[:40]
)
def test_the_jobs_are_jobs(body):
    job = parse_job({"id": "j", **body}) if "input" in body else None
    if job is not None:
        surface = next(one for one in SURFACES.values() if set(one.marks) & set(job.body))
        surface.marked(job.body).request.parse(job.body)


@pytest.mark.parametrize("page", PAGES)
def test_build_arguments_and_models_are_known(page):
    dockerfile = (ROOT / "Dockerfile").read_text()
    named = re.findall(r"--build-arg (\w+)", PAGES[page])
    assert {"SURFACE", "MODEL"} <= set(named)
    for argument in named:
        assert re.search(rf"(?m)^ARG {argument}\b", dockerfile), argument
    for model in re.findall(r"\bMODEL(?:_SLUG)?=(\w+)(?![\w/:-])", PAGES[page]):
        assert CATALOG.find(model)


def test_the_table_of_surfaces_holds():
    rows = {
        cells[1]: cells[2:]
        for line in PAGES["docs/deploy.md"].splitlines()
        if len(cells := [one.strip() for one in line.split("|")]) == 9 and cells[1] in SURFACES
    }
    assert set(rows) == set(SURFACES)
    for surface, (arguments, cuda, pools, _, timeout, disk, _) in rows.items():
        row = CATALOG.find(re.search(r"MODEL=(\w+)", arguments)[1])
        assert row.surface == surface
        size_gb = int(re.search(r"_(\d+)`", pools)[1])
        assert row.memory_bytes / 0.9 <= size_gb * 1e9, "it does not fit the smallest pool"
        assert row.weights_bytes <= int(disk) * 1e9
        assert row.timeout_s <= int(timeout) / 1000
        if surface == "transcribe":
            assert tuple(map(int, cuda.split("."))) >= driver_needs()


def driver_needs() -> tuple[int, ...]:
    return tuple(map(int, driver.CUDA_OF_CTRANSLATE2.split(".")))
