"""Qwen3-TTS: the published package's own sound, several lines together, ends that do not come."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.device.hardware import Device
from models.errors import EngineFailed, InvalidValue, WeightsUnavailable
from models.speech.qwen.engine import QwenSpeaker
from models.speech.qwen.settings import Settings
from models.speech.request import Begun, Output, Sound, SpeakRequest, Speech
from models.speech.sound.joining import Edges, trimmed
from tests.conftest import CPU, ROOT, tiny
from tests.support.driving import Ticket, prepare, run, through

SLUG = "Qwen3_TTS_12Hz_1_7B_CustomVoice"
ROW = tiny(SLUG, "qwen-tts")
PCM = Output("pcm")
STREAM = Output("pcm", streamed=True)
LEAD = int(0.05 * 24_000)  # of silence in front of a sound
FRAME = 1920

# Calls of the published package, and what a client sends for the same.
LIBRARY: list[tuple[dict[str, Any], SpeakRequest]] = [
    (
        {"text": "Hello there.", "speaker": "ryan", "language": "english", "seed": 2},
        SpeakRequest("Hello there.", voice="Ryan", language="en-us", seed=2, output=PCM),
    ),
    (
        {"text": "Wie geht's, 你好", "speaker": "Vivian", "language": "auto", "seed": 4,
         "instruct": "Very happy."},
        SpeakRequest("Wie geht's, 你好", voice="vivian", instructions="Very happy.", seed=4,
                     output=PCM),
    ),
    (
        {"text": "你好", "speaker": "dylan", "language": "auto", "seed": 27},
        SpeakRequest("你好", voice="dylan", language="auto", seed=27, output=PCM),
    ),
    (
        {"text": "Nothing", "speaker": "eric", "language": "chinese", "seed": 2,
         "do_sample": False, "subtalker_dosample": False, "max_new_tokens": 41},
        SpeakRequest("Nothing", voice="eric", language="zh", seed=2, max_tokens=40, output=PCM),
    ),
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Steps this small wait longer for a second thread than they take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(store) -> Path:
    return store.resolve(ROW)


@pytest.fixture(scope="module")
def engine(load) -> QwenSpeaker:
    return load(ROW)


@pytest.fixture(scope="module")
def greedy(folder, tmp_path_factory) -> QwenSpeaker:
    """The same weights in a repository that chooses the likeliest codes."""
    copy = tmp_path_factory.mktemp("greedy") / "model"
    shutil.copytree(folder, copy)
    (copy / "generation_config.json").write_text(
        '{"do_sample": false, "subtalker_dosample": false}'
    )
    return QwenSpeaker.load(copy, ROW, CPU)


def samples(speech: Speech) -> Any:
    return np.frombuffer(speech.content, "<i2").astype(np.float32) / 32767


def near(one: bytes, other: bytes) -> None:
    """The same sound but for the last bit."""
    assert len(one) == len(other)
    ours, theirs = (np.frombuffer(content, "<i2").astype(int) for content in (one, other))
    assert np.abs(ours - theirs).max() <= 1


# The published package ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library(folder, tmp_path_factory) -> Any:
    """Codes and sounds of the published package."""
    into = tmp_path_factory.mktemp("library") / "made.npz"
    calls = json.dumps([{"max_new_tokens": 400, **call} for call, _ in LIBRARY])
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.qwen_tts_library", str(folder), calls, str(into)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return np.load(into)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("index", range(len(LIBRARY)))
def test_the_sound_is_the_published_packages_own(engine, greedy, library, index):
    call, request = LIBRARY[index]
    speech = run(engine if call.get("do_sample", True) else greedy, request)
    theirs, ours = trimmed(library[f"sound{index}"], 24_000), samples(speech)
    assert speech.sound_tokens == len(library[f"codes{index}"]) > 10
    np.testing.assert_allclose(ours[LEAD : LEAD + len(theirs)], theirs, atol=1.5 / 32767)
    assert len(ours) - len(theirs) == 2 * LEAD


def test_the_networks_have_as_many_parameters_as_the_published_ones():
    """1,916,676,352 numbers are in the talker's file, in 3,833,402,552 bytes."""
    from models.speech.qwen.codec import Codec
    from models.speech.qwen.networks import Talker

    layers = {"head_dim": 128, "hidden_act": "silu", "num_attention_heads": 16,
              "num_key_value_heads": 8, "rope_theta": 1_000_000}  # fmt: skip
    small = {**layers, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 5,
             "vocab_size": 2048, "num_code_groups": 16}  # fmt: skip
    talker = {**layers, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28,
              "vocab_size": 3072, "text_vocab_size": 151_936, "text_hidden_size": 2048,
              "code_predictor_config": small}  # fmt: skip
    sound = {"latent_dim": 1024, "codebook_dim": 512, "codebook_size": 2048, "decoder_dim": 1536,
             "hidden_act": "silu", "hidden_size": 512, "intermediate_size": 1024, "head_dim": 64,
             "num_attention_heads": 16, "num_hidden_layers": 8, "num_key_value_heads": 16,
             "num_quantizers": 16, "rope_theta": 10_000, "sliding_window": 72,
             "upsample_rates": [8, 5, 4, 3], "upsampling_ratios": [2, 2]}  # fmt: skip
    with torch.device("meta"):
        made = Talker(talker), Codec(sound)
    first, second = (sum(one.numel() for one in network.parameters()) for network in made)
    assert (first, second, made[1].hop) == (1_916_676_352, 114_028_225, FRAME)


