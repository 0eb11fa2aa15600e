"""Our engines against the reference libraries, on the same weights."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models import audio
from models.chat import Generated, Prompt, Sampling
from models.chat_text import ChatText, StopStrings
from models.errors import (
    ContextLengthExceeded,
    InvalidValue,
    MediaUndecodable,
    UnsupportedParameter,
)
from models.images import ImageRequest
from models.transcribe import TranscribeRequest
from tests.conftest import ROOT, decoded, row, tiny

Load = Callable[[Any], Any]
FLUX = row("Tiny_Flux")
WHISPER = row("Tiny_Whisper")
SMOL = row("SmolLM2_135M_Instruct")


class Ticket:
    """A ticket that remembers its events and can be cancelled at one of them."""

    def __init__(self, item: Any, cancel_at: int | None = None) -> None:
        self.item = item
        self.events: list[Any] = []
        self.cancel_at = cancel_at

    @property
    def cancelled(self) -> bool:
        return self.cancel_at is not None and len(self.events) >= self.cancel_at

    def emit(self, event: Any) -> None:
        self.events.append(event)


def prepare(engine: Any, request: Any) -> Any:
    """The only part of what the request asks of the device."""
    work = engine.prepare(request)
    work = asyncio.run(work) if asyncio.iscoroutine(work) else work
    [item] = work.parts
    return item


def run(engine: Any, request: Any) -> Any:
    work = engine.prepare(request)
    work = asyncio.run(work) if asyncio.iscoroutine(work) else work
    return work.finish(engine.run([Ticket(part) for part in work.parts]))


def decode(path: Path, timeout_s: float = 30, limit_s: float = 3600) -> Any:
    return asyncio.run(audio.decode(path, timeout_s, limit_s))


# Chat --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama(load: Load) -> Any:
    from dataclasses import replace

    return load(replace(tiny("Llama3_8B_Instruct", "llama"), slug="llama"))


def tokens(engine: Any, prompt: list[int], **sampling: Any) -> tuple[list[int], str]:
    ticket = Ticket(prepare(engine, Prompt(tuple(prompt), Sampling(**sampling))))
    [output] = engine.run([ticket])
    assert isinstance(output, Generated)
    return ticket.events, output.finish_reason


def generate(engine: Any, prompt: list[int], **arguments: Any) -> list[int]:
    """What transformers' own ``generate`` says."""
    ids = torch.tensor([prompt])
    out = engine._model.generate(
        ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **arguments
    )
    said: list[int] = out[0, len(prompt) :].tolist()
    return [token for token in said if token not in engine._ends]


@pytest.mark.parametrize(
    "sampling",
    [{"temperature": 1e-320}, {"temperature": 1e-45}, {"temperature": 1e-6}, {"top_p": 0.0}],
)
def test_the_coldest_sampling_is_greedy(llama, sampling):
    prompt = list(b"Once upon")
    cold, _ = tokens(llama, prompt, max_tokens=10, **sampling)
    assert cold == tokens(llama, prompt, temperature=0.0, max_tokens=10)[0]


@pytest.mark.parametrize("length", [1, 7, 300])
def test_greedy_tokens_are_generates(llama, length):
    prompt = torch.randint(0, 256, (length,), generator=torch.manual_seed(length)).tolist()
    ours, reason = tokens(llama, prompt, temperature=0.0, max_tokens=40)
    assert ours == generate(llama, prompt, do_sample=False, max_new_tokens=40)
    assert reason == "length"


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_p": 0.8},
        {"temperature": 1.3, "top_k": 20},
        {"temperature": 1.0, "min_p": 0.05, "repetition_penalty": 1.2},
    ],
)
def test_sampled_tokens_are_generates_for_the_same_seed(llama, sampling):
    prompt = list(b"Once upon a time")
    ours, _ = tokens(llama, prompt, seed=11, max_tokens=40, **sampling)
    torch.manual_seed(11)
    arguments = {"top_k": 0, **sampling}
    assert ours == generate(llama, prompt, do_sample=True, max_new_tokens=40, **arguments)
    again, _ = tokens(llama, prompt, seed=11, max_tokens=40, **sampling)
    other, _ = tokens(llama, prompt, seed=12, max_tokens=40, **sampling)
    assert again == ours != other


