"""The weights of ACE-Step come from two repositories, and lie in one folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models.music.engine import AceStepMusic
from models.weights.places import Places
from models.weights.sources import parse
from models.weights.store import WeightsStore
from tests.conftest import CPU, ROOT, row
from tests.support.hub import hub_of
from tests.support.servers import serve

ROW = row("AceStep_1_5_Turbo")
DIT, MAIN = "ACE-Step/acestep-v15-turbo-continuous", "ACE-Step/Ace-Step1.5"
COMMITS = {
    DIT: "f8e893768347fd42f5988e07d1d80675fc3e5718",
    MAIN: "19671f406d603126926c1b7e2adc169acbcade22",
}


@pytest.fixture
def repositories(store, tmp_path) -> dict[str, Path]:
    """The tiny model as the two repositories, with files that are not asked for."""
    tiny = store.resolve(row("Tiny_AceStep"))
    roots = {DIT: tmp_path / "dit", MAIN: tmp_path / "main"}
    for root in roots.values():
        root.mkdir()
    for name in ("config.json", "model.safetensors", "silence_latent.pt"):
        shutil.copy(tiny / name, roots[DIT] / name)
    (roots[DIT] / "modeling_acestep_v15_turbo.py").write_text("raise SystemExit")
    for name in ("vae", "Qwen3-Embedding-0.6B"):
        shutil.copytree(tiny / name, roots[MAIN] / name)
    for name in ("config.json", "acestep-v15-turbo/model.safetensors", "acestep-5Hz-lm-1.7B/a.bin"):
        (roots[MAIN] / name).parent.mkdir(exist_ok=True)
        (roots[MAIN] / name).write_text("{}")
    return roots


def test_both_repositories_are_fetched_and_no_more_of_them_than_is_used(repositories, tmp_path):
    with serve(hub_of(repositories, COMMITS)) as url:
        places = Places((), tmp_path / "baked", None, tmp_path / "cache", endpoint=url)
        store = WeightsStore(places)
        folder = store.resolve(ROW)
    assert folder == tmp_path / "cache" / parse(ROW.weights).key
    assert store.has(ROW)
    held = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}
    assert held - {".cache"} == {
        "config.json", "model.safetensors", "silence_latent.pt", "vae", "Qwen3-Embedding-0.6B",
    }  # fmt: skip
    original = repositories[DIT] / "config.json"
    assert (folder / "config.json").read_bytes() == original.read_bytes(), "not the other's"
    AceStepMusic.load(folder, ROW, CPU).close()


def test_the_name_of_the_folder_fits_a_file_system():
    key = parse(ROW.weights).key
    assert len(f".{key}.partial") <= 255
    assert key.count("+") == 1, "each repository is named once"


def test_another_commit_of_the_gateways_changes_its_repository_alone():
    moved = ROW.pinned(DIT, "a" * 40)
    assert f"{DIT}@{'a' * 40} + " in moved.weights
    assert moved.weights.count(f"{MAIN}@{COMMITS[MAIN]}") == 2


def builder(*arguments: str, **env: str) -> str:
    """What the builder prints."""
    done = subprocess.run(
        [sys.executable, "-m", "builder", *arguments],
        env={**os.environ, **env}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_builder_fetches_and_inspects_both(repositories, tmp_path):
    baked = tmp_path / "baked"
    with serve(hub_of(repositories, COMMITS)) as url:
        options = ("--surface", "music", "--model", ROW.slug, "--to", str(baked))
        builder("fetch", *options, HF_ENDPOINT=url, QUARTET_CACHE=str(tmp_path / "cache"))
    folder = baked / parse(ROW.weights).key
    checkpoint = builder("inspect", str(folder / "model.safetensors"))
    assert "layout: plain" in checkpoint
    assert "decoder" in checkpoint
    assert "layout: plain" in builder(
        "inspect", str(folder / "vae/diffusion_pytorch_model.safetensors")
    )
