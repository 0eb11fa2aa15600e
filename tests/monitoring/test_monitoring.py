"""compose.yaml, and what Prometheus and Grafana are told, against a worker's own /metrics."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from handler.settings.variables import Settings
from tests.conftest import ROOT
from tests.support.bodies import CHAT, EMBEDDINGS
from tests.support.running import free_port, run_local, serve_worker

FOLDER = ROOT / "monitoring"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SCRAPES = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
ALERTS = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((FOLDER / "grafana" / "quartet.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel["targets"]
}
EXPRESSIONS = {**QUERIES, **{rule["alert"]: rule["expr"] for rule in ALERTS}}
# Labels that Prometheus itself adds.
ADDED = {"instance", "job", "le"}


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """The labels of every sample of a worker and of the local platform, by the sample's name."""
    found: dict[str, set[str]] = {}
    with serve_worker() as worker, run_local(1) as local:
        httpx.post(f"{worker}/v1/chat/completions", json=CHAT)
        httpx.post(f"{worker}/v1/audio/speech", json={"input": "Hello."})
        httpx.post(f"{worker}/v1/audio/music", json={"caption": "A bell"})
        local.end("embeddings", local.run("embeddings", EMBEDDINGS))
        for url in (worker, local.url):
            for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text):
                for sample in family.samples:
                    found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_query_asks_for_what_there_is(known, name):
    expression = EXPRESSIONS[name]
    names = set(re.findall(r"\b(?:quartet|process)_\w+", expression))
    assert names or "up{" in expression
    assert names <= known.keys()
    labels = {one for names_ in re.findall(r"(?:by|ignoring) \(([\w, ]+)\)", expression)
              for one in names_.split(", ")}  # fmt: skip
    labels |= set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression))
    offered = ADDED.union(*(known[one] for one in names))
    assert labels <= offered


def test_the_codes_of_the_alert_are_the_workers():
    import handler.errors  # noqa: F401 - its errors are subclasses
    from models.errors import QuartetError, WorkerError

    def tree(kind: type) -> set[type]:
        return {kind}.union(*(tree(one) for one in kind.__subclasses__()))

    ours = {
        one.code for one in tree(WorkerError) if one.__module__.startswith(("handler", "models"))
    }
    [rule] = [one for one in ALERTS if one["alert"] == "WorkerErrors"]
    named = set(re.search(r'code=~"([^"]+)"', rule["expr"])[1].split("|"))
    assert named <= ours | {QuartetError.code}
    # They end the worker before it answers.
    assert ours - named <= {"driver_too_old", "repository_unsuited"}


def test_the_dashboard_shows_what_operators_look_at():
    asked = " ".join(QUERIES.values())
    page = (ROOT / "docs" / "operations.md").read_text()
    for name in set(re.findall(r"`(quartet_[a-z_]+)", page)) - {"quartet_queue_jobs_total"}:
        assert name in asked, name
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in PANELS:
        assert panel["description"], panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["datasource"]["uid"] == source()["uid"]


def source() -> dict:
    [one] = yaml.safe_load((FOLDER / "grafana" / "datasources.yml").read_text())["datasources"]
    return one


def test_the_containers_fit_each_other():
    services = COMPOSE["services"]
    [scrape] = SCRAPES["scrape_configs"]
    [found] = scrape["dns_sd_configs"]
    assert set(found["names"]) <= services.keys()
    assert source()["url"] == "http://prometheus:9090"
    assert (
        services["laptop"]["command"][-1] in found["names"]
    )  # a name that the platform answers to
    volumes = COMPOSE["volumes"].keys()
    for name, service in services.items():
        assert service["profiles"], name
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), name
        for mount in service["volumes"]:
            here = mount.partition(":")[0]
            assert (ROOT / here).exists() if here.startswith("./") else here in volumes, mount
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name


def test_workers_know_their_variables_and_arguments():
    dockerfile = (ROOT / "Dockerfile").read_text()
    known = {field.validation_alias for field in Settings.model_fields.values()}
    for name in ("laptop", "gpu"):
        service = COMPOSE["services"][name]
        assert set(service["environment"]) <= known | {"LOCAL_API_KEY"}
        for argument in service["build"]["args"]:
            assert f"ARG {argument}" in dockerfile
    env = COMPOSE["services"]["gpu"]["environment"]
    settings = Settings.from_env({k: v for k, v in env.items() if v and not v.startswith("$")})
    assert (settings.serve, settings.serve_host, settings.port) == (True, "0.0.0.0", 8000)


needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def plain(query: str) -> str:
    """A query of the dashboard as Grafana would send it."""
    return query.replace("$__rate_interval", "20s").replace("$instance", ".*")


@needs_promtool
def test_promtool_reads_all_of_it(tmp_path):
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    rules = [
        {"record": f"panel:{index}", "expr": plain(query)}
        for index, query in enumerate(QUERIES.values())
    ]
    groups = {"groups": [{"name": "panels", "rules": rules}]}
    (tmp_path / "panels.yml").write_text(yaml.safe_dump(groups))
    for command in (("config", "prometheus.yml"), ("rules", "alerts.yml", "panels.yml")):
        done = subprocess.run(
            ["promtool", "check", *command], cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.slow
def test_every_panel_has_something_to_show(tmp_path):
    """Prometheus asks the local platform, whose worker is busy; each query finds numbers."""
    with run_local(1, FAKE_DELAY_S="0.001") as local:
        port = free_port()
        target = local.url.removeprefix("http://")
        config = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "quartet", "static_configs": [{"targets": [target]}]}],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = [
            "prometheus", f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as prometheus:
            try:
                url = f"http://127.0.0.1:{port}"
                end = time.monotonic() + 25
                while time.monotonic() < end:
                    local.end("chat", local.run("chat", CHAT))
                    local.end("chat", local.run("chat", {**CHAT, "temperature": 9}))
                empty = [name for name, query in QUERIES.items() if not values(url, plain(query))]
            finally:
                prometheus.terminate()
                prometheus.wait(20)
    assert empty == []


def values(url: str, query: str) -> list[float]:
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    return [float(one["value"][1]) for one in answer["data"]["result"]]
