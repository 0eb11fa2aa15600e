"""``python -m handler`` as a user runs it: standard output, exit status, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.bodies import CHAT, EMBEDDINGS, IMAGES, MALFORMED, TRANSCRIBE


def handler(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MODEL_", "RUNPOD_"))}
    clean |= {"FAKE_ENGINES": "1", "PYTHONPATH": str(ROOT), "DEVICE": "cpu", **env}
    return subprocess.run(
        [sys.executable, "-m", "handler", *arguments],
        cwd=cwd, env=clean, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def run(job: object, **env: str) -> subprocess.CompletedProcess[str]:
    return handler("--test_input", json.dumps(job), **env)


@pytest.mark.parametrize("body", [CHAT, IMAGES, TRANSCRIBE, EMBEDDINGS])
def test_an_answer_is_json_on_standard_output(body):
    done = run({"input": body})
    assert done.returncode == 0, done.stderr
    assert "error" not in json.loads(done.stdout)
    assert "Traceback" not in done.stderr


def test_test_input_json_of_the_current_folder(tmp_path):
    (tmp_path / "test_input.json").write_text(json.dumps({"input": EMBEDDINGS}))
    done = handler(cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["object"] == "list"
    empty = tmp_path / "empty"
    empty.mkdir()
    done = handler(cwd=empty)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "job_invalid"


def test_a_stream_is_run_event_by_event():
    done = run({"input": {**CHAT, "stream": True}})
    assert done.returncode == 0
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(events) >= 3
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    route = {"openai_route": "/v1/chat/completions", "openai_input": {**CHAT, "stream": True}}
    done = run({"input": route})
    assert done.stdout.endswith("data: [DONE]\n\n")


# Each process takes a good second: a few of the malformed bodies, the rest run in test_contract.
@pytest.mark.parametrize(("job", "code", "param"), MALFORMED[::16])
def test_malformed_jobs_exit_with_the_error_object(job, code, param):
    done = run(job)
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("text", ["{nope", "", "[" * 60_000])
def test_input_that_is_no_json(text):
    done = handler("--test_input", text)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "job_invalid"
    assert "Traceback" not in done.stderr


def test_a_job_in_a_file_of_any_size(tmp_path):
    text = "word " * 100_000
    (tmp_path / "job.json").write_text(json.dumps({"input": {"input": text}}))
    done = handler("--test_input", f"@{tmp_path}/job.json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["usage"]["total_tokens"] == len(text)
    done = handler("--test_input", f"@{tmp_path}/gone.json")
    assert json.loads(done.stdout)["error"]["code"] == "job_invalid"


def test_ctrl_c_shows_no_stack():
    import signal

    env = {**os.environ, "FAKE_ENGINES": "1", "FAKE_DELAY_S": "0.05", "DEVICE": "cpu"}
    job = {"input": {"messages": [{"role": "user", "content": "x" * 1000}], "stream": True}}
    with subprocess.Popen(
        [sys.executable, "-m", "handler", "--test_input", json.dumps(job)],
        cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell has what it starts in the background ignore Ctrl-C, these tests too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        try:
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "engine failure" not in errors


def test_a_reader_that_goes_away_shows_no_stack():
    job = json.dumps({"input": {**CHAT, "stream": True}})
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m handler --test_input '{job}' | head -1"],
        cwd=ROOT, env={**os.environ, "FAKE_ENGINES": "1", "FAKE_DELAY_S": "0.1", "DEVICE": "cpu"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_utf8(tmp_path):
    (tmp_path / "test_input.json").write_bytes(b'{"input": "\xff"}')
    done = handler(cwd=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "job_invalid"


def test_standard_output_is_utf8_whatever_the_locale():
    job = {"input": {"messages": [{"role": "user", "content": "日本"}]}}
    done = run(job, PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "日本"


def test_the_hubs_entry_is_the_same_worker():
    env = {**os.environ, "FAKE_ENGINES": "1", "DEVICE": "cpu"}
    done = subprocess.run(
        [sys.executable, ROOT / ".runpod/handler.py", "--test_input", json.dumps({"input": CHAT})],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["object"] == "chat.completion"


def test_nonsense_in_the_environment_is_one_line():
    done = run({"input": CHAT}, SURFACE="video")
    assert done.returncode == 1
    assert (
        done.stderr
        == "quartet: SURFACE: 'video' is none of chat, images, transcribe, speech, music, embeddings\n"
    )
    assert done.stdout == ""


def test_logs_hold_no_prompt_and_are_json_on_the_platform():
    secret = "a prompt nobody may read in a log"
    job = {"id": "job-7", "input": {"messages": [{"role": "user", "content": secret}]}}
    done = run(job, RUNPOD_ENDPOINT_ID="e", RUNPOD_LOG_LEVEL="debug")
    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert lines[-1]["requestId"] == "job-7"
    assert secret not in done.stderr


def test_a_hung_device_is_told_within_the_platforms_time_and_does_not_hold_up_the_end():
    """In a process of its own: the device's thread never comes back."""
    job = {
        "input": {"input": "x", "model": "Fake_Hung"},
        "policy": {"executionTimeout": 5000},
    }
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "handler", "--test_input", json.dumps(job)],
        cwd=ROOT, env={**os.environ, "FAKE_ENGINES": "1", "DEVICE": "cpu", "HUNG_AFTER_S": "1"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "device_lost"
    assert 3.5 < time.monotonic() - start < 8
