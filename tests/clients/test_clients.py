"""Real clients, unmodified, in an environment of their own, against a worker with real models.

Each script in this folder is what a user of its client writes; it fails by itself.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.running import run_local, serve_worker

FOLDER = Path(__file__).parent
ENVIRONMENT = ROOT / ".venv-clients"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*_client.*"))
REAL = {"FAKE_ENGINES": "0", "CONCURRENCY": "4"}

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]


def environment(folder: Path, requirements: str) -> Path:
    """The interpreter of an environment; it is made at the first run, and kept."""
    made, wanted = folder / "made", (FOLDER / requirements).read_text()
    if not made.exists() or made.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-r", FOLDER / requirements], check=True)
        made.write_text(wanted)
    return folder / "bin/python"


@pytest.fixture(scope="session")
def python() -> Path:
    """With the clients."""
    return environment(ENVIRONMENT, "requirements.txt")


@pytest.fixture(scope="session")
def generator() -> Path:
    """With what generates a client from the worker's OpenAPI document."""
    return environment(ENVIRONMENT.with_name(".venv-clients-openapi"), "generator.txt")


@pytest.fixture(scope="session")
def node(python: Path) -> Path:
    """The folder in which node finds its packages."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = ENVIRONMENT / "node"
    folder.mkdir(exist_ok=True)
    package = (FOLDER / "package.json").read_text()
    if not (folder / "made").exists() or (folder / "made").read_text() != package:
        (folder / "package.json").write_text(package)
        subprocess.run(
            ["npm", "install", "--silent", "--no-package-lock", "--no-audit"],
            cwd=folder, check=True, timeout=600,
        )  # fmt: skip
        (folder / "made").write_text(package)
    return folder


@pytest.fixture(scope="session")
def recording(tmp_path_factory) -> Path:
    example = json.loads((ROOT / "examples/transcribe.json").read_text())
    path = tmp_path_factory.mktemp("clients") / "speech.ogg"
    path.write_bytes(base64.b64decode(example["input"]["audioUrl"].partition(",")[2]))
    return path


@pytest.fixture(scope="session")
def door() -> Iterator[str]:
    """The worker's own HTTP door."""
    with serve_worker(**REAL) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="session")
def queue() -> Iterator[str]:
    """RunPod's proxy, with the queue behind it."""
    with run_local(**REAL) as local:
        yield f"{local.url}/v2/all/openai/v1"


def run(command: list[str | Path], folder: Path, base_url: str, recording: Path) -> None:
    quiet = {"ANONYMIZED_TELEMETRY": "0", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    env = {**os.environ, **quiet, "BASE_URL": base_url, "RECORDING": str(recording)}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_client_gets_on(script, request, door, recording):
    if script.endswith(".mjs"):
        folder = request.getfixturevalue("node")
        shutil.copy(FOLDER / script, folder)
        run(["node", script], folder, door, recording)
    else:
        kind = "generator" if script == "openapi_client.py" else "python"
        run([request.getfixturevalue(kind), FOLDER / script], FOLDER, door, recording)


@pytest.mark.parametrize("script", ["openai_client.py", "instructor_client.py"])
def test_so_it_does_through_the_queue(script, python, queue, recording):
    run([python, FOLDER / script], FOLDER, queue, recording)
