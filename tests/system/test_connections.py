"""A worker talks to nobody that its operator has not named, whatever its libraries would report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.connections import noted, noting, outgoing

REPORTED_AFTER_S = 11  # onnxruntime gathers what it reports for ten seconds
OWN = {"PATH", "HOME", "QUARTET_CACHE"}
SWITCHED_OFF_BY_HAND = {"DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY"}

# Tiny models of every engine, and the real one of onnxruntime.
JOBS = {
    "chat": {"messages": [{"role": "user", "content": "hi"}], "model": "Tiny_Llama", "max_tokens": 4},
    "images": {"prompt": "a fox", "model": "Tiny_Flux", "size": "64x64", "steps": 1},
    "videos": {"prompt": "waves", "model": "Tiny_Ltx2", "frames": 9},
    "larger": {"model": "Tiny_ESRGAN"},
    "cut out": {"model": "U2Net_P"},
    "cut out in torch": {"model": "Tiny_Ben2"},
    "transcribe": {"model": "Tiny_Whisper", "mode": "batched"},
    "speakers": {"model": "Tiny_Whisper", "response_format": "diarized_json"},
    "embeddings": {"input": "one", "model": "Tiny_BGE_M3"},
    "rerank": {"query": "one", "documents": ["two", "three"], "model": "Tiny_BGE_Reranker"},
}  # fmt: skip
PROGRAM = """
import asyncio, json, os, sys, time
from handler.assemble import assemble
from handler.settings.variables import Settings

worker = assemble(Settings.from_env(os.environ))

async def answer(jobs):
    for name, body in jobs.items():
        output = await worker.answer({"id": name, "input": body})
        print(name, json.loads(output["error"])["code"] if isinstance(output, dict) else "ok")

asyncio.run(answer(json.load(sys.stdin)))
time.sleep(float(sys.argv[1]))
"""


def environment(folder: Path, **env: str) -> dict[str, str]:
    """Nothing in it switches a report off."""
    kept = {name: value for name, value in os.environ.items() if name in OWN}
    return {**kept, "DEVICE": "cpu", **noting(folder), **env}


EXAMPLES = {
    "larger": "upscale", "cut out": "background", "cut out in torch": "background",
    "transcribe": "transcribe", "speakers": "transcribe",
}  # fmt: skip


def jobs() -> dict[str, dict[str, object]]:
    """With the pictures and sounds of the examples."""
    made: dict[str, dict[str, object]] = {}
    for name, body in JOBS.items():
        if name not in EXAMPLES:
            made[name] = body
            continue
        given = json.loads((ROOT / f"examples/{EXAMPLES[name]}.json").read_text())["input"]
        inner = given.get("openai_input", given)
        changed = {**{key: one for key, one in inner.items() if key != "response_format"}, **body}
        made[name] = {**given, "openai_input": changed} if inner is not given else changed
    return made


def test_what_leaves_a_process_is_noted(tmp_path):
    """Of Python and of programs of its own; what stays on the machine is none of it."""
    program = (
        "import socket, subprocess\n"
        "for address in ('192.0.2.1', '127.0.0.1'):\n"
        "    one = socket.socket(); one.settimeout(0.2)\n"
        "    try: one.connect((address, 9))\n"
        "    except OSError: pass\n"
        "try: socket.getaddrinfo('stats.invalid', 443)\n"
        "except OSError: pass\n"
    )
    subprocess.run([sys.executable, "-c", program], env=environment(tmp_path), check=True)
    assert "connect 127.0.0.1" in noted(tmp_path)
    assert outgoing(tmp_path) == ["connect 192.0.2.1", "getaddrinfo stats.invalid"]


@pytest.mark.timeout(300)
def test_no_engine_reports_to_its_makers(tmp_path):
    env = environment(tmp_path, SAFETY_CHECKER="Tiny_Safety_Checker")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(REPORTED_AFTER_S)], cwd=ROOT, env=env,
        input=json.dumps(jobs()), capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    said = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert said == dict.fromkeys(JOBS, "ok"), done.stderr[-2000:]
    assert outgoing(tmp_path) == []


MODELS = {
    "chat": "Tiny_Llama",
    "images": "Tiny_Flux",
    "transcribe": "Tiny_Whisper",
    "embeddings": "Tiny_BGE_M3",
}


@pytest.mark.timeout(300)
def test_a_worker_that_starts_talks_to_the_platform_alone(tmp_path):
    """Each surface's, loaded and rehearsed behind the queue's door; the platform is of loopback."""
    workers: dict[str, subprocess.Popen[str]] = {}
    try:
        for surface, model in MODELS.items():
            folder = tmp_path / surface
            folder.mkdir()
            platform = {"RUNPOD_WEBHOOK_GET_JOB": "http://127.0.0.1:9/job"}
            env = environment(folder, SURFACE=surface, MODEL_SLUG=model, **platform)
            workers[surface] = subprocess.Popen(
                [sys.executable, "-u", "-m", "handler"],
                cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        for worker in workers.values():
            assert worker.stderr is not None
            assert any("ready after" in line for line in worker.stderr)
        time.sleep(REPORTED_AFTER_S)
    finally:
        for worker in workers.values():
            worker.kill()
            worker.communicate()
    for surface in MODELS:
        assert "connect 127.0.0.1" in noted(tmp_path / surface)
        assert outgoing(tmp_path / surface) == []


def test_the_image_says_so_too():
    """To whatever is started in it without our modules."""
    from models.telemetry import OFF

    text = (ROOT / "Dockerfile").read_text()
    assert {*OFF} >= SWITCHED_OFF_BY_HAND
    for name, value in OFF.items():
        assert f"{name}={value}" in text


def test_an_operators_own_word_stands():
    from models.telemetry import OFF, switch_off

    theirs = {"VLLM_NO_USAGE_STATS": "0", "DO_NOT_TRACK": " "}  # a blank one unsets it
    switch_off(theirs)
    assert theirs == {**OFF, "VLLM_NO_USAGE_STATS": "0"}