def test_the_end_of_turn_stops_and_is_not_shown(llama):
    """Every token but the one that ends is penalised away."""
    head = llama._model.lm_head.weight
    with torch.no_grad():
        kept = head.clone()
        head.zero_()
        head[max(llama._ends)] = 1e4 * torch.sign(_last_hidden(llama, [1, 2, 3]))
    try:
        assert tokens(llama, [1, 2, 3], temperature=0.0) == ([], "stop")
    finally:
        with torch.no_grad():
            head.copy_(kept)


def _last_hidden(engine: Any, prompt: list[int]) -> Any:
    with torch.inference_mode():
        out = engine._model.model(torch.tensor([prompt])).last_hidden_state[0, -1]
    return out.clone()


def test_context_length(llama):
    with pytest.raises(ContextLengthExceeded, match="at most 2048 tokens.*2049") as caught:
        llama.prepare(Prompt((1,) * 2049, Sampling()))
    assert caught.value.param == "messages"
    with pytest.raises(ContextLengthExceeded, match="100 for the answer"):
        llama.prepare(Prompt((1,) * 2000, Sampling(max_tokens=100)))
    ours, reason = tokens(llama, [1] * 2040, temperature=0.0)
    assert len(ours) <= 8
    assert reason in ("length", "stop")


def test_a_cancelled_generation_stops_at_the_next_token(llama):
    ticket = Ticket(Prompt((1, 2), Sampling(temperature=0.0, max_tokens=500)), cancel_at=3)
    llama.run([ticket])
    assert len(ticket.events) == 3


def test_prompts_are_the_templates(llama, store):
    from transformers import AutoTokenizer

    folder = store.resolve(tiny("Llama3_8B_Instruct", "llama"))
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Grüße 日本 <|eot_id|>"},
    ]
    reference = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    assert ChatText(folder, 2048).encode(messages) == reference


def test_megabytes_are_refused_before_they_are_tokenised(load):
    import time

    text = load(SMOL).text
    start = time.monotonic()
    with pytest.raises(ContextLengthExceeded, match="bytes"):
        text.encode([{"role": "user", "content": "word " * 2_000_000}])
    with pytest.raises(ContextLengthExceeded, match="bytes"):
        text.encode_text("word " * 2_000_000)
    assert time.monotonic() - start < 2
    assert text.encode_text("Hello")


def test_a_template_that_refuses_is_the_clients_error(llama):
    text = llama.text
    kept = text._template.chat_template
    text._template.chat_template = "{{ raise_exception('roles must alternate') }}"
    try:
        with pytest.raises(InvalidValue) as caught:
            text.encode([{"role": "user", "content": "x"}])
        assert caught.value.param == "messages"
    finally:
        text._template.chat_template = kept


def test_streamed_text_is_the_decoded_text(llama):
    words = "naïve 日本語 👩‍🚀 \n end"
    ids = llama.text._backend.encode(words, add_special_tokens=False).ids
    decoder = llama.text.decoder()
    pieces = [decoder.push(one) for one in ids]
    assert "".join(pieces) == words
    assert not any("\ufffd" in piece for piece in pieces)
    half = llama.text.decoder()
    assert (
        "".join(half.push(one) for one in ids[: ids.index(ids[-5]) - 6]).endswith("\ufffd") is False
    )


@pytest.mark.parametrize("stops", [[], ["b"], ["abc", "bd"], ["aab", "ab"], ["ccc"]])
def test_stop_strings_however_the_text_is_cut(stops):
    import itertools
    import random

    chance = random.Random(5)
    for letters in itertools.product("abcd", repeat=5):
        text = "".join(letters)
        ends = [text.find(stop) for stop in stops if stop in text]
        expected = text[: min(ends)] if ends else text
        finder, shown, left = StopStrings(stops), "", text
        while left and not finder.found:
            size = chance.randint(1, 3)
            shown += finder.push(left[:size])
            left = left[size:]
            assert expected.startswith(shown)
        assert shown + finder.flush() == expected
        assert finder.found == bool(ends)


