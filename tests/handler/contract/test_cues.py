"""Cues with bounded lines: no word is broken, and they are shown while their words are said."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest

from handler.contract.transcribe.cues import Cue, cues
from handler.contract.transcribe.request import TranscriptionRequest
from tests.conftest import ROOT, decoded, needs
from tests.support.transcripts import LONG, parsed

EXAMPLE = json.loads((ROOT / "examples/transcribe.json").read_text())["input"]["audioUrl"]


def segment(text: str, end: float = 6.0, words: Any = None) -> dict[str, Any]:
    return {"start": 0.0, "end": end, "text": text, "words": words}


def timed(*words: tuple[str, float, float]) -> dict[str, Any]:
    said = [{"word": word, "start": start, "end": end} for word, start, end in words]
    text = "".join(word for word, _, _ in words)
    return {"start": words[0][1], "end": words[-1][2], "text": text, "words": said}


def lines(made: list[Cue]) -> list[str]:
    return [line for cue in made for line in cue.text.split("\n")]


@pytest.mark.parametrize("width", [10, 12, 15, 20, 42, 200])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(
    "text",
    [
        " Unbelievable, but unbelievably true: the unbelievable happened.",
        " Der Donaudampfschifffahrtsgesellschaftskapitän aß mit uns.",
        " A well-known state-of-the-art thing, don't you think?",
        " L'été, qu'est-ce que c'est ? Aujourd'hui, peut-être.",
        " Это невероятно длинное предложение без особого смысла.",
        " 안녕하세요, 만나서 반갑습니다. 오늘은 날씨가 좋네요.",
        " a b c d e f g h i j k l m n o p q r s t u v w x y z",
        f" {LONG}",
    ],
)
def test_no_word_is_broken(text, width, count):
    made = list(cues(segment(text, 20.0), width, count))
    shown = lines(made)
    assert " ".join(shown).split() == text.split()  # each of them whole, and all of them
    for line in shown:
        assert len(line) <= width or len(line.split()) == 1
    assert all(len(cue.text.split("\n")) <= count for cue in made)


def test_a_word_that_is_longer_than_a_line_has_one_of_its_own():
    made = list(cues(segment(" So unbelievable a story."), 10, 1))
    assert lines(made) == ["So", "unbelievable", "a story."]


CHINESE = " 人工智能（AI）正在改变世界，许多人认为这是好事；但也有人担心“失业”。"
JAPANESE = " 彼は「昨日、東京で友達に会いました。」と言った。ちょっとキャンプへ行くのがスーパー楽しい…らしい。"
CLOSING = set("、。，．：；？！）〉》」』】”’…ー々っゃゅょッャュョ,.:;?!)%")
OPENING = set("（〈《「『【“‘(")


@pytest.mark.parametrize("width", range(10, 24))
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("text", [CHINESE, JAPANESE])
@pytest.mark.parametrize("by_letter", [False, True])
def test_no_line_begins_with_a_closing_mark(text, width, count, by_letter):
    """Nor ends with an opening one, whether Whisper's words are letters or nobody knows them."""
    letters = text.strip()
    each = 0.2
    words = [(letter, at * each, (at + 1) * each) for at, letter in enumerate(letters)]
    said = timed(*words) if by_letter else segment(text, len(letters) * each)
    shown = lines(list(cues(said, width, count)))
    assert "".join(shown) == letters
    for line in shown:
        assert line[0] not in CLOSING
        assert line[-1] not in OPENING
        assert len(line) <= width
    assert not any(left[-1:].isascii() and left[-1:].isalpha() and right[:1].isascii()
                   and right[:1].isalpha() for left, right in pairwise(shown))  # fmt: skip


def test_letters_are_not_parted_from_their_marks():
    """Thai has no spaces; its vowels and tones stand above and below letters, or before them."""
    text = " ฉันไม่เข้าใจภาษาไทยเลยแต่ฉันอยากเรียนรู้ให้มากกว่านี้ในวันพรุ่งนี้"
    shown = lines(list(cues(segment(text), 12, 2)))
    assert "".join(shown) == text.strip()
    assert max(map(len, shown)) <= 12
    for line in shown:
        assert not re.match(r"[\u0e30-\u0e3a\u0e45-\u0e4e]", line)
        assert line[-1] not in "เแโใไ"


def test_cues_are_shown_while_their_words_are_said():
    """Not for a share of the segment's time by how many letters they have."""
    said = timed((" Well,", 0.0, 0.4), (" I", 0.5, 0.6), (" think", 0.6, 0.9), (" that", 3.9, 4.1),
                 (" incomprehensibilities", 4.1, 5.3), (" are", 5.3, 5.5), (" rare.", 5.5, 6.1))  # fmt: skip
    made = list(cues(said, 22, 1))
    assert [(cue.text, cue.start, cue.end) for cue in made] == [
        ("Well, I think", 0.0, pytest.approx(0.9)),
        ("that", 3.9, pytest.approx(4.1)),
        ("incomprehensibilities", 4.1, pytest.approx(5.3)),
        ("are rare.", 5.3, pytest.approx(6.1)),
    ]


def test_a_cue_ends_after_seven_seconds():
    slow = timed(*((f" word{at}", 3.0 * at, 3.0 * at + 2.8) for at in range(8)))
    made = list(cues(slow, 42, 2))
    assert all(0 < cue.end - cue.start <= 7 for cue in made)
    assert [cue.text for cue in made] == [f"word{at} word{at + 1}" for at in range(0, 8, 2)]
    [held] = cues(segment(" Ohm.", 30.0), 42, 2)
    assert held.end == 7.0


def test_a_pause_ends_a_cue():
    said = timed((" One", 0.0, 0.5), (" two.", 0.5, 1.0), (" Three.", 2.6, 3.0))
    assert [cue.text for cue in cues(said, 42, 2)] == ["One two.", "Three."]


def test_words_that_are_not_the_text_are_of_no_use():
    said = {
        **segment(" one two three four five six", 6.0),
        "words": timed((" one", 5.0, 6.0))["words"],
    }
    assert next(iter(cues(said, 10, 1))).start == 0.0


def test_bounded_lines_ask_for_the_times_of_words():
    def bounded(**more: Any) -> bool:
        body = {"audioUrl": "x", "response_format": "srt", **more}
        return TranscriptionRequest.parse(body).bounded

    assert bounded(max_line_width=20)
    assert bounded(max_line_count=1)
    assert not bounded()


@needs("Whisper_Base")
@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["sequential", "batched"])
async def test_cues_have_the_times_of_their_words(make_worker, load, mode):
    """Though nobody asked for those."""
    worker = make_worker(FAKE_ENGINES="0", SURFACE="transcribe")
    worker.dispatcher.pool._load = load  # once a session
    body = {"audioUrl": EXAMPLE, "mode": mode, "temperature": [0.0], "beam_size": 1}
    words = decoded(await worker.answer({"input": {**body, "word_timestamps": True}}))["words"]
    bounds = {"response_format": "srt", "max_line_width": 24, "max_line_count": 1}
    answer = decoded(await worker.answer({"input": {**body, **bounds}}))
    shown = parsed(answer["text"])
    assert " ".join(text for _, _, text in shown).startswith("And Mr. John Dashwood had")
    at = 0
    for start, end, text in shown:
        count = len(text.split())
        assert words[at]["word"] == text.split()[0]
        assert start == pytest.approx(words[at]["start"], abs=0.002)
        assert end == pytest.approx(words[at + count - 1]["end"], abs=0.002)
        at += count
    assert at == len(words)
