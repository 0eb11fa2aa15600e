"""Answers of random weights say that they are."""

from __future__ import annotations

import json

import pytest

from tests.conftest import ROOT, decoded


@pytest.mark.anyio
async def test_the_stand_ins_say_so(make_worker):
    worker = make_worker(FAKE_ENGINES="0")
    for name, model in (("images", "Tiny_Flux"), ("transcribe", "Tiny_Whisper")):
        job = json.loads((ROOT / f"examples/{name}.json").read_text())
        answer = decoded(await worker.answer({"input": {**job["input"], "model": model}}))
        assert "random weights" in answer["notice"]