@pytest.mark.anyio
async def test_the_default_model_knows_paris(make_worker):
    worker = make_worker(FAKE_ENGINES="0", SURFACE="chat")
    job = json.loads((ROOT / "test_input.json").read_text())
    answer = decoded(await worker.answer(job))
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["model"] == "SmolLM2_135M_Instruct"
    assert "notice" not in answer
    stream = {"input": {**job["input"], "stream": True}}
    pieces = [e["choices"][0]["delta"].get("content", "") async for e in worker.stream(stream)]
    assert "".join(pieces) == answer["choices"][0]["message"]["content"]


# Images ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def klein(load: Load) -> Any:
    from dataclasses import replace

    model = tiny("Flux_2_Klein_4B_BF16", "flux2-klein")
    return load(replace(model, slug="klein", defaults={**model.defaults, "size": "64x64"}))


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.int16)


def test_images_are_diffusers(load):
    engine = load(FLUX)
    pictures = run(engine, ImageRequest("a red fox", seed=7, n=2, width=96, height=64))
    for picture in pictures:
        expected = engine._pipeline(
            "a red fox", width=96, height=64, num_inference_steps=4, guidance_scale=0.0,
            max_sequence_length=256, generator=torch.Generator().manual_seed(picture.seed),
        ).images[0]  # fmt: skip
        got = pixels(picture.content)
        assert got.shape == (64, 96, 3)
        assert np.abs(got - np.asarray(expected, dtype=np.int16)).max() <= 1
    assert [picture.seed for picture in pictures] == [7, 8]
    assert (pixels(pictures[0].content) != pixels(pictures[1].content)).any()


def test_prompts_steps_guidance_and_negative_prompts_matter(load):
    engine = load(FLUX)

    def make(**changes: Any) -> bytes:
        request = ImageRequest(
            **{"prompt": "a fox", "seed": 7, "width": 64, "height": 64, **changes}
        )
        return run(engine, request)[0].content

    base = make()
    assert make() == base
    for change in ({"prompt": "b"}, {"steps": 2}, {"seed": 8}, {"negative_prompt": "blurry"}):
        assert make(**change) != base, change
    negative = {"negative_prompt": "blurry"}
    assert make(**negative, guidance=4.0) != make(**negative)
    with pytest.raises(UnsupportedParameter, match="distilled"):
        make(guidance=4.0)