def test_frames_in_pieces_sound_as_all_at_once(folder):
    """However they are cut; what the convolutions look back to is no more than needed."""
    from models.speech.qwen import weights

    codec = weights.codec(folder, Settings.read(folder), "cpu")
    codes = torch.randint(0, 32, (40, 4), generator=torch.Generator().manual_seed(1))

    def pieces(*sizes: int) -> torch.Tensor:
        kept = codec.begin()
        return torch.cat([codec(part, kept) for part in codes.split(list(sizes))])

    with torch.inference_mode():
        whole = pieces(40)
        assert whole.std() > 0.05
        for sizes in ((1,) * 40, (6, 12, 12, 10), (39, 1), (13, 27)):
            torch.testing.assert_close(pieces(*sizes), whole, atol=1e-5, rtol=0)
        codec.looks_back -= 2
        assert (pieces(20, 20) - whole).abs().max() > 1e-4


# Several together ---------------------------------------------------------------------------------

CROWD = [
    SpeakRequest("One. Two!", voice="ryan", seed=2, output=PCM),
    SpeakRequest("A longer line of words than that.", voice="sohee", language="ko", seed=6,
                 output=PCM),
    SpeakRequest("你好。", voice="uncle fu", instructions="Whisper.", seed=14, output=PCM),
    SpeakRequest("Ja.", speed=0.5, seed=19, output=PCM),
]  # fmt: skip


@pytest.fixture(scope="module")
def alone(engine) -> list[Speech]:
    return [run(engine, one) for one in CROWD]


def test_a_batch_is_what_each_is_alone(engine, alone):
    together = through(engine, [Ticket(prepare(engine, one)) for one in CROWD])
    for one, other in zip(alone, together, strict=True):
        near(one.content, other.content)
        assert (one.text_tokens, one.sound_tokens) == (other.text_tokens, other.sound_tokens)


@pytest.mark.parametrize(
    ("device", "dtype"),
    [
        (Device("cpu", 2**33, bf16=True), torch.bfloat16),
        (Device("cpu", 2**33, bf16=False), torch.float32),
        (Device("cpu", 2**33, bf16=True, wanted_dtype="float16"), torch.float16),
    ],
)
def test_the_talker_rounds_as_the_device_does_and_the_codec_does_not(folder, device, dtype):
    """Weights in bfloat16 may overflow in float16, which is not chosen by itself."""
    rounded = QwenSpeaker.load(folder, ROW, device)
    assert rounded._generation._talker.codec_head.weight.dtype == dtype
    assert rounded._codec.pre_conv.conv.weight.dtype == torch.float32
    requests = [replace(one, max_tokens=14) for one in CROWD]
    outputs = through(rounded, [Ticket(prepare(rounded, one)) for one in requests])
    assert all(isinstance(one, Speech) for one in outputs)


