"""Transcripts in every form: streams, progress, subtitles, and what of a file is told."""

from __future__ import annotations

import asyncio
import html
import json
import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionTextSegmentEvent,
)

from handler.contract import SURFACES
from handler.contract.transcribe.events import InOrder, merged
from handler.contract.transcribe.languages import CODES, NAMES, language_name
from handler.contract.transcribe.request import TranscriptionRequest
from handler.contract.transcribe.speakers import told_apart
from handler.contract.transcribe.subtitles import srt, vtt
from handler.settings.endpoint import Endpoint
from handler.settings.variable import SettingsError
from handler.settings.variables import Settings
from models.catalog import CATALOG
from models.errors import InvalidValue, MediaUndecodable
from models.transcribe.request import Heard, Transcript, Turn
from tests.conftest import ROOT, decoded, error_of, needs
from tests.support.bodies import TRANSCRIBE, check
from tests.support.pictures import by_route
from tests.support.sdk_platform import Platform, running, until, worker
from tests.support.servers import serve
from tests.support.transcripts import LONG, parsed

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
    order = InOrder()
    parts = [Heard(part, ({"text": str(part)},), last=True) for part in range(4)]
    told = [[one["text"] for one in order.next(parts[part])] for part in (2, 0, 3, 1)]
    assert told == [[], ["0"], [], ["1", "2", "3"]]


async def test_progress_is_in_seconds():
    heard: list[Any] = []
    one = worker()
    await one.answer({"input": TRANSCRIBE}, heard.append)
    assert heard == [{"done": 1.0, "total": 1.0, "unit": "seconds"}]
    platform = Platform()
    async with running(platform, one, update_every_s=0.001):
        platform.put("j", TRANSCRIBE)
        await until(platform.results)


# What is told of a file ---------------------------------------------------------------------------------


async def test_what_could_not_be_read_is_told(make_worker, monkeypatch):
    def damaged(self: Any, ticket: Any) -> Transcript:
        return Transcript([], "en", 0.0, 9.0, "transcribe", ((1.0, 0.5), (3.0, 0.25)), 60.0)

    monkeypatch.setattr("models.fake.FakeTranscribe.answer_one", damaged)
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


async def test_log_probabilities_are_in_json_and_in_streams(make_worker):
    worker, body = make_worker(), {**TRANSCRIBE, "include": ["logprobs"]}
    plain = check(Transcription, decoded(await worker.answer({"input": body})), DONE)
    assert [one.token for one in plain.logprobs] == [" 12 bytes"]
    delta, done = await told(worker, {"input": {**body, "stream": True}})
    check(TranscriptionTextDeltaEvent, delta)
    check(TranscriptionTextDoneEvent, done, DONE)
    assert delta["logprobs"] == done["logprobs"]
    assert bytes(delta["logprobs"][0]["bytes"]).decode() == " 12 bytes"


def test_deltas_of_one_speaker_are_joined():
    def delta(text: str, **more: Any) -> dict[str, Any]:
        return {"type": "transcript.text.delta", "delta": text, **more}

    assert merged(delta("a"), delta("b")) == delta("ab")
    logs = [{"token": one} for one in "ab"]
    both = merged(delta("a", logprobs=logs[:1]), delta("b", logprobs=logs[1:]))
    assert both == delta("ab", logprobs=logs)
    assert merged(delta("a", segment_id="1"), delta("b", segment_id="2")) is None
    assert merged(delta("a"), {"type": "transcript.text.segment", "text": "a"}) is None


# Speakers ----------------------------------------------------------------------------------------------