@pytest.mark.parametrize(("width", "height"), [(100, 70), (65, 64), (1000 // 8, 72)])
def test_any_size_is_cut_from_the_next_larger_one(load, width, height):
    [picture] = run(load(FLUX), ImageRequest("x", seed=1, width=width, height=height, steps=1))
    assert pixels(picture.content).shape == (height, width, 3)
    assert (picture.width, picture.height) == (width, height)


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
def test_formats(load, format_):
    request = ImageRequest("x", seed=1, width=64, height=64, steps=1, format=format_)
    [picture] = run(load(FLUX), request)
    assert Image.open(io.BytesIO(picture.content)).format == format_.upper()


def test_image_to_image_is_diffusers(klein):
    source = Image.effect_mandelbrot((80, 64), (-2, -1, 1, 1), 50).convert("RGB")
    buffer = io.BytesIO()
    source.save(buffer, "PNG")
    [picture] = run(klein, ImageRequest("x", seed=3, image=buffer.getvalue(), steps=2))
    expected = klein._pipeline(
        prompt="x", image=source, width=80, height=64, num_inference_steps=2, guidance_scale=1.0,
        max_sequence_length=512, generator=torch.Generator().manual_seed(3),
    ).images[0]  # fmt: skip
    assert np.abs(pixels(picture.content) - np.asarray(expected, dtype=np.int16)).max() <= 1
    [from_text] = run(klein, ImageRequest("x", seed=3, width=80, height=64, steps=2))
    assert from_text.content != picture.content


def test_what_an_image_model_cannot_do_is_refused_by_name(load, klein):
    with pytest.raises(UnsupportedParameter, match="takes no input image") as caught:
        load(FLUX).prepare(ImageRequest("x", seed=1, image=b"x"))
    assert caught.value.param == "image"
    with pytest.raises(UnsupportedParameter, match="distilled") as caught:
        klein.prepare(ImageRequest("x", seed=1, negative_prompt="blurry"))
    assert caught.value.param == "negative_prompt"
    with pytest.raises(ContextLengthExceeded, match="at most 256"):
        load(FLUX).prepare(ImageRequest("word " * 200, seed=1))


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"x" * 100])
def test_pictures_that_cannot_be_read(klein, content):
    with pytest.raises(MediaUndecodable) as caught:
        klein.prepare(ImageRequest("x", seed=1, image=content))
    assert caught.value.param == "image"


def test_a_prompt_is_counted_whole_also_after_the_first_picture(klein):
    """The pipeline leaves its tokenizer truncating; counting with it would let anything through."""
    run(klein, ImageRequest("x", seed=3, width=64, height=64, steps=1))
    with pytest.raises(ContextLengthExceeded, match="at most 512"):
        klein.prepare(ImageRequest("word " * 600, seed=1))


@pytest.mark.parametrize("format_", ["EPS", "TIFF", "PPM", "ICO"])
def test_only_common_picture_formats_are_opened(klein, format_):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, format_)
    with pytest.raises(MediaUndecodable):
        klein.prepare(ImageRequest("x", seed=1, image=buffer.getvalue()))


def test_a_picture_bomb_is_refused(klein):
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    with pytest.raises(MediaUndecodable):
        klein.prepare(ImageRequest("x", seed=1, image=buffer.getvalue()))


def test_a_cancelled_picture_stops_at_the_next_step(load):
    engine = load(FLUX)
    ticket = Ticket(prepare(engine, ImageRequest("x", seed=1, steps=50)), cancel_at=2)
    engine.run([ticket])
    assert ticket.events == [(1, 50), (2, 50)]


# Transcription -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's speech, as a file."""
    job = json.loads((ROOT / "examples/transcribe.json").read_text())
    path = tmp_path_factory.mktemp("speech") / "speech.ogg"
    path.write_bytes(base64.b64decode(job["input"]["audioUrl"].partition(",")[2]))
    return path


def convert(source: Path, target: Path, codec: str) -> Path:
    import av

    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream(codec, rate=44100, layout="stereo")
        resampler = av.AudioResampler(stream.codec_context.format, "stereo", 44100)
        for frame in reader.decode(audio=0):
            frame.pts = None
            for out in resampler.resample(frame):
                for packet in stream.encode(out):
                    writer.mux(packet)
        for packet in stream.encode(None):
            writer.mux(packet)
    return target


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "mp3"), ("m4a", "aac"), ("mkv", "pcm_s16le")],
)
def test_decoded_samples_are_faster_whispers(speech, tmp_path, suffix, codec):
    from faster_whisper.audio import decode_audio

    path = convert(speech, tmp_path / f"speech.{suffix}", codec)
    ours, reference = decode(path), decode_audio(str(path))
    assert np.array_equal(ours, reference)
    assert len(ours) > 16_000


def test_transcripts_are_faster_whispers(load, speech):
    from dataclasses import asdict

    from faster_whisper.audio import decode_audio

    engine = load(WHISPER)
    for options, arguments in (
        ({}, {}),
        ({"language": "de", "prompt": "bolego"}, {"language": "de", "initial_prompt": "bolego"}),
        ({"task": "translate", "words": True}, {"task": "translate", "word_timestamps": True}),
        ({"vad": True, "hotwords": "fox"}, {"vad_filter": True, "hotwords": "fox"}),
    ):
        ours = run(engine, TranscribeRequest(speech, **options))
        segments, info = engine._model.transcribe(decode_audio(str(speech)), **arguments)
        expected = [asdict(one) for one in segments]
        assert json.loads(json.dumps(ours.segments)) == json.loads(
            json.dumps(expected, default=float)
        )
        assert (ours.language, ours.duration_s) == (info.language, info.duration)
        assert ours.segments