def test_a_line_joins_those_that_are_under_way(engine, alone):
    first, second = (Ticket(prepare(engine, one)) for one in CROWD[:2])
    engine.run([second])
    engine.run([second])
    outputs = through(engine, [first, second])
    for one, other in zip(alone, outputs, strict=False):
        near(one.content, other.content)


def test_a_stream_is_the_same_sound_in_pieces(engine, alone):
    request = replace(CROWD[1], output=STREAM)
    ticket = Ticket(prepare(engine, request))
    [speech] = through(engine, [ticket])
    first, *others = ticket.events
    assert isinstance(first, Begun)
    sounds = [one.content for one in others if isinstance(one, Sound)]
    assert len(sounds) > 2, "it is longer than a slice"
    assert b"".join(sounds) == speech.content
    near(speech.content, alone[1].content)
    # Six frames are made before the first sound leaves, and no more.
    assert 2 * FRAME < len(sounds[0]) // 2 <= 6 * FRAME + LEAD


def test_a_cancelled_line_ends_between_slices_and_the_others_go_on(engine, alone):
    cancelled = Ticket(prepare(engine, replace(CROWD[1], output=STREAM)), cancel_at=2)
    output, other = through(engine, [cancelled, Ticket(prepare(engine, CROWD[0]))])
    assert output is None
    assert cancelled.item.place == 0
    assert cancelled.item.state.count < alone[1].sound_tokens
    near(other.content, alone[0].content)


def test_seeds(engine):
    def made(text: str, seed: int | None) -> bytes:
        return run(engine, SpeakRequest(text, seed=seed, max_tokens=6, output=PCM)).content

    assert made("Hi.", 1) == made("Hi.", 1) != made("Hi.", 2**63 - 1)
    assert made("Hi.", None) != made("Hi.", None)
    twice, once = made("Hi. Hi.", 13), made("Hi.", 13)
    start = len(once) - 4 * LEAD
    assert twice[:start] == once[:start], "a line is said as it is alone"
    assert twice[-start:] != once[-start:], "the next has chance of its own"


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([(0, 40), (1, 3), (1, 200), (0, 500), (1, 700)]), max_size=8),
    st.integers(1, 900), st.booleans(),
)  # fmt: skip
def test_edges_in_pieces_are_those_of_the_whole(parts, size, quick):
    rate, speed = 2400, 2.0 if quick else 1.0
    waves = [0.5 * loud * np.cos(np.arange(count)) for loud, count in parts]
    whole = np.concatenate([*waves, np.zeros(0)]).astype(np.float32)
    edges = Edges(rate, speed)
    cuts = [whole[at : at + size] for at in range(0, len(whole), size)] or [whole]
    made = [edges.push(one, ends=at == len(cuts) - 1) for at, one in enumerate(cuts)]
    np.testing.assert_array_equal(np.concatenate(made), trimmed(whole, rate, speed))


# Ends that do not come ----------------------------------------------------------------------------


class Line:
    """Codes of a line that ends after so many frames; 0 = never."""

    def __init__(self, ends_after: int) -> None:
        self.ends_after, self.count, self.fresh = ends_after, 0, 0

    @property
    def ended(self) -> bool:
        return 0 < self.ends_after <= self.count

    def taken(self) -> list[torch.Tensor]:
        fresh, self.fresh = self.fresh, 0
        return [torch.arange(self.count - fresh, self.count)[:, None]] if fresh else []


class Generation:
    """Lines that end as it is told, one after another."""

    def __init__(self, *ends_after: int) -> None:
        self.ends_after = [*ends_after]
        self.seeds: list[int] = []

    def begin(self, _: Any, seed: int) -> Line:
        self.seeds.append(seed)
        return Line(self.ends_after[len(self.seeds) - 1])

    def go_on(self, lines: list[Line], frames: int) -> None:
        for line in lines:
            line.fresh = (
                frames if not line.ends_after else min(frames, line.ends_after - line.count)
            )
            line.count += line.fresh


