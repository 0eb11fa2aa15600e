"""Recordings with long silences: the language, the text, and the times of what is said."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from benchmarks.sounds import GERMAN, music, noise, silence
from models.transcribe.audio import voice_activity
from models.transcribe.audio.rate import RATE_HZ
from models.transcribe.audio.samples import Samples
from models.transcribe.request import TranscribeRequest
from models.transcribe.whisper.placing import Placing
from tests.conftest import row
from tests.support.driving import Ticket, run
from tests.support.sounds import (  # noqa: F401 - fixtures
    QUICK,
    SENTENCE,
    WHISPER,
    decode,
    real,
    sentence,
    spoken,
    write,
)

BASE = row("Whisper_Base")
MODES = ("sequential", "batched")
BEFORE = {
    "silence": silence(35),
    "white noise": noise(35, 0.05),
    "pink noise": noise(35, 0.1, 0.5),
    "brown noise": noise(35, 0.1, 1),
    "music": music(35),
}


def text_of(heard: Any) -> str:
    return " ".join("".join(segment["text"] for segment in heard.segments).split())


def plain(text: str) -> str:
    return re.sub(r"[^a-z ]", "", text.lower())


@pytest.fixture(scope="module")
def german() -> np.ndarray:
    return decode(GERMAN).samples[:]


@real
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", BEFORE)
def test_the_language_is_that_of_what_is_said(load, tmp_path, german, mode, kind):
    """Not of the half minute before, which Whisper takes for English or Norwegian."""
    path = write(tmp_path / "a.wav", np.concatenate([BEFORE[kind], german]))
    heard = run(load(BASE), TranscribeRequest(path, mode=mode, temperatures=(0.0,)))
    assert heard.language == "de"
    text = text_of(heard)
    assert text.startswith("Guten Morgen, meine Damen und Herren")
    assert text.endswith("und komme aus Berlin. Heute ist Montag.")
    assert 34.8 <= heard.segments[0]["start"] <= 35.3
    assert heard.segments[-1]["end"] == pytest.approx(35 + 7.6, abs=0.4)


@real
@pytest.mark.parametrize("mode", MODES)
def test_minutes_of_noise_before_a_sentence_are_not_written_down(load, tmp_path, spoken, mode):
    path = write(tmp_path / "a.wav", np.concatenate([noise(240, 0.03, 1), spoken]))
    engine, asked = load(BASE), TranscribeRequest(path, mode=mode)
    work = asyncio.run(engine.prepare(asked))
    assert work.parts[0].recording.speech is not None
    assert sum(len(Samples((), part.recording.spoken)) for part in work.parts) < 9 * RATE_HZ
    heard = run(engine, asked)
    assert plain(text_of(heard)).endswith(plain(SENTENCE[4:]))
    assert len(text_of(heard)) <= len(SENTENCE)
    assert heard.segments[0]["start"] == pytest.approx(240.3, abs=0.4)
    assert heard.segments[-1]["end"] == pytest.approx(246.9, abs=0.3)


@real
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("words", [False, True])
def test_a_subtitle_is_not_early_across_a_silence(load, tmp_path, spoken, mode, words):
    """Nor late; and it ends where speech does, as do words."""
    parts = [silence(4), spoken, silence(4), spoken, silence(13), spoken, silence(25), spoken]
    path = write(tmp_path / "a.wav", np.concatenate([*parts, silence(20)]))
    heard = run(load(BASE), TranscribeRequest(path, mode=mode, words=words, **QUICK))
    ends = np.cumsum([len(part) / RATE_HZ for part in parts])
    said = [(ends[at] - len(parts[at]) / RATE_HZ, ends[at]) for at in (1, 3, 5, 7)]
    for segment in heard.segments:
        [(start, end)] = [one for one in said if one[0] - 0.3 <= segment["start"] <= one[1]]
        assert segment["end"] <= end + 0.1, segment
        for word in segment["words"] or ():
            assert start - 0.3 <= word["start"] <= word["end"] <= end + 0.1, word
            assert word["end"] - word["start"] < 1.2, word
    for start, end in said:
        inside = [one for one in heard.segments if start - 0.3 <= one["start"] <= end]
        assert inside[0]["start"] == pytest.approx(start + 0.2, abs=0.35)
        # Without words, the end of a segment is the model's, which may be half a second early.
        assert inside[-1]["end"] == pytest.approx(end - 0.2, abs=0.35 if words else 0.6)
    times = [time for one in heard.segments for time in (one["start"], one["end"])]
    assert times == sorted(times)
    assert plain(text_of(heard)).count("prudently in his power") == 4


@real
@pytest.mark.parametrize("mode", MODES)
def test_a_prompt_is_not_repeated_into_silence(load, tmp_path, spoken, mode):
    path = write(tmp_path / "a.wav", np.concatenate([spoken, silence(50)]))
    prompt = "A glossary: Dashwood, Willoughby, Barton Cottage, Norland Park, Colonel Brandon."
    heard = run(load(BASE), TranscribeRequest(path, mode=mode, prompt=prompt, **QUICK))
    assert text_of(heard) == SENTENCE
    assert heard.segments[-1]["end"] < len(spoken) / RATE_HZ


@real
@pytest.mark.parametrize("mode", MODES)
def test_what_is_said_behind_a_pause_is_a_segment_of_its_own(load, tmp_path, spoken, mode):
    """Also where the model takes both for one sentence; its tokens are shared out."""
    half = int(3.0 * RATE_HZ)  # "And Mr. John Dashwood had then leisure to" | "consider …"
    path = write(tmp_path / "a.wav", np.concatenate([spoken[:half], silence(4), spoken[half:]]))
    asked = TranscribeRequest(path, mode=mode, logprobs=True, **QUICK)
    for words in (False, True):
        heard = run(load(BASE), replace(asked, words=words))
        before = [one for one in heard.segments if one["end"] < 4]
        behind = [one for one in heard.segments if one["start"] > 6]
        assert len(before) + len(behind) == len(heard.segments)
        assert before
        assert behind
        assert "Dashwood" in "".join(one["text"] for one in before)
        assert "prudently" in "".join(one["text"] for one in behind)
        for one in heard.segments:
            spelled = b"".join(bytes(log["bytes"]) for log in one["logprobs"]).decode()
            assert spelled == one["text"]
            if words:
                assert "".join(word["word"] for word in one["words"]) == one["text"]


@real
def test_a_quiet_recording_is_written_down(load, tmp_path, spoken):
    from tests.support.sounds import float_wav

    path = float_wav(tmp_path / "a.wav", spoken / 32768 * 1e-4)
    for mode in MODES:
        heard = run(load(BASE), TranscribeRequest(path, mode=mode, **QUICK))
        assert text_of(heard) == SENTENCE


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("level", [-30, -50, -70, -90])
@pytest.mark.parametrize("slope", [-0.5, 0, 0.5, 1])
def test_noise_is_nothing_that_is_said_however_quiet(load, tmp_path, mode, level, slope):
    from tests.support.sounds import float_wav

    path = float_wav(tmp_path / "a.wav", noise(30, 1.0, slope) / 32768 * 10 ** (level / 20))
    work = asyncio.run(load(WHISPER).prepare(TranscribeRequest(path, mode=mode)))
    assert len(work.parts) == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("vad", [None, True, False])
@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.05, 0.09])
def test_what_is_too_short_for_a_word_is_not_decoded(load, tmp_path, spoken, mode, vad, seconds):
    path = write(tmp_path / "a.wav", spoken[RATE_HZ : RATE_HZ + int(seconds * RATE_HZ)])
    work = asyncio.run(load(WHISPER).prepare(TranscribeRequest(path, mode=mode, vad=vad)))
    assert len(work.parts) == 0
    assert work.finish([]).segments == []


@pytest.mark.parametrize("mode", MODES)
def test_a_crack_of_speech_amid_silence_is_not_decoded(load, tmp_path, spoken, mode):
    crack = spoken[RATE_HZ : RATE_HZ + 800]
    path = write(tmp_path / "a.wav", np.concatenate([silence(20), crack, silence(20)]))
    work = asyncio.run(load(WHISPER).prepare(TranscribeRequest(path, mode=mode)))
    assert len(work.parts) == 0


@pytest.mark.parametrize("vad", [None, True])
def test_what_is_cut_out_is_what_faster_whisper_cuts_out(load, tmp_path, spoken, vad):
    """Its texts and tokens are those of its own ``vad_filter``; times are within its times."""
    from faster_whisper.audio import decode_audio

    engine = load(WHISPER)
    path = write(tmp_path / "a.wav", np.concatenate([silence(3), spoken, silence(27), spoken]))
    ours = run(engine, TranscribeRequest(path, vad=vad, **QUICK))
    segments, info = engine._model.transcribe(
        decode_audio(str(path)), vad_filter=True, temperature=0.0, beam_size=1
    )
    theirs = [asdict(one) for one in segments]
    assert text_of(ours) == " ".join("".join(one["text"] for one in theirs).split())
    assert (ours.language, ours.duration_s) == (info.language, info.duration)
    eot = engine._options.tokenizer("en", "transcribe").eot
    tokens = [[token for one in some for token in one["tokens"] if token < eot]
              for some in (ours.segments, theirs)]  # fmt: skip
    assert tokens[0] == tokens[1]
    for one in ours.segments:
        around = [their for their in theirs if one["text"] in their["text"]]
        assert any(
            their["start"] - 0.01 <= one["start"] and one["end"] <= their["end"] + 0.31
            for their in around
        )


@real
@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, {}),
        (
            {"words": True, "hallucination_silence_s": 1.0},
            {"word_timestamps": True, "hallucination_silence_threshold": 1.0},
        ),
    ],
)
def test_with_silences_left_in_all_is_as_by_faster_whisper(load, tmp_path, spoken, asked, given):
    from faster_whisper.audio import decode_audio

    engine = load(BASE)
    path = write(tmp_path / "a.wav", np.concatenate([silence(3), spoken, silence(28), spoken]))
    ours = run(engine, TranscribeRequest(path, vad=False, temperatures=(0.0,), **asked)).segments
    segments, info = engine._model.transcribe(decode_audio(str(path)), temperature=0.0, **given)
    expected = list(segments)
    for one in expected:  # a last segment may end after the file
        one.end = min(one.end, info.duration)
    assert ours
    for one, their in zip(ours, map(asdict, expected), strict=True):
        for name in ("text", "tokens", "seek", "start", "end"):
            assert one[name] == their[name]
        for word, their_word in zip(one["words"] or (), their["words"] or (), strict=True):
            assert word["word"] == their_word["word"]
            assert word["start"] == pytest.approx(their_word["start"], abs=0.05)
        assert one["avg_logprob"] == pytest.approx(their["avg_logprob"], abs=0.01)


@real
def test_with_the_real_model_too(load, tmp_path, spoken):
    """Segment for segment: but for the ends of speech, nothing differs."""
    from faster_whisper.audio import decode_audio

    engine = load(BASE)
    path = write(tmp_path / "a.wav", np.concatenate([silence(3), spoken, silence(5), spoken]))
    ours = run(engine, TranscribeRequest(path, words=True, temperatures=(0.0,))).segments
    segments, _ = engine._model.transcribe(
        decode_audio(str(path)), vad_filter=True, temperature=0.0, word_timestamps=True
    )
    theirs = [asdict(one) for one in segments]
    assert len(ours) == len(theirs)
    for one, their in zip(ours, theirs, strict=True):
        for name in ("text", "tokens", "avg_logprob", "compression_ratio", "no_speech_prob"):
            assert one[name] == their[name]
        for word, their_word in zip(one["words"], their["words"], strict=True):
            assert word["word"] == their_word["word"]
            for name in ("start", "end"):
                assert word[name] == pytest.approx(their_word[name], abs=0.25)


def test_the_language_is_looked_for_in_speech_even_where_all_is_heard(
    load, tmp_path, german, monkeypatch
):
    """Batched windows of a whole recording: the first of them is a silence."""
    engine = load(WHISPER)
    path = write(tmp_path / "a.wav", np.concatenate([silence(70), german]))
    asked = TranscribeRequest(path, mode="batched", vad=False, **QUICK)
    work = asyncio.run(engine.prepare(asked))
    window = work.parts[0]
    spoken_s = len(Samples((), window.recording.speech)) / RATE_HZ
    seen: list[float] = []
    detect = engine._windows._detect

    def watched(recording: Any, mel: Any) -> Any:
        seen.append(mel.shape[1] / 100)
        return detect(recording, mel)

    monkeypatch.setattr(engine._windows, "_detect", watched)
    engine.run([Ticket(window)])
    assert seen == [pytest.approx(spoken_s, abs=0.02)]
    assert seen[0] < 9


# Placing ------------------------------------------------------------------------------------------------

SECOND = RATE_HZ


class Letters:
    """A tokenizer of letters; 1000 and more are times."""

    eot = 1000

    def decode(self, tokens: list[int]) -> str:
        return "".join(chr(token) for token in tokens if token < self.eot)

    def split_to_word_tokens(self, tokens: list[int]) -> tuple[list[str], list[list[int]]]:
        words = re.findall(r" ?[^ ]+", self.decode(tokens))
        return words, [[ord(letter) for letter in word] for word in words]


def segment(start: float, end: float, text: str, words: Any = None) -> dict[str, Any]:
    tokens = [1000, *map(ord, text), 1001]
    return {"start": start, "end": end, "text": text, "tokens": tokens, "words": words}


def word(start: float, end: float, text: str) -> dict[str, Any]:
    return {"start": start, "end": end, "word": text, "probability": 1.0}


def never(_: Any) -> Any:
    raise AssertionError("nothing to align")


def placing() -> Placing:
    """Of a minute the seconds 10 to 20 and 40 to 50 are heard; spoken are 11 to 19, and 41 to 49
    but for half a second."""
    spans = [(10 * SECOND, 20 * SECOND), (40 * SECOND, 50 * SECOND)]
    voiced = [(11 * SECOND, 19 * SECOND), (41 * SECOND, 45 * SECOND),
              (int(45.6 * SECOND), 49 * SECOND)]  # fmt: skip
    return Placing(np.zeros(60 * SECOND, np.int16), spans, voiced)


@pytest.mark.parametrize(
    ("start", "end", "placed"),
    [
        (2, 5, (12, 15)),
        (0, 5, (11, 15)),  # from where speech begins
        (2, 10, (12, 19)),  # to where it ends
        (12, 20, (42, 49)),
        (9.05, 14, (41, 44)),  # begins in the silence before the pause
        (8.95, 14, (41, 44)),  # or with the last moment of speech before it
        (5, 11.05, (15, 19)),  # ends in the silence behind the pause
        (14, 18, (44, 48)),
        (9.2, 9.4, (19.2, 19.4)),  # beside speech
        (10.8, 10.9, (40.8, 40.9)),
    ],
)
def test_a_segment_lies_in_speech(start, end, placed):
    [one] = placing().placed(segment(start, end, " a b"), never, Letters())
    assert (one["start"], one["end"]) == pytest.approx(placed)
    assert one["text"] == " a b"


@pytest.mark.parametrize(
    ("start", "end", "placed"),
    [
        (2.0, 2.4, (12.0, 12.4)),
        (0.5, 1.3, (11.0, 11.3)),  # begins too early
        (8.7, 9.8, (18.7, 19.0)),  # ends too late
        (8.8, 12.0, (41.0, 42.0)),  # spans the pause, and is mostly behind it
        (8.0, 11.2, (18.0, 19.0)),  # or mostly before it
        (14.8, 15.7, (44.8, 45.0)),  # spans a break of half a second
        (9.1, 9.2, (19.1, 19.2)),
        (10.85, 10.95, (40.85, 40.95)),  # just before speech
        (0.8, 1.02, (10.92, 11.02)),  # a tenth of a second is left of it
    ],
)
def test_a_word_lies_in_the_speech_that_it_has_most_in_common_with(start, end, placed):
    said = segment(start, end, " a", [word(start, end, " a")])
    [one] = placing().placed(said, never, Letters())
    assert [(each["start"], each["end"]) for each in one["words"]] == [pytest.approx(placed)]
    assert (one["start"], one["end"]) == pytest.approx(placed)


@pytest.mark.parametrize("known", [False, True])
def test_a_segment_with_a_pause_in_it_is_two(known):
    words = [word(7, 8, " ab"), word(8, 8.8, " c,"), word(9.4, 11.6, " de"), word(12, 13, " f.")]
    said = segment(7, 13, " ab c, de f.", words if known else None)
    said["logprobs"] = [{"token": letter} for letter in said["text"]]
    first, second = placing().placed(said, never if known else lambda _: words, Letters())
    assert (first["start"], first["end"], first["text"]) == (17.0, 18.8, " ab c,")
    assert (second["start"], second["end"], second["text"]) == (41.0, 43.0, " de f.")
    assert [Letters().decode(one["tokens"]) for one in (first, second)] == [" ab c,", " de f."]
    assert ["".join(log["token"] for log in one["logprobs"]) for one in (first, second)] == [
        " ab c,", " de f."
    ]  # fmt: skip
    assert (first["words"] is None) is not known


def test_the_first_word_of_a_sentence_is_not_left_before_the_pause():
    """Where the model begins it too early, in the last moment of the speech before."""
    words = [word(7, 8.5, " ab."), word(8.85, 9.9, " And"), word(11.2, 12, " cd.")]
    first, second = placing().placed(segment(7, 12, " ab. And cd.", words), never, Letters())
    assert (first["text"], first["end"]) == (" ab.", 18.5)
    assert (second["text"], second["start"]) == (" And cd.", 41.2)
    words[1] = word(8.6, 8.95, " Yes.")
    first, second = placing().placed(segment(7, 12, " ab. Yes. cd.", words), never, Letters())
    assert (first["text"], second["text"]) == (" ab. Yes.", " cd.")


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("start", [8.85, 8.7, 8.4])
def test_a_segment_that_begins_before_the_pause_is_shown_behind_it(start, known):
    """Its first word goes from the model's early start to where it is said."""
    words = [word(start, 11.1, " And"), word(11.1, 11.6, " cd"), word(11.6, 12.4, " ef.")]
    said = segment(start, 12.4, " And cd ef.", words if known else None)
    [one] = placing().placed(said, never if known else lambda _: words, Letters())
    assert (one["text"], one["start"], one["end"]) == (" And cd ef.", 41.1, 42.4)
    assert one["tokens"] == said["tokens"]
    words[0] = word(start, 11.1, " And,")
    [first, second] = placing().placed(
        segment(start, 12.4, " And, cd ef.", words), never, Letters()
    )
    assert (first["text"], first["end"]) == (" And,", 19.0)
    assert (second["text"], second["start"]) == (" cd ef.", 41.1)