async def test_a_diarized_answer_and_its_stream(make_worker):
    worker, body = make_worker(), {**TRANSCRIBE, "response_format": "diarized_json"}
    extensions = {"language_code", "language_probability", "model", "notice"}
    whole = check(TranscriptionDiarized, decoded(await worker.answer({"input": body})), extensions)
    assert [(one.id, one.speaker, one.text) for one in whole.segments] == [
        ("seg_000", "A", " 12 bytes")
    ]
    delta, segment, done = await told(worker, {"input": {**body, "stream": True}})
    check(TranscriptionTextDeltaEvent, delta)
    check(TranscriptionTextSegmentEvent, segment)
    assert (delta["segment_id"], segment["id"]) == ("seg_000", "seg_000")
    assert done["segments"] == [segment]
    known = {"known_speaker_names": ["Ada"], "known_speaker_references": [TRANSCRIBE["audioUrl"]]}
    named = decoded(await worker.answer({"input": {**body, **known}}))
    assert named["segments"][0]["speaker"] == "Ada"
    assert decoded(await worker.answer({"input": {**TRANSCRIBE, "diarize": True}}))["segments"]


@pytest.mark.parametrize("stream", [False, True])
async def test_without_the_extra_it_is_said_how_to_have_it(make_worker, monkeypatch, stream):
    monkeypatch.setattr("handler.assemble.find_spec", lambda name: None)
    body = {**TRANSCRIBE, "response_format": "diarized_json", "stream": stream}
    worker = make_worker()
    job = {"input": body}
    answer = (await told(worker, job))[-1] if stream else decoded(await worker.answer(job))
    error = json.loads(answer["error"])
    assert error["param"] == "response_format"
    assert "EXTRA=diarize" in error["message"]
    with pytest.raises(SettingsError, match="DIARIZER: sherpa-onnx is not installed"):
        make_worker(DIARIZER="Fake_Speakers")


def test_a_diarizer_must_be_known(make_worker):
    assert make_worker(DIARIZER="Fake_Speakers").dispatcher.helpers["speakers"].slug == (
        "Fake_Speakers"
    )
    with pytest.raises(SettingsError, match="DIARIZER: .*It holds: Fake_Speakers"):
        make_worker(DIARIZER="Someone")


async def test_who_speaks_is_not_found_for_a_job_that_fails(make_worker, monkeypatch):
    """One that fails stops the other, and is what the client hears of."""
    stopped: list[str] = []
    begun = threading.Event()

    async def slow(self: Any, request: Any) -> Any:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.append("speakers")
            raise

    def broken(self: Any, ticket: Any) -> Any:
        assert begun.wait(10)
        raise MediaUndecodable("not readable", param="audioUrl", code="media_no_audio")

    monkeypatch.setattr("models.fake.FakeSpeakers.prepare", slow, raising=False)
    monkeypatch.setattr("models.fake.FakeTranscribe.answer_one", broken)
    for number, stream in enumerate((False, True), start=1):
        begun.clear()
        body = {**TRANSCRIBE, "response_format": "diarized_json", "stream": stream}
        worker, job = make_worker(), {"input": body}
        answer = (await told(worker, job))[-1] if stream else decoded(await worker.answer(job))
        assert "media_no_audio" in json.dumps(answer)
        assert len(stopped) == number


def test_a_translation_is_of_no_speakers(make_worker):
    for fields in ({"translate": True}, {"task": "translate"}):
        body = {**TRANSCRIBE, "response_format": "diarized_json", **fields}
        answer = asyncio.run(make_worker().answer({"input": body}))
        assert "not of a translation" in json.dumps(decoded(answer))


def test_words_are_theirs_whose_turn_it_is():
    words = [
        {"start": start, "end": start + 0.5, "word": f" {text}"}
        for start, text in ((0.0, "one"), (0.6, "two"), (1.2, "three"), (5.0, "four"))
    ]
    segments = [{"start": 0.0, "end": 5.5, "text": " one two three four", "words": words}]
    turns = [Turn(0.0, 1.0, "A"), Turn(0.9, 2.0, "B"), Turn(6.0, 7.0, "A")]
    said = [(one["speaker"], one["text"]) for one in told_apart(segments, turns)]
    assert said == [("A", " one two"), ("B", " three"), ("A", " four")]  # the nearest, of none
    first, second, third = told_apart(segments, turns, first=7)
    assert [one["id"] for one in (first, second, third)] == ["seg_007", "seg_008", "seg_009"]
    assert (second["start"], second["end"]) == (1.2, 1.7)
    assert [one["speaker"] for one in told_apart(segments, [])] == ["A"]
    plain = [{"start": 0.1, "end": 1.9, "text": " all of it", "words": None}]
    assert [(one["speaker"], one["text"]) for one in told_apart(plain, turns)] == [
        ("B", " all of it")
    ]


