"""Transcripts in every form: streams, progress, subtitles, and what of a file is told."""

from __future__ import annotations

import html
import json
import re
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from handler.contract.transcribe.languages import CODES, language_name
from handler.contract.transcribe.request import TranscriptionRequest
from handler.contract.transcribe.subtitles import srt, vtt
from handler.contract.transcribe.transcribe import _InOrder
from handler.doors.queue.updates import Updates
from models.transcribe.request import Heard, Transcript
from tests.conftest import ROOT, decoded, needs
from tests.handler.test_contract import TRANSCRIBE, check
from tests.handler.test_images import by_route
from tests.handler.test_scaler import Platform, running, until, worker

pytestmark = pytest.mark.anyio

ROUTE = "/v1/audio/transcriptions"
DONE = {"duration", "language_code", "language_probability", "model", "notice", "warnings"}
EXAMPLE = json.loads((ROOT / "examples/transcribe.json").read_text())["input"]["audioUrl"]


def segment(start: float, end: float, text: str) -> dict[str, Any]:
    return {"start": start, "end": end, "text": text}


# Streams ---------------------------------------------------------------------------------------------


async def told(one: Any, job: dict[str, Any]) -> list[Any]:
    return [event async for event in one.stream(job)]


@needs("Whisper_Base")
@pytest.mark.parametrize("mode", ["sequential", "batched"])
async def test_a_stream_ends_with_the_whole_text(make_worker, load, mode):
    one = make_worker(FAKE_ENGINES="0", SURFACE="transcribe")
    one.dispatcher.pool._load = load  # once a session
    body = {"audioUrl": EXAMPLE, "stream": True, "mode": mode, "temperature": [0.0]}
    body["beam_size"] = 1
    lines = await told(one, by_route(ROUTE, **body))
    assert all(line.startswith("event: transcript.text.") for line in lines)
    events = [json.loads(line.split("data: ")[1]) for line in lines]
    *deltas, done = events
    for delta in deltas:
        check(TranscriptionTextDeltaEvent, delta)
    check(TranscriptionTextDoneEvent, done, DONE)
    assert "".join(one["delta"] for one in deltas) == done["text"]
    assert done["text"].startswith("And Mr. John Dashwood")
    assert done["languages"] == [{"code": "en"}]
    whole = decoded(await one.answer({"input": {**body, "stream": False}}))
    assert whole["text"] == done["text"]