def test_words_that_are_not_the_segments_divide_nothing():
    said = segment(7, 13, " ab c")
    [one] = placing().placed(said, lambda _: [word(7, 8, " x"), word(12, 13, " y")], Letters())
    assert (one["start"], one["end"], one["text"]) == (17.0, 43.0, " ab c")


def test_without_voice_activity_times_are_the_models():
    spans = [(10 * SECOND, 20 * SECOND), (40 * SECOND, 50 * SECOND)]
    plainly = Placing(np.zeros(60 * SECOND, np.int16), spans, ())
    [one] = plainly.placed(segment(0, 12, " a"), never, Letters())
    assert (one["start"], one["end"]) == (10, 42)
    words = [word(8, 9.5, " a"), word(9.8, 11, " b")]
    [one] = plainly.placed(segment(0, 12, " a b", words), never, Letters())
    assert [(each["start"], each["end"]) for each in one["words"]] == [(18, 19.5), (39.8, 41)]


def test_speech_is_known_more_closely_than_it_is_cut(spoken):
    whole = np.concatenate([silence(3), spoken, silence(1), spoken, silence(3)])
    found = voice_activity.activity(Samples(whole), voice_activity.VadOptions())
    assert len(found.spans) == 1
    assert len(found.voiced) == 2
    length = len(spoken) / RATE_HZ
    assert found.seconds == pytest.approx(2 * length, abs=1.2)
    (start, end), _ = found.voiced
    assert start / RATE_HZ == pytest.approx(3.15, abs=0.2)
    assert end / RATE_HZ == pytest.approx(3 + length - 0.15, abs=0.2)