class Codec:
    """A tone for so many frames, then room tone."""

    def __init__(self, loud_frames: int, room: float = 0.0005) -> None:
        self.loud_frames, self.room = loud_frames, room

    def begin(self) -> None:
        return None

    def __call__(self, codes: torch.Tensor, _: None) -> torch.Tensor:
        loudness = torch.where(codes < self.loud_frames, 0.3, self.room)
        return (loudness * torch.sin(0.3 * torch.arange(FRAME))).flatten()


@pytest.fixture
def strange(engine):
    def make(generation: Generation, codec: Codec) -> QwenSpeaker:
        return QwenSpeaker(ROW, engine._reader, generation, codec)

    return make


TEXT = "He said that he would come."


@pytest.mark.parametrize(
    ("codec", "told"),
    [
        (Codec(0), "was nearly silent for"),
        (Codec(20), "was nearly silent for"),
        (Codec(20, room=0.004), "was nearly silent for"),  # 37 dB below the voice
        (Codec(10**6), "did not end within"),
    ],
    ids=["silent from the start", "falls silent", "room tone", "speaks on"],
)
def test_a_line_without_an_end_fails_by_name(strange, codec, told):
    """QwenLM/Qwen3-TTS#118, sglang-omni#1179, vllm-omni#4576."""
    made = strange(Generation(0, 12), codec)
    [failed] = through(made, [Ticket(prepare(made, SpeakRequest(TEXT, seed=1, output=PCM)))])
    assert isinstance(failed, EngineFailed)
    assert (failed.code, failed.param) == ("endless_sound", "input")
    assert f"no end of sentence 1: it {told}" in failed.message


def test_a_short_text_is_stopped_soon(strange):
    made = strange(Generation(0), Codec(10**6))
    item = prepare(made, SpeakRequest("1次", seed=7, output=PCM))
    ticket = Ticket(item)
    [failed] = through(made, [ticket])
    assert 8 < item.state.count / 12.5 < 16, "16 to 36 seconds were made of it elsewhere"
    assert isinstance(failed, EngineFailed)


def test_without_a_seed_it_is_said_once_more(strange):
    generation = Generation(0, 12, 0, 0)
    made = strange(generation, Codec(20))
    speech = run(made, SpeakRequest(TEXT, output=PCM))
    assert speech.sound_tokens == 12
    assert generation.seeds[0] != generation.seeds[1]
    [failed] = through(made, [Ticket(prepare(made, SpeakRequest(TEXT, output=PCM)))])
    assert failed.code == "endless_sound"


def test_what_was_heard_is_not_said_again(strange):
    made = strange(Generation(0, 12), Codec(20))
    ticket = Ticket(prepare(made, SpeakRequest(TEXT, output=STREAM)))
    [failed] = through(made, [ticket])
    assert failed.code == "endless_sound"
    assert any(isinstance(one, Sound) for one in ticket.events)


def test_a_pause_is_no_end(strange):
    class Pausing(Codec):
        def __call__(self, codes: torch.Tensor, _: None) -> torch.Tensor:
            return super().__call__(codes % 60, None)

    speech = run(strange(Generation(100), Pausing(20)), SpeakRequest(TEXT, seed=1, output=PCM))
    assert speech.sound_tokens == 100


def test_a_line_that_ends_without_a_sound_fails_by_name(strange):
    made = strange(Generation(12), Codec(0))
    [failed] = through(made, [Ticket(prepare(made, SpeakRequest(TEXT, output=PCM)))])
    assert failed.code == "silent_sound"


def test_the_clients_own_limit_cuts_and_says_so(engine):
    speech = run(engine, SpeakRequest("Hello there.", seed=2, max_tokens=9, output=PCM))
    assert speech.sound_tokens == 9
    [note] = speech.left_out
    assert (note.param, note.message) == ("max_new_tokens", "Sentence 1 was cut after 9 tokens.")


def test_a_line_that_broke_off_is_begun_anew(engine, alone):
    """Out of memory, the batcher runs the lines again, fewer of them together."""

    class Short:
        def __init__(self) -> None:
            self.calls = 0

        def begin(self, *given: Any) -> Any:
            return engine._generation.begin(*given)

        def go_on(self, *given: Any) -> None:
            engine._generation.go_on(*given)
            self.calls += 1
            if self.calls == 2:
                raise torch.OutOfMemoryError("CUDA out of memory")

    made = QwenSpeaker(ROW, engine._reader, Short(), engine._codec)
    ticket = Ticket(prepare(made, CROWD[1]))
    made.run([ticket])
    with pytest.raises(torch.OutOfMemoryError):
        made.run([ticket])
    [speech] = through(made, [ticket])
    near(speech.content, alone[1].content)