def test_files_that_hold_no_audio(load, tmp_path):
    engine = load(WHISPER)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    concat = tmp_path / "concat.txt"
    concat.write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    noise = tmp_path / "noise.mp3"
    noise.write_bytes(np.random.default_rng(1).bytes(5000))
    (tmp_path / "empty.wav").write_bytes(b"")
    for path in (playlist, concat, noise, tmp_path / "empty.wav"):
        with pytest.raises(MediaUndecodable) as caught:
            prepare(engine, TranscribeRequest(path))
        assert caught.value.param == "audioUrl"
        assert str(tmp_path) not in caught.value.message


def test_a_truncated_file_gives_what_it_has(load, speech, tmp_path):
    path = convert(speech, tmp_path / "speech.flac", "flac")
    whole = len(decode(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 0 < len(decode(path)) < whole


@pytest.mark.parametrize(("suffix", "codec"), [("mp3", "mp3"), ("m4a", "aac"), ("flac", "flac")])
def test_a_damaged_packet_does_not_end_the_audio(speech, tmp_path, suffix, codec):
    path = convert(speech, tmp_path / f"speech.{suffix}", codec)
    whole = len(decode(path))
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + 300] = np.random.default_rng(3).bytes(300)
    path.write_bytes(content)
    assert len(decode(path)) > 0.75 * whole


def test_a_cancelled_decoding_ends_its_process(tmp_path):
    """A named pipe: the decoder waits for data that never comes."""
    import os

    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)

    async def cancel() -> list[int]:
        import psutil

        task = asyncio.create_task(audio.decode(pipe, 60, 3600))
        await asyncio.sleep(1)
        children = psutil.Process().children()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children
        return [child.pid for child in children if child.is_running()]

    assert asyncio.run(cancel()) == []


def test_decoding_is_bounded(speech):
    with pytest.raises(audio.Undecodable, match="longer than"):
        decode(speech, limit_s=1.0)
    with pytest.raises(audio.Undecodable, match="took longer"):
        decode(speech, timeout_s=0.001)


def test_decoding_does_not_suffer_from_a_busy_thread(speech):
    """The reason for the process: in this one it would be a hundred times slower."""
    start = time.perf_counter()
    decode(speech)
    alone = time.perf_counter() - start
    stop = threading.Event()
    spinner = threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)])
    spinner.start()
    try:
        start = time.perf_counter()
        decode(speech)
        assert time.perf_counter() - start < 10 * alone + 1
    finally:
        stop.set()
        spinner.join()


def test_an_unknown_language_names_the_known_ones(load, speech):
    with pytest.raises(InvalidValue, match="one of .*en.*got 'xx'"):
        prepare(load(WHISPER), TranscribeRequest(speech, language="xx"))


def test_a_cancelled_transcript_stops_after_its_segment(load, speech, tmp_path):
    long = tmp_path / "long.wav"
    samples = np.tile(decode(speech), 40)
    import wave

    with wave.open(str(long), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * 32767).astype(np.int16).tobytes())
    engine = load(WHISPER)
    ticket = Ticket(prepare(engine, TranscribeRequest(long)), cancel_at=1)
    [output] = engine.run([ticket])
    assert len(output.segments) == 1
    assert output.duration_s > 60


@pytest.mark.anyio
async def test_the_stand_ins_say_so(make_worker):
    worker = make_worker(FAKE_ENGINES="0")
    for name in ("images", "transcribe"):
        answer = decoded(
            await worker.answer(json.loads((ROOT / f"examples/{name}.json").read_text()))
        )
        assert "random weights" in answer["notice"]