async def test_a_plain_stream_is_of_objects(make_worker):
    events = await told(make_worker(), {"input": {**TRANSCRIBE, "stream": True}})
    assert [one["type"] for one in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[0]["delta"] == events[1]["text"] == "12 bytes"
    verbose = {**TRANSCRIBE, "stream": True, "response_format": "verbose_json"}
    assert (await told(make_worker(), {"input": verbose}))[-1]["segments"][0]["end"] == 1.0


def test_parts_are_told_in_order():
    order = _InOrder()
    parts = [Heard(part, ({"text": str(part)},), last=True) for part in range(4)]
    told = [[one["text"] for one in order.next(parts[part])] for part in (2, 0, 3, 1)]
    assert told == [[], ["0"], [], ["1", "2", "3"]]


async def test_progress_is_in_seconds(monkeypatch):
    monkeypatch.setattr("handler.doors.queue.scaler.Updates", partial(Updates, every_s=0.001))
    heard: list[Any] = []
    one = worker()
    await one.answer({"input": TRANSCRIBE}, heard.append)
    assert heard == [{"done": 1.0, "total": 1.0, "unit": "seconds"}]
    platform = Platform()
    async with running(platform, one):
        platform.put("j", TRANSCRIBE)
        await until(platform.results)


# What is told of a file ---------------------------------------------------------------------------------


async def test_what_could_not_be_read_is_told(make_worker, monkeypatch):
    def damaged(self: Any, ticket: Any) -> Transcript:
        return Transcript([], "en", 0.0, 9.0, "transcribe", ((1.0, 0.5), (3.0, 0.25)), 60.0)

    monkeypatch.setattr("models.fake.FakeTranscribe.one", damaged)
    body = {"audio_url": TRANSCRIBE["audioUrl"]}
    answer = decoded(await make_worker().answer({"input": body}))
    assert answer["text"] == ""
    assert answer["languages"] == []
    assert [(one["param"], one["code"]) for one in answer["warnings"]] == [
        ("audio_url", "media_damaged"), ("audio_url", "media_truncated")
    ]  # fmt: skip
    assert (
        "0.75 s of the audio could not be read, at 1.0 s, 3.0 s;"
        in answer["warnings"][0]["message"]
    )
    assert "60.0 s and ends after 9.0 s" in answer["warnings"][1]["message"]


async def test_a_translation_is_english(make_worker):
    body = {**TRANSCRIBE, "language": "de", "response_format": "verbose_json"}
    answer = decoded(await make_worker().answer(by_route("/v1/audio/translations", **body)))
    assert (answer["language"], answer["language_code"]) == ("english", "de")


# Fields ------------------------------------------------------------------------------------------------


def parse(**fields: Any) -> TranscriptionRequest:
    return TranscriptionRequest.parse({"audioUrl": "x", **fields})


@pytest.mark.parametrize(
    ("tag", "code"),
    [("jv", "jw"), ("nb-NO", "no"), ("fil", "tl"), ("zh-Hant-TW", "zh"), ("EN", "en"),
     ("Haitian Creole", "ht"), ("yue", "yue"), ("iw", "he")],
)  # fmt: skip
def test_languages_by_their_tags(tag, code):
    assert parse(language=tag).language == code
    assert parse(languages=[tag, "en"]).languages == [code, "en"]
    assert code in CODES.values()


def test_names_of_languages():
    assert language_name("ht") == "haitian creole"
    assert language_name("jw") == "javanese"


def test_voice_activity_in_two_apis_words():
    assert (parse().vad, parse().vad_options) == (None, {})
    assert parse(vad_filter=False).vad is False
    assert parse(chunking_strategy="auto").vad is True
    server = {"type": "server_vad", "threshold": 0.6, "prefix_padding_ms": 200,
              "silence_duration_ms": 500}  # fmt: skip
    asked = parse(chunking_strategy=server, vad_parameters={"threshold": 0.7})
    assert asked.vad is True
    assert asked.vad_options == {
        "threshold": 0.7, "speech_pad_ms": 200, "min_silence_duration_ms": 500
    }  # fmt: skip


def test_words_to_expect_and_temperatures():
    assert parse(hotwords="Ada", keywords=["Turing", "Hopper"]).expected == "Ada, Turing, Hopper"
    assert parse(keywords=["Turing"]).expected == "Turing"
    assert parse().expected is None
    assert parse(temperature=[0.0, 0.4]).temperatures == (0.0, 0.4)


# Subtitles ----------------------------------------------------------------------------------------------

LONG = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, "
    "must be in want of a wife."
)
SEGMENTS = [
    segment(0.0, 3.0, " Short."),
    segment(3.0, 21.0, f" {LONG}"),
    segment(3661.5, 3662.0, " <b>1 --> 2</b> & more"),
]


def parsed(text: str) -> list[tuple[float, float, str]]:
    """An independent reading of either form."""

    def seconds(stamp: str) -> float:
        hours, minutes, rest = stamp.replace(",", ".").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(rest)

    cues = []
    for block in text.removeprefix("WEBVTT\n\n").strip().split("\n\n"):
        lines = block.split("\n")
        [at] = [
            index for index, line in enumerate(lines) if re.match(r"[\d:.,]+ --> [\d:.,]+$", line)
        ]
        start, _, end = lines[at].partition(" --> ")
        cues.append((seconds(start), seconds(end), "\n".join(lines[at + 1 :])))
    return cues


@pytest.mark.parametrize("write", [srt, vtt])
def test_a_cue_is_a_segment(write):
    cues = parsed(write(SEGMENTS))
    assert [cue[:2] for cue in cues] == [(0.0, 3.0), (3.0, 21.0), (3661.5, 3662.0)]
    texts = [cue[2] for cue in cues]
    assert texts[:2] == ["Short.", LONG]
    plain = html.unescape(texts[2]) if write is vtt else texts[2]
    assert plain == ("<b>1 --> 2</b> & more" if write is vtt else "<b>1 -> 2</b> & more")


@pytest.mark.parametrize("write", [srt, vtt])
@pytest.mark.parametrize("bounds", [{"width": 42}, {"lines": 2}, {"width": 20, "lines": 1}])
def test_cues_of_readable_length(write, bounds):
    cues = parsed(write(SEGMENTS[:2], **bounds))
    width, lines = bounds.get("width", 42), bounds.get("lines", 2)
    assert " ".join(cue[2].replace("\n", " ") for cue in cues) == f"Short. {LONG}"
    for start, end, text in cues:
        assert len(text.split("\n")) <= lines
        assert max(map(len, text.split("\n"))) <= width
        assert 0 < end - start <= 7.01
    starts = [cue[0] for cue in cues]
    assert starts == sorted(starts)
    assert all(before[1] <= after[0] + 0.002 for before, after in pairwise(cues))
