"""The first minutes of a new user: what the scripts print, and what they leave behind."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from scripts.page import TEXT
from tests.conftest import ROOT, needs
from tests.support.transcripts import parsed

QUIETLY = ROOT / "scripts" / "quietly.py"


def quietly(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, QUIETLY, tmp_path / "log", "counting", sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_step_is_one_line(tmp_path):
    done = quietly(tmp_path, "for n in range(600): print('line', n)")
    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert line.startswith("== counting: ")
    assert line.endswith(" s")
    assert len((tmp_path / "log").read_text().splitlines()) == 600


def test_a_step_that_fails_shows_its_last_lines_and_its_log(tmp_path):
    done = quietly(tmp_path, "[print('line', n) for n in range(600)]; raise SystemExit(3)")
    assert done.returncode == 3
    first, *last, where = done.stderr.splitlines()
    assert first.startswith("== counting: ")
    assert [line.strip() for line in last] == [f"line {n}" for n in range(590, 600)]
    assert where.strip() == f"the whole output is in {tmp_path / 'log'}"


def test_on_a_terminal_a_line_moves_with_what_is_downloaded(tmp_path):
    """pip's own words; once over, nothing of it is left but the step's line."""
    code = (
        "import time\n"
        "print('  Downloading https://host/torch-2.13.0-cp311-linux.whl (180 MB)', flush=True)\n"
        "print('Progress 45000000 of 180000000', flush=True)\n"
        "time.sleep(3)\n"
    )
    mine, theirs = pty.openpty()
    command = [sys.executable, QUIETLY, tmp_path / "log", "installing", sys.executable, "-c", code]
    with subprocess.Popen(command, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                got = os.read(mine, 4096)
            except OSError:  # the other end is closed
                break
            seen += got
    os.close(mine)
    assert process.returncode == 0
    assert b"installing, 2 s: torch: 45 of 180 MB" in seen
    assert seen.rpartition(b"\033[K")[2].startswith(b"== installing: 3.")
    assert "Progress" not in (tmp_path / "log").read_text()


@needs("SmolLM2_135M_Instruct")
@needs("PP_OCRv6_Small")
@needs("Whisper_Base")
@needs("Hibari_Heart")
@needs("All_MiniLM_L6_v2")
@needs("RealESRGAN_x4_Anime")
@needs("U2Net_P")
def test_every_example_is_answered_and_can_be_looked_at(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "scripts.answers"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DEVICE": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    assert len(lines) < 30
    assert all(line.startswith("== ") for line in done.stderr.splitlines())
    out = tmp_path / "out"
    assert "Paris" in (out / "chat.txt").read_text()
    assert "Dashwood" in (out / "transcribe.txt").read_text()
    [(start, end, words)] = parsed((out / "subtitles.srt").read_text())
    assert start == pytest.approx(0.14, abs=0.1)
    assert end == pytest.approx(6.97, abs=0.3)
    assert words.startswith("And Mr. John Dashwood")
    assert (out / "ocr.txt").read_text().splitlines() == list(TEXT)
    assert f"{len(TEXT)} lines: {TEXT[0]}" in done.stdout
    assert "Dr. Smith paid $9.99" in (out / "heard.txt").read_text()  # and was spoken before
    assert (out / "speech.mp3").stat().st_size > 10_000
    assert (out / "music.mp3").stat().st_size > 10_000
    for name in ("ocr", "images", "upscale", "background"):
        with Image.open(out / f"{name}.png") as picture:
            picture.load()
            assert name == "ocr" or f"{picture.width}x{picture.height}" in done.stdout
    with Image.open(out / "background.png") as picture:
        assert picture.mode == "RGBA"


def test_the_pre_commit_hooks_are_what_the_check_runs_first():
    check = (ROOT / "scripts" / "check").read_text()
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    commands = [
        line.partition("entry: .venv/bin/")[2] for line in hooks.splitlines() if "entry:" in line
    ]
    assert [command.split()[:2] for command in commands]
    for command in commands:
        assert (
            command.replace("ruff check", "ruff check .").replace("--check", "--check .") in check
        )


def test_the_forges_workflow_calls_the_same_scripts():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    runs = [line.partition("run: ")[2] for line in workflow.splitlines() if "run: " in line]
    assert runs == ["./scripts/test", "./scripts/check"]
    assert all(os.access(ROOT / one, os.X_OK) for one in runs)