def test_whose_a_word_is_among_many_turns():
    """As by looking at every one of them."""
    chance = random.Random(3)
    turns = [
        Turn(start, start + chance.choice((0.5, 2, 30)), chance.choice("ABC"))
        for start in sorted(chance.uniform(0, 500) for _ in range(60))
    ]
    for _ in range(300):
        start = chance.uniform(0, 550)
        word = {"start": start, "end": start + 0.4, "text": "x"}
        shared = [(min(start + 0.4, t.end) - max(start, t.start), t.speaker) for t in turns]
        seconds = {name: sum(max(0, s) for s, who in shared if who == name) for name in "ABC"}
        [told] = told_apart([word], turns)
        if any(seconds.values()):
            assert seconds[told["speaker"]] == pytest.approx(max(seconds.values()))
        else:
            assert told["speaker"] == max(shared)[1]


# Fields ------------------------------------------------------------------------------------------------


def parse(**fields: Any) -> TranscriptionRequest:
    return TranscriptionRequest.parse({"audioUrl": "x", **fields})


@pytest.mark.parametrize(
    ("tag", "code"),
    [("jv", "jw"), ("nb-NO", "no"), ("fil", "tl"), ("zh-Hant-TW", "zh"), ("EN", "en"),
     ("Haitian Creole", "ht"), ("yue", "yue"), ("iw", "he"), ("eng", "en"), ("deu", "de"),
     ("ger", "de"), ("fre", "fr"), ("fra-CA", "fr"), ("cmn-Hans-CN", "zh"), ("chi", "zh"),
     ("Mandarin", "zh"), ("castilian", "es"), ("Flemish", "nl"), ("valencian", "ca"),
     ("swh", "sw"), ("pes", "fa"), ("nob", "no"), ("en_US", "en"), (" de ", "de"), ("haw", "haw")],
)  # fmt: skip
def test_languages_by_their_tags(tag, code):
    assert parse(language=tag).language == code
    assert parse(languages=[tag, "en"]).languages == [code, "en"]
    assert code in CODES.values()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"include": ["logprobs"], "response_format": "verbose_json"}, "include"),
        ({"include": ["words"]}, "include[0]"),
        ({"diarize": True, "response_format": "json"}, "diarize"),
        ({"num_speakers": 2}, "num_speakers"),
        ({"num_speakers": 0, "diarize": True}, "num_speakers"),
        ({"diarize": True, "known_speaker_names": ["a"]}, "known_speaker_names"),
        (
            {
                "diarize": True,
                "known_speaker_names": ["a", "a"],
                "known_speaker_references": ["x", "y"],
            },
            "known_speaker_names",
        ),
        ({"diarize": True, "known_speaker_names": list("abcde")}, "known_speaker_names"),
        ({"diarize": True, "timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"diarize": True, "include": ["logprobs"]}, "include"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(fields, param):
    with pytest.raises(InvalidValue) as caught:
        parse(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("word", ["auto", "AUTO", "detect", "und", "mul", "multi", ""])
def test_any_language_is_as_none(word):
    assert parse(language=word).language is None
    assert parse(languages=["en", word]).languages is None
    assert parse(language=word, languages=["en", "de"]).languages == ["en", "de"]


def test_every_language_of_whisper_has_a_code_of_three_letters():
    """As faster-whisper names them; each code means one of them, and none means two."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    assert set(NAMES) == set(_LANGUAGE_CODES)
    assert set(CODES.values()) == set(NAMES)
    long = [name for name in CODES if len(name) == 3 and name.isascii()]
    assert {CODES[name] for name in long} | {"haw", "yue"} == set(NAMES)
    for code in NAMES:
        assert parse(language=code).language == code


@pytest.mark.parametrize(
    "name",
    ["whisper-1", "Whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe",
     "gpt-4o-mini-transcribe-2025-12-15", "gpt-4o-transcribe-diarize"],
)  # fmt: skip
async def test_openais_names_mean_the_endpoints_model(make_worker, name):
    rows = [row for row in CATALOG.rows if row.surface == "transcribe"]
    for row in rows:
        served = Endpoint.build(
            Settings.from_env({"MODEL_SLUG": row.slug}), SURFACES, CATALOG, "cpu"
        )
        assert served.pick("transcribe", name).slug == row.slug
        assert served.find(name).slug == row.slug
    for device in ("cpu", "cuda"):
        every = Endpoint.build(Settings.from_env({}), SURFACES, CATALOG, device)
        assert every.pick("transcribe", name) == every.pick("transcribe", None)
    worker = make_worker()
    answer = decoded(await worker.answer(by_route(ROUTE, **TRANSCRIBE, model=name)))
    assert answer["model"] == "Fake_Transcribe"
    model = decoded(await worker.answer(by_route(f"/v1/models/{name}")))
    assert model["id"] == "Fake_Transcribe"
    other = error_of(await worker.answer(by_route("/v1/chat/completions", model=name, messages=[
        {"role": "user", "content": "a"}
    ])))  # fmt: skip
    assert other["code"] == "model_not_found"


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

SEGMENTS = [
    segment(0.0, 3.0, " Short."),
    segment(3.0, 21.0, f" {LONG}"),
    segment(3661.5, 3662.0, " <b>1 --> 2</b> & more"),
]


@pytest.mark.parametrize("write", [srt, vtt])
def test_players_read_subtitles(write, tmp_path):
    """FFmpeg, which is in most of them."""
    import av

    segments = [
        segment(0.0, 2.5, " One & <i>two</i>"),
        segment(2.5, 3725.25, " a --> b"),
    ]
    path = tmp_path / f"x.{write.__name__}"
    path.write_text(write(segments))
    with av.open(str(path)) as container:
        packets = [one for one in container.demux() if one.size]
        cues = [
            (float(one.pts * one.time_base), float(one.duration * one.time_base), bytes(one))
            for one in packets
        ]
    assert [(start, length) for start, length, _ in cues] == [(0.0, 2.5), (2.5, 3722.75)]
    texts = [html.unescape(text.decode()) for _, _, text in cues]
    assert texts == ["One & <i>two</i>", "a --> b" if write is vtt else "a -> b"]


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


# Files from elsewhere ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def endless() -> Iterator[str]:
    """A server whose files never end."""

    async def file(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(bytes(100_000))
                await asyncio.sleep(float(request.match_info["pause_s"]))
        return response

    application = web.Application()
    application.router.add_get("/{pause_s}", file)
    with serve(application) as url:
        yield url


@pytest.mark.parametrize(
    ("pause_s", "code", "says"),
    [(0, "media_too_large", "3000000 bytes at most"), (0.3, "media_timeout", "1 s")],
)
async def test_a_file_that_never_ends(
    make_worker, endless, monkeypatch, tmp_path, pause_s, code, says
):
    monkeypatch.setattr("handler.contract.transcribe.transcribe.AUDIO_LIMIT_BYTES", 3_000_000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    worker = make_worker(MEDIA_PRIVATE_HOSTS="127.0.0.1", MEDIA_TIMEOUT_S="1")
    answer = decoded(await worker.answer({"input": {"audio_url": f"{endless}/{pause_s}"}}))
    error = json.loads(answer["error"])
    assert (error["code"], error["param"]) == (code, "audio_url")
    assert says in error["message"]
    assert list(tmp_path.iterdir()) == []
