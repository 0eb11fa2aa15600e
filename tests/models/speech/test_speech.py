"""Speech: text that is cut with care, sound in every format, and the real small voice."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.speech import distance, words_and_numbers
from models.errors import InvalidValue, QuartetError
from models.fake import rows
from models.fake_speech import FakeSpeech
from models.sound.encoding import encoder
from models.sound.formats import FORMATS
from models.speech.engine import Spoken
from models.speech.english import bounded, readable_letters
from models.speech.reading import Phrase
from models.speech.request import Begun, Output, Sound, SpeakRequest, Speech
from models.speech.sound.joining import trimmed
from models.speech.sound.tempo import at_tempo
from models.speech.text.plain import plain
from models.speech.text.sentences import MAX_CHARACTERS, split
from models.transcribe.request import TranscribeRequest
from models.work import Progress
from tests.conftest import CPU, needs, row
from tests.support.driving import Ticket, prepare, run, through
from tests.support.kokoro import write_kokoro

SENTENCE = "Dr. Smith paid $9.99 for it on March 3rd, 2021."
hibari = needs("Hibari_Heart")
PCM = Output("pcm")


def samples(speech: Speech) -> Any:
    return np.frombuffer(speech.content, "<i2").astype(np.float32) / 32767


@pytest.fixture(scope="module")
def fake() -> FakeSpeech:
    [made] = [one for one in rows() if one.surface == "speech"]
    return FakeSpeech.load(CPU, made, CPU)  # type: ignore[arg-type]


# Text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Dr. Smith met Mr. J. R. Tolkien. They left.",
         ["Dr. Smith met Mr. J. R. Tolkien.", "They left."]),
        ('"Really?" she asked. Yes! No... maybe.',
         ['"Really?" she asked.', "Yes!", "No... maybe."]),
        ("It costs $3.50, i.e. 3.5 dollars. Vol. 2 is next. See No. 5.",
         ["It costs $3.50, i.e. 3.5 dollars.", "Vol. 2 is next.", "See No. 5."]),
        ("He said no. 5 came. It was I. He knew.",
         ["He said no. 5 came.", "It was I.", "He knew."]),
        ("Apples, etc. Then pears. The U.S. Army.",
         ["Apples, etc.", "Then pears.", "The U.S.", "Army."]),
        ("1. First\n2. Second", ["1. First", "2. Second"]),
        ("你好。世界！「好吗？」他问。", ["你好。", "世界！", "「好吗？」", "他问。"]),
        ("नमस्ते। आप कैसे हैं?", ["नमस्ते।", "आप कैसे हैं?"]),
        ("Visit www.example.com. Or not", ["Visit www.example.com.", "Or not"]),
    ],
)  # fmt: skip
def test_sentences_end_where_a_reader_ends_them(text, sentences):
    assert [one.text for one in split(text)] == sentences


@settings(max_examples=300)
@given(st.text(alphabet=st.sampled_from("aB1 .!?,;。！\n\t'\"()é世́"), max_size=900))
def test_together_the_pieces_are_the_text(text):
    pieces = split(text)
    assert "".join(re.sub(r"\s", "", one.text) for one in pieces) == re.sub(r"\s", "", text)
    assert all(0 < len(one.text) <= MAX_CHARACTERS for one in pieces)
    numbers = [one.number for one in pieces]
    assert numbers == sorted(numbers)


def test_a_long_sentence_is_cut_where_one_breathes():
    clause = "and the wind went on over the hills,"
    pieces = split(" ".join([clause] * 40) + " and slept.")
    assert len({one.number for one in pieces}) == 1
    assert all(one.text.endswith(",") for one in pieces[:-1])
    assert [one.pause_s for one in pieces][-1] > pieces[0].pause_s > 0


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**Bold** and *this*, `code`", "Bold and this, code"),
        ("# Title\n\n- one\n- two", "Title\n\none\ntwo"),
        ("[a link](https://x.y/z) ![a fox](f.png)", "a link a fox"),
        ("```python\nx\n```", "x"),
        ("Hello 👋🏽 world 🇩🇪!", "Hello world !"),
        ("a\x00b\x1b[0m\u200bc\ufeff", "a b [0mc"),
        ("2 * 3 * 4 < 5 > 1", "2 * 3 * 4 < 5 > 1"),
        ("<speak><p>Hi</p></speak>", "Hi"),
    ],
)
def test_what_nobody_says_is_left_out(text, spoken):
    assert plain(text)[0] == spoken


def test_tags_are_told_of(fake):
    [note] = run(fake, SpeakRequest("<b>Hi</b>", output=PCM)).left_out
    assert note.param == "input"


@pytest.mark.parametrize(
    "text",
    ["<" * 200_000, "[" * 200_000, "**" * 100_000, "a." * 100_000, "<a " * 60_000, "<!--" * 50_000,
     "e.g. " * 40_000, "No, no. " * 25_000, "- " * 100_000, "`" * 200_000],
    ids=range(10),
)  # fmt: skip
def test_hostile_texts_are_cut_in_no_time(text):
    start = time.process_time()
    split(plain(text)[0])
    assert time.process_time() - start < 2


# Sound ------------------------------------------------------------------------------------------

TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(96_000) / 24_000)).astype(np.float32)
CODECS = {"mp3": "mp3", "opus": "opus", "aac": "aac", "flac": "flac", "wav": "pcm_s16le"}


def decoded(content: bytes, format_: str) -> tuple[Any, Any]:
    """The stream's codec, and the samples."""
    with av.open(io.BytesIO(content), format="aac" if format_ == "aac" else None) as container:
        stream = container.streams.audio[0]
        assert not {**container.metadata, **stream.metadata}.keys() - {"encoder"}
        resampler = av.AudioResampler(format="flt", layout="mono", rate=stream.rate)
        frames = [f for frame in container.decode(stream) for f in resampler.resample(frame)]
        return stream.codec_context, np.concatenate([one.to_ndarray()[0] for one in frames])


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("format_", "rate"), [(name, rate) for name in CODECS for rate in FORMATS[name].rates_hz]
)
def test_each_format_has_its_codec_rate_and_length(format_, rate, streamed):
    made = encoder(format_, 24_000, rate, streamed=streamed)
    pieces = [made.push(part) for part in np.array_split(TONE, 7)]
    assert any(pieces) is streamed
    content = b"".join(pieces) + made.close()
    codec, heard = decoded(content, format_)
    rate = 48_000 if format_ == "opus" else rate  # which decodes to that
    assert (codec.name.removesuffix("float"), codec.sample_rate) == (CODECS[format_], rate)
    exact = format_ in {"flac", "wav", "opus"} or (format_ == "mp3" and not streamed)
    padding = 0 if exact else 2400 / rate  # of the codec, where a stream cannot say how long it is
    assert made.duration_s == 4
    assert abs(len(heard) / rate - 4) <= padding + 0.001
    middle = heard[len(heard) // 4 : len(heard) // 2]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * rate / len(middle) == pytest.approx(440, abs=3)


def test_a_wavs_header_says_how_long_it_is():
    made = encoder("wav", 24_000, 24_000, streamed=False)
    made.push(TONE)
    content = made.close()
    assert int.from_bytes(content[40:44], "little") == len(content) - 44 == 192_000
    assert int.from_bytes(content[4:8], "little") == len(content) - 8


@pytest.mark.parametrize("tempo", [0.25, 0.5, 0.8, 1.0, 1.6, 3.0])
def test_tempo_keeps_the_pitch(tempo):
    made = at_tempo(TONE, 24_000, tempo)
    assert len(made) / len(TONE) == pytest.approx(1 / tempo, rel=0.02)
    middle = made[len(made) // 4 : len(made) // 2]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.argmax(spectrum) * 24_000 / len(middle) == pytest.approx(440, abs=6)


def test_a_sentence_is_trimmed_faded_and_never_clipped():
    loud = np.concatenate([np.zeros(24_000), 3 * TONE, np.zeros(24_000)]).astype(np.float32)
    made = trimmed(loud, 24_000)
    assert len(TONE) < len(made) < len(TONE) + 0.2 * 24_000
    assert np.abs(made).max() == pytest.approx(0.97)
    assert made[0] == made[-1] == 0
    assert not len(trimmed(np.full(9600, 0.001, np.float32), 24_000))


# The engine's base ------------------------------------------------------------------------------


def test_sentences_are_made_in_order_with_pauses(fake):
    speech = run(fake, SpeakRequest("Hello. World.\n\nAgain.", output=PCM))
    heard = samples(speech)
    silent = np.abs(heard) < 1e-4
    edges = np.flatnonzero(np.diff(silent.astype(int)))
    gaps = np.diff(edges)[1::2] / 24_000
    long = [round(float(gap), 1) for gap in gaps if gap > 0.2]
    assert long == [0.3, 0.7]  # of a sentence, and of a paragraph
    assert speech.duration_s == len(heard) / 24_000
    faster = run(fake, SpeakRequest("Hello. World.\n\nAgain.", speed=2, output=PCM))
    assert faster.duration_s == pytest.approx(speech.duration_s / 2, abs=0.06)


def test_there_is_no_click_between_sentences(fake):
    heard = samples(run(fake, SpeakRequest("One. Two. Three.", output=PCM)))
    assert np.abs(np.diff(heard)).max() < 0.06  # the tone's own steps are 0.05


@pytest.mark.parametrize("format_", FORMATS)
def test_a_batch_is_what_each_is_alone(fake, format_):
    requests = [
        SpeakRequest(text, speed=speed, output=Output(format_))
        for text, speed in (("One. Two.", 1.0), ("Three four five.", 0.7), ("Six. Seven. Eight.", 2.0))
    ]  # fmt: skip
    alone = [run(fake, one) for one in requests]
    together = through(fake, [Ticket(prepare(fake, one)) for one in requests])
    for one, other in zip(alone, together, strict=True):
        assert one.content == other.content


def test_a_stream_begins_with_what_there_is_to_know(fake):
    request = SpeakRequest(
        "One. Two.", instructions="Whisper.", output=Output("mp3", streamed=True)
    )
    ticket = Ticket(prepare(fake, request))
    [speech] = through(fake, [ticket])
    first, *others = ticket.events
    assert isinstance(first, Begun)
    assert [one.param for one in first.left_out] == ["instructions"]
    sounds = [one for one in others if isinstance(one, Sound)]
    assert len(sounds) == 2
    assert b"".join(one.content for one in sounds) == speech.content
    done = [one.done for one in others if isinstance(one, Progress)]
    assert done == [4, 8]


def test_a_cancelled_request_ends_between_two_sentences(fake):
    ticket = Ticket(prepare(fake, SpeakRequest("One. Two. Three.", output=PCM)), cancel_at=1)
    through(fake, [ticket])
    assert ticket.item.place == 1


def test_one_bad_sentence_is_named_and_fails_its_own_request(fake):
    class Failing(FakeSpeech):
        def read(self, text: str, voice: str, language: str) -> Phrase | None:
            if "bad" in text:
                raise IndexError("list index out of range")
            return super().read(text, voice, language)

        def speak(self, batch: Any) -> Any:
            spoken = super().speak(batch)
            silent = Spoken(np.zeros(24_000, np.float32), 1)
            return [silent if "silent" in one.request.text else made
                    for one, made in zip(batch, spoken, strict=True)]  # fmt: skip

    engine = Failing(fake.row)
    with pytest.raises(InvalidValue, match="sentence 2") as refused:
        engine.prepare(SpeakRequest("A good one. A bad one."))
    assert (refused.value.code, refused.value.param) == ("unreadable_text", "input")
    requests = [SpeakRequest(text, output=PCM) for text in ("One silent.", "Two.")]
    failed, made = through(engine, [Ticket(prepare(engine, one)) for one in requests])
    assert isinstance(failed, QuartetError)
    assert failed.code == "silent_sound"
    assert "level is 0.00000" in failed.message
    assert isinstance(made, Speech)


# The real voice ---------------------------------------------------------------------------------


@hibari
def test_the_sound_is_the_librarys_own(load):
    from hibari import Hibari

    speech = run(load(row("Hibari_Heart")), SpeakRequest("The old ship left.", seed=5, output=PCM))
    library = Hibari()
    [phonemes] = library.phonemize("The old ship left.")
    theirs = library.from_ids(library.ids(phonemes), 1.0, np.random.default_rng([5, 0]))
    ours, theirs = samples(speech), trimmed(theirs, 24_000)
    start = int(0.05 * 24_000)
    np.testing.assert_allclose(ours[start : start + len(theirs)], theirs, atol=1 / 32767)
    assert speech.text_tokens == len(phonemes)


@hibari
def test_a_seed_repeats_the_sound(load):
    engine = load(row("Hibari_Heart"))
    one, same, other = (
        run(engine, SpeakRequest("Hello there.", seed=seed, output=PCM)).content
        for seed in (1, 1, 2)
    )
    assert one == same != other
    assert len(one) == len(other)


@hibari
def test_durations_follow_the_speed(load):
    engine = load(row("Hibari_Heart"))
    text = "The captain of the ship found a silver ring beside the river before the sun came up."
    usual = run(engine, SpeakRequest(text, output=PCM)).duration_s
    assert 4 < usual < 8
    for speed in (0.25, 0.5, 0.8, 1.25, 2.0, 4.0):
        duration = run(engine, SpeakRequest(text, speed=speed, output=PCM)).duration_s
        assert duration == pytest.approx(usual / speed, rel=0.12), speed


@hibari
@pytest.mark.parametrize("format_", CODECS)
def test_every_format_of_the_real_voice(load, format_):
    speech = run(load(row("Hibari_Heart")), SpeakRequest(SENTENCE, output=Output(format_)))
    codec, heard = decoded(speech.content, format_)
    rate = 48_000 if format_ == "opus" else 24_000
    assert codec.sample_rate == rate
    assert len(heard) / rate == pytest.approx(speech.duration_s, rel=0.02)
    assert np.abs(heard).max() < 1
    assert b"Smith" not in speech.content


@hibari
@needs("Whisper_Base")
@pytest.mark.parametrize(("speed", "wrong"), [(0.5, 0), (1.0, 0), (1.75, 3)])
def test_it_is_heard_back(load, tmp_path, speed, wrong):
    text = f"{SENTENCE} The train leaves at 7:30."
    request = SpeakRequest(text, speed=speed, seed=1, output=Output("wav"))
    path = tmp_path / "speech.wav"
    path.write_bytes(run(load(row("Hibari_Heart")), request).content)
    heard = run(load(row("Whisper_Base")), TranscribeRequest(path, language="en"))
    words = "".join(one["text"] for one in heard.segments).replace("7.30", "7:30")
    said, written = words_and_numbers(text), words_and_numbers(words)
    assert distance(said, written) <= wrong, words


HOSTILE = [
    "1" * 4000, "(" * 4000, "9" * 12 + ".", "1,000,000,000,000,000,000", "€½²³", "a" * 4000, "1/0",
    "99:99 99/99/9999", "[x](/ˈɛ/)", "MCMXCIX Chapter IV", "http://a.b/?c=d&e=%20", "O'Neil's 'n'",
    "-5°C ±3%", "\t\r\n.\u2028x", "<|endoftext|>", "ǅ ß ſ ﬁ", "٣٤٥ a", "No. 1 No.", "é̂́" * 90,
]  # fmt: skip


@hibari
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_spoken_or_refused(load, text):
    engine = load(row("Hibari_Heart"))
    if not any(map(str.isalnum, text)):
        with pytest.raises(InvalidValue, match="nothing that"):
            engine.prepare(SpeakRequest(text))
        return
    item = prepare(engine, SpeakRequest(text, output=PCM))
    assert all(len(ids) <= 402 for line in item.lines for ids in line.reading.tokens)
    item.lines = item.lines[:2]
    [speech] = through(engine, [Ticket(item)])
    assert isinstance(speech, Speech), speech
    assert speech.duration_s > 0.2


GREETINGS = [
    "你好",
    "こんにちは",
    "안녕하세요",
    "Привет",
    "Γειά",
    "שלום",
    "مرحبا",
    "नमस्ते",
    "สวัสดี",
    "გამარჯობა",
    "Բարև",
    "ሰላም",
    "ನಮಸ್ಕಾರ",
    "വണക്കം",
    "ជំរាបសួរ",
    "ສະບາຍດີ",
    "မင်္ဂလာပါ",
    "བཀྲ་ཤིས",
    "ᏏᏲ",
    "ᐊᐃ",
    "ⵣ",
    "ෙහලෝ",
    "ਸਤ",
    "ꆈꌠ",
    "ߊ߬",
]


@hibari
@pytest.mark.parametrize("greeting", GREETINGS)
def test_what_it_cannot_read_is_refused_or_named(load, greeting):
    engine = load(row("Hibari_Heart"))
    with pytest.raises(InvalidValue) as refused:
        engine.prepare(SpeakRequest(f"{greeting}!"))
    assert refused.value.code == "nothing_to_speak"
    mixed = prepare(engine, SpeakRequest(f"Hello {greeting}, my friend.\n{greeting}!"))
    told = " ".join(one.message for one in mixed.left_out)
    assert "cannot read sentence 2" in told
    assert re.search(r"cannot read \d+ letters", told)
    with pytest.raises(InvalidValue):
        engine.prepare(SpeakRequest(f"Hello {greeting}.", strict=True))


@pytest.mark.parametrize("text", ["Grüße, Zoë! Łódź", "naïve café", "İstanbul"])
def test_latin_letters_are_read(text):
    assert readable_letters(text)[1] == 0


def test_phonemes_are_cut_between_words():
    pieces = bounded(" ".join(["abc"] * 300))
    assert all(len(one) <= 400 and set(one.split()) == {"abc"} for one in pieces)
    assert list(map(len, bounded("a" * 900))) == [400, 400, 100]


def test_a_limit_of_the_row_is_the_operators(fake):
    engine = FakeSpeech(replace(fake.row, options={**fake.row.options, "max_characters": 5}))
    with pytest.raises(InvalidValue, match="6 characters, and at most 5"):
        engine.prepare(SpeakRequest("abcdef"))


# Kokoro -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kokoro(tmp_path_factory) -> Any:
    from models.speech.kokoro import KokoroSpeaker

    folder = tmp_path_factory.mktemp("kokoro")
    write_kokoro(folder, row("Kokoro_82M"))
    return KokoroSpeaker.load(folder, row("Kokoro_82M"), CPU)


@hibari
def test_kokoro_takes_the_style_of_as_many_phonemes(kokoro):
    speech = run(kokoro, SpeakRequest("The captain found a ring.", output=PCM))
    count = speech.text_tokens
    # Kokoro's own pipeline: ``pack[len(phonemes) - 1]``.
    assert np.abs(samples(speech)).max() == pytest.approx((count - 1) / 1000, abs=0.001)
    assert speech.duration_s == pytest.approx((count + 2) * 600 / 24_000 + 0.1, abs=0.05)


@hibari
@pytest.mark.parametrize(
    ("voice", "language", "slug", "phonemes"),
    [
        (None, None, "af_heart", "ˈæ"), ("af_bella", None, "af_bella", "ˈæ"),
        ("Nova", None, "af_nova", "ˈæ"), ("bm_george", None, "bm_george", "ˈɑː"),
        (None, "en-GB", "bf_alice", "ˈɑː"), (None, "British English", "bf_alice", "ˈɑː"),
        ("onyx", "en", "am_onyx", "ˈæ"),
    ],
)  # fmt: skip
def test_a_voice_brings_its_accent(kokoro, voice, language, slug, phonemes):
    item = prepare(kokoro, SpeakRequest("bath", voice=voice, language=language))
    assert item.voice.slug == slug
    spelled = {number: one for one, number in kokoro._vocabulary.items()}
    [ids] = item.line.reading.tokens
    assert phonemes in "".join(spelled[one] for one in ids if one)
    assert not item.left_out


@hibari
def test_a_voice_of_another_accent_keeps_its_own_and_says_so(kokoro):
    item = prepare(kokoro, SpeakRequest("bath", voice="bm_george", language="en-us"))
    assert (item.voice.slug, item.language.slug) == ("bm_george", "en-gb")
    assert [one.message for one in item.left_out] == ["bm_george speaks British English."]