# Texts, voices, files -----------------------------------------------------------------------------


def test_marks_in_a_text_are_letters(engine):
    """A text cannot end its turn, or put words into the model's mouth."""
    marks = ("<|im_end|>", "<|im_start|>", "<tts_text_eod>", "<tts_pad>", "<|endoftext|>")
    special = {one for mark in marks for one in engine._reader._tokenizer(mark).input_ids}
    assert len(special) == len(marks)
    text = "x".join(marks)
    assert not special & set(engine._reader.tokens(text))
    said = engine._reader.instructions(text)
    assert [one for one in said if one in special] == [said[0], *said[-2:-1]]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"voice": "alice"}, "voice_not_found", "voice"),
        ({"language": "sv"}, "language_not_supported", "language"),
        ({"text": "…!"}, "nothing_to_speak", "input"),
        ({"text": "a" * 4097}, "string_above_max_length", "input"),
        ({"instructions": "louder " * 200}, "string_above_max_length", "instructions"),
    ],
)
def test_what_is_refused(engine, change, code, param):
    with pytest.raises(InvalidValue) as refused:
        engine.prepare(replace(SpeakRequest("Hi."), **change))
    assert (refused.value.code, refused.value.param) == (code, param)


@pytest.mark.parametrize(
    ("voice", "language", "meant", "notes"),
    [
        (None, None, ("Ryan", "auto"), []),
        (None, "auto", ("Ryan", "auto"), []),
        ("alloy", None, ("Ryan", "auto"), ["voice"]),
        (None, "zh-CN", ("Vivian", "zh"), []),
        ("SERENA", "English", ("Serena", "en"), []),
        ("ono anna", "pt_BR", ("Ono_Anna", "pt"), []),
        ("Ryan", "de-CH", ("Ryan", "de"), ["language"]),
    ],
)
def test_voices_and_languages(engine, voice, language, meant, notes):
    item = prepare(
        engine, SpeakRequest("Hi.", voice=voice, language=language, instructions="Softly")
    )
    assert (item.voice.slug, item.language.slug) == meant
    assert [one.param for one in item.left_out] == notes


def test_a_voice_of_a_dialect_speaks_it(folder):
    read = Settings.read(folder)
    tokens = read.talker["codec_language_id"]
    assert read.language("auto", "Dylan") == tokens["beijing_dialect"]
    assert read.language("chinese", "Eric") == tokens["sichuan_dialect"]
    assert read.language("english", "Eric") == tokens["english"]
    assert read.language("auto", "Ryan") is None


HOSTILE = ["1" * 280, "٣٤٥ a", "é̂́" * 90, "<|im_end|> a", "\t\r\n.\u2028x", "안녕 🎉 hi", "ﷺ a"]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_spoken(engine, text):
    speech = run(engine, SpeakRequest(text, seed=1, max_tokens=4, output=PCM))
    assert speech.duration_s > 0.1


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("config.json", {"tts_model_type": "base"}, "a model of kind base"),
        (
            "speech_tokenizer/config.json",
            {"model_type": "qwen3_tts_tokenizer_25hz"},
            "tokenizer_25hz",
        ),
    ],
)
def test_another_kind_of_model_is_refused(folder, tmp_path, file, change, told):
    copy = shutil.copytree(folder, tmp_path / "model")
    (copy / file).write_text(json.dumps({**json.loads((copy / file).read_text()), **change}))
    with pytest.raises(ValueError, match=told):
        QwenSpeaker.load(copy, ROW, CPU)


def test_a_checkpoint_that_lacks_tensors_is_refused(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(folder, tmp_path / "model")
    tensors = load_file(copy / "model.safetensors")
    del tensors["talker.codec_head.weight"]
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(WeightsUnavailable, match="codec_head"):
        QwenSpeaker.load(copy, ROW, CPU)
