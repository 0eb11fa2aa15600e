"""Bodies for a task that an endpoint does not do, as a gateway's direct routes hand them on."""

from __future__ import annotations

import asyncio
from itertools import combinations

import pytest

from handler.assemble import assemble
from handler.contract import SURFACES
from handler.contract.lookalikes import lookalike
from handler.settings.variables import Settings
from handler.wire import Encoded

PICTURE = "data:image/png;base64,iVBORw0KGgo="
SPEECH = [
    {"text": "Hello", "mode": "custom_voice", "voice": "alba", "lang": "English", "format": "flac"},
    {"text": "Hello", "mode": "voice_clone", "ref_audio": "AAAA", "lang": "English"},
    {"text": "Hello", "mode": "voice_design", "instruct": "a warm voice", "format": "mp3"},
    {"model": "tts-1", "input": "Hello", "voice": "alloy", "response_format": "mp3"},
]
MUSIC = [{"caption": "lofi", "lyrics": "[Instrumental]", "duration": 30, "inference_steps": 8}]
OCR = [{"image": PICTURE, "language": "en", "format": "text"}, {"image": PICTURE, "format": "json"}]
PICTURES = [
    {"prompt": "a cat", "n": 1, "width": 1024, "height": 1024, "seed": 42},
    {"prompt": "waves", "width": 768, "height": 512, "frames": 49, "fps": 24, "steps": 8},
]
TEXT = [{"prompt": "Hi", "max_tokens": 5}, {"prompt": "Hi", "temperature": 0.2}]

VECTORS = [{"input": "Hi", "dimensions": 8}, {"input": "Hi", "encoding_format": "float"}]

CASES = [
    *(("speech", body, surface) for body in SPEECH for surface in SURFACES if surface != "speech"),
    *(("embeddings", body, "speech") for body in VECTORS),
    *(("music", body, surface) for body in MUSIC for surface in SURFACES if surface != "music"),
    *(("the text in a picture", body, surface) for body in OCR for surface in (*SURFACES, "all")),
    *(("pictures", body, surface) for body in PICTURES for surface in SURFACES if surface != "images"),
    *(("a text", body, surface) for body in TEXT for surface in ("images", "embeddings")),
]  # fmt: skip


@pytest.fixture(scope="module")
def workers():
    return {
        surface: assemble(
            Settings.from_env({"FAKE_ENGINES": "1", "DEVICE": "cpu", "SURFACE": surface})
        )
        for surface in (*SURFACES, "all")
    }


@pytest.mark.parametrize(("task", "body", "surface"), CASES)
def test_a_body_for_another_task_is_refused_with_what_it_looks_like(workers, task, body, surface):
    answer = asyncio.run(workers[surface].answer({"id": "j", "input": body}))
    assert not isinstance(answer, Encoded), "it was answered"
    error = answer["error"]
    assert '"code": "surface_unknown"' in error
    assert f"looks like a request for {task};" in error


@pytest.mark.parametrize("surface", SURFACES)
def test_no_body_of_a_surface_looks_like_another_tasks(surface):
    """Whatever fields of its own it combines."""
    for operation in SURFACES[surface].operations:
        marks = operation.marks or SURFACES[surface].marks
        known = sorted({*operation.request.known(), *operation.request.model_fields} - {*marks})
        for mark in marks:
            for pair in combinations(known, 2):
                body = {mark: "x", **dict.fromkeys(pair, "x"), "format": "png"}
                assert lookalike(body, [surface], {"img2txt"}) is None, (mark, pair)


def test_the_client_can_say_what_it_means(workers):
    body = {"surface": "images", "prompt": "a cat", "max_tokens": 5, "strict": False}
    answer = asyncio.run(workers["images"].answer({"id": "j", "input": body}))
    assert isinstance(answer, Encoded)
