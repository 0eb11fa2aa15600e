"""Music beside diffusers' own pipeline, on a tiny ACE-Step."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
import torch
from diffusers import AceStepPipeline, AutoencoderOobleck, FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file, save_file

from models.catalog import CATALOG
from models.errors import (
    ContextLengthExceeded,
    InvalidValue,
    MediaUndecodable,
    UnsupportedParameter,
    WeightsUnavailable,
)
from models.music.checkpoint import PARTS, configuration, pipeline_of
from models.music.engine import AceStepMusic
from models.music.request import MusicRequest, Output, Songs
from models.sound.encoding import encoder
from models.warm.batch import Batcher
from models.work import Progress
from tests.conftest import CPU, ROOT, row
from tests.support.driving import Ticket, prepare
from tests.support.hostile_sounds import flac_of_large_frames, nothing_left, silent_flac

TINY = row("Tiny_AceStep")
RATE_HZ, HOP = 8000, 320
WAV = Output(format="wav", is_chosen=True)
ASKED = MusicRequest("calm piano", lyrics="[verse]\nla", seeds=(7,), steps=2, output=WAV)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    """The layers are so narrow that threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(store) -> Path:
    return store.resolve(TINY)


@pytest.fixture(scope="module")
def engine(load) -> AceStepMusic:
    return load(TINY)


def recording(path: Path, seconds: float, pitch: float = 440.0, rate: int = 44_100) -> Path:
    """A tone on two channels, as a wav."""
    places = np.arange(round(seconds * rate)) / rate
    tone = 0.4 * np.sin(2 * np.pi * pitch * places)
    writer = encoder("wav", rate, rate, streamed=False, channels=2)
    writer.push(np.stack([tone, tone[::-1]], 1).astype(np.float32))
    path.write_bytes(writer.close())
    return path


def samples_of(content: bytes) -> np.ndarray:
    """A file's samples by ffmpeg, of shape (channels, samples)."""
    with av.open(io.BytesIO(content)) as container:
        [stream] = container.streams.audio
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
        channels = stream.channels
    if frames[0].shape[0] == 1:  # interleaved
        frames = [frame.reshape(-1, channels).T for frame in frames]
    return np.concatenate(frames, 1)


def run(engine: AceStepMusic, request: MusicRequest) -> Songs:
    """The answer; each song runs alone, as the batcher has it."""
    work = asyncio.run(engine.prepare(request))
    assert work.kind is None
    return work.finish([engine.run([Ticket(part)])[0] for part in work.parts])


def sound_of(engine: AceStepMusic, request: MusicRequest) -> np.ndarray:
    """What the device makes, before it is encoded."""
    [sound] = engine.run([Ticket(prepare(engine, request))])
    return sound


@pytest.fixture(scope="module")
def bare(folder) -> AceStepPipeline:
    """diffusers alone; the split of the checkpoint has a test of its own."""
    pipeline = pipeline_of(folder, torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def by_diffusers(bare: AceStepPipeline, seed: int = 7, **given: Any) -> np.ndarray:
    arguments = {
        "prompt": "calm piano", "lyrics": "[verse]\nla", "audio_duration": 10.0,
        "num_inference_steps": 2, "shift": 3.0, "guidance_scale": 1.0, "max_text_length": 2048,
        "max_lyric_length": 4096, "output_type": "np", **given,
    }  # fmt: skip
    torch.manual_seed(seed)
    made = bare(generator=torch.Generator().manual_seed(seed), **arguments)
    return np.asarray(made.audios[0])


# The checkpoint ---------------------------------------------------------------------------------

# As ``scripts/convert_ace_step_to_diffusers.py`` of diffusers renames the layers.
RENAMED = [
    ("proj_in.1.", "proj_in_conv."), ("proj_out.1.", "proj_out_conv."), (".q_proj.", ".to_q."),
    (".k_proj.", ".to_k."), (".v_proj.", ".to_v."), (".o_proj.", ".to_out.0."),
    (".q_norm.", ".norm_q."), (".k_norm.", ".norm_k."),
]  # fmt: skip


def test_the_checkpoint_is_split_as_diffusers_splits_it(bare, folder):
    stored = load_file(folder / "model.safetensors")
    for prefix, (part, _) in PARTS.items():
        expected = {}
        for name, value in stored.items():
            if name.startswith(f"{prefix}."):
                own = name.removeprefix(f"{prefix}.")
                for theirs, ours in RENAMED:
                    own = own.replace(theirs, ours)
                expected[own] = value
        if prefix == "encoder":
            expected["null_condition_emb"] = stored["null_condition_emb"]
            latents = torch.load(folder / "silence_latent.pt", weights_only=True)
            expected["silence_latent"] = latents.transpose(1, 2)
        loaded = getattr(bare, part).state_dict()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[name], value) for name, value in expected.items())
    assert sum(".q_proj." in name for name in stored) > 8, "ACE-Step's own names"


def test_the_real_checkpoint_has_as_many_tensors(folder):
    """677, counted in public conversions of the turbo checkpoint (678 with the silence)."""
    import inspect

    import diffusers
    from accelerate import init_empty_weights
    from diffusers.pipelines import ace_step

    real = json.loads((folder / "config.json").read_text()) | {
        "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 24,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "in_channels": 192,
        "audio_acoustic_hidden_dim": 64, "timbre_hidden_dim": 64, "text_hidden_dim": 1024,
        "num_lyric_encoder_hidden_layers": 8, "num_timbre_encoder_hidden_layers": 4,
        "fsq_dim": 2048, "layer_types": ["sliding_attention", "full_attention"] * 12,
    }  # fmt: skip
    count = parameters = 0
    for prefix, (_, name) in PARTS.items():
        kind = getattr(diffusers if prefix == "decoder" else ace_step, name)
        accepted = frozenset(inspect.signature(kind.__init__).parameters) - {"self"}
        with init_empty_weights():
            model = kind(**configuration(real, prefix, accepted))
        weights = {key: one for key, one in model.state_dict().items() if key != "silence_latent"}
        count += len(weights)
        parameters += sum(one.numel() for one in weights.values())
    assert count == 677
    assert 2 * parameters == pytest.approx(4_787_825_604, rel=1e-4)  # the file, in bfloat16


def test_the_latents_of_silence_are_used(bare, folder):
    """Zeros in their place make another song; they made the model drone."""
    with_silence = by_diffusers(bare)
    kept = bare.condition_encoder.silence_latent.clone()
    bare.condition_encoder.silence_latent.zero_()
    without = by_diffusers(bare)
    bare.condition_encoder.silence_latent.copy_(kept)
    assert np.abs(with_silence - without).max() > 0.01
    assert np.array_equal(with_silence, by_diffusers(bare))


@pytest.mark.parametrize(
    "gone", ["silence_latent.pt", "config.json", "vae", "Qwen3-Embedding-0.6B"]
)
def test_a_folder_that_lacks_a_part_is_named(folder, tmp_path, gone):
    copied(folder, tmp_path, gone)
    with pytest.raises(WeightsUnavailable, match=gone):
        AceStepMusic.load(tmp_path, TINY, CPU)


def test_a_checkpoint_of_another_model_is_named(folder, tmp_path):
    copied(folder, tmp_path, "model.safetensors")
    weights = load_file(folder / "model.safetensors")
    weights["decoder.surprise"] = weights.pop("decoder.condition_embedder.bias")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(WeightsUnavailable, match=r"condition_embedder.bias.*surprise"):
        AceStepMusic.load(tmp_path, TINY, CPU)


def test_a_checkpoint_without_audio_tokens_makes_songs_and_no_covers(folder, tmp_path):
    copied(folder, tmp_path, "model.safetensors")
    weights = load_file(folder / "model.safetensors")
    left = {name: one for name, one in weights.items() if "tokenizer." not in name}
    save_file(left, tmp_path / "model.safetensors")
    engine = AceStepMusic.load(tmp_path, TINY, CPU)
    assert len(run(engine, ASKED).songs) == 1
    source = recording(tmp_path / "source.wav", 2)
    with pytest.raises(UnsupportedParameter, match="src_audio"):
        prepare(engine, replace(ASKED, source=source))
    engine.close()


def copied(folder: Path, into: Path, but: str) -> None:
    for path in folder.iterdir():
        if path.name != but:
            (into / path.name).symlink_to(path)


# Songs ------------------------------------------------------------------------------------------


def test_a_song_is_diffusers_to_the_last_sample(engine, bare):
    """With every field that the model reads."""
    fields = {"bpm": 90, "keyscale": "F# minor", "timesignature": "3"}
    request = replace(ASKED, duration_s=10.0, language="de", shift=2.0, **fields)
    want = by_diffusers(bare, shift=2.0, vocal_language="de", **fields)
    assert np.array_equal(sound_of(engine, request), want)
    for name, value in fields.items():
        assert not np.array_equal(sound_of(engine, replace(request, **{name: None})), want), value


def test_several_songs_are_those_of_their_seeds(engine, bare):
    made = run(engine, replace(ASKED, seeds=(3, 4)))
    assert [song.seed for song in made.songs] == [3, 4]
    for song in made.songs:
        alone = run(engine, replace(ASKED, seeds=(song.seed,)))
        assert song.content == alone.songs[0].content
        want = np.clip(np.rint(by_diffusers(bare, song.seed) * 32767), -32767, 32767)
        assert np.array_equal(samples_of(song.content), want)
    assert made.songs[0].content != made.songs[1].content
    assert made.sound_tokens == 2 * 250


def test_a_prompt_is_encoded_once(engine):
    calls: list[int] = []
    hook = engine.pipeline.text_encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    request = replace(ASKED, caption="a harp, once", seeds=(1, 2))
    run(engine, request)
    run(engine, request)
    hook.remove()
    assert len(calls) == 1


@pytest.mark.parametrize("seconds", [10.0, 10.02, 11.523, 12.3375])
def test_a_song_has_the_duration_to_a_sample(engine, seconds):
    """Also where its latents are an odd number, or its end is within one."""
    made = run(engine, replace(ASKED, duration_s=seconds, steps=1))
    assert samples_of(made.songs[0].content).shape == (2, round(seconds * RATE_HZ))
    assert made.duration_s == pytest.approx(seconds, abs=1 / RATE_HZ)


CODECS = {"mp3": "mp3float", "aac": "aac", "opus": "opus", "flac": "flac", "wav": "pcm_s16le"}
FRAMES = {"mp3": 1152, "aac": 1024, "opus": 960, "flac": 0, "wav": 0}


@pytest.mark.parametrize("format_", CODECS)
def test_every_format_is_what_it_says_and_as_long_to_a_frame(engine, format_):
    made = run(engine, replace(ASKED, duration_s=10.5, steps=1, output=Output(format=format_)))
    [song] = made.songs
    with av.open(io.BytesIO(song.content)) as container:
        [stream] = container.streams.audio
        assert (stream.codec_context.codec.name, stream.channels) == (CODECS[format_], 2)
        assert stream.rate == (48_000 if format_ == "opus" else RATE_HZ) or made.rate_hz == RATE_HZ
        rate = stream.rate
    # AAC in ADTS has no place for the encoder's delay, which is a frame.
    slack = 2 * FRAMES[format_]
    length = samples_of(song.content).shape[1]
    assert abs(length - 10.5 * rate) <= slack
    assert made.format == format_
    loud = np.abs(samples_of(song.content)).max()
    assert loud > 0.5 * (32767 if samples_of(song.content).dtype.kind == "i" else 1)


def test_progress_is_told_over_all_songs(engine):
    work = asyncio.run(engine.prepare(replace(ASKED, seeds=(1, 2), steps=3)))
    tickets = [Ticket(part) for part in work.parts]
    for ticket in tickets:
        engine.run([ticket])
    events = [event for ticket in tickets for event in ticket.events]
    assert all(isinstance(event, Progress) for event in events)
    assert [(event.part, event.done) for event in events] == [
        (0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3),
    ]  # fmt: skip
    assert {(event.total, event.unit) for event in events} == {(6, "steps")}


def test_a_song_that_nobody_waits_for_ends_at_the_next_step(engine, monkeypatch):
    decoded: list[int] = []
    hook = engine.pipeline.vae.decoder.register_forward_pre_hook(lambda *_: decoded.append(1))
    ticket = Ticket(prepare(engine, replace(ASKED, steps=50)), cancel_at=3)
    before = engine.counters["music_songs"]
    assert engine.run([ticket]) == [None]
    hook.remove()
    assert len(ticket.events) == 3
    assert not decoded
    assert engine.counters["music_songs"] == before


def test_what_was_made_is_counted(engine):
    before = dict(engine.counters)
    run(engine, replace(ASKED, seeds=(1, 2), steps=1))
    gained = {name: value - before[name] for name, value in engine.counters.items()}
    assert gained["music_songs"] == 2
    assert gained["music_sound_seconds"] == pytest.approx(20)
    assert gained["music_run_seconds"] > 0


def test_twenty_five_songs_leave_the_memory_as_it_was(engine):
    process = psutil.Process()
    sizes = []
    for seed in range(25):
        run(engine, replace(ASKED, caption=f"song {seed}", seeds=(seed,), steps=1))
        sizes.append(process.memory_info().rss)
    assert sizes[-1] - sizes[4] < 24 * 2**20  # a song has 0.6 MB of samples, a tile some 20


# Memory -----------------------------------------------------------------------------------------


def test_long_songs_are_decoded_in_tiles(engine, bare):
    sound = sound_of(engine, replace(ASKED, duration_s=22.0, steps=1))
    bare.vae.enable_tiling()
    tiled = by_diffusers(bare, audio_duration=22.0, num_inference_steps=1)
    bare.vae.disable_tiling()
    whole = by_diffusers(bare, audio_duration=22.0, num_inference_steps=1)
    assert np.array_equal(sound, tiled)
    assert np.abs(sound - whole).max() < 0.02


@pytest.mark.anyio
@pytest.mark.parametrize("fits", [True, False])
async def test_a_song_that_is_out_of_memory_is_decoded_in_shorter_tiles(engine, fits):
    lengths: list[int] = []

    def small(_: Any, args: tuple[Any, ...]) -> None:
        lengths.append(args[0].shape[-1])
        if lengths[-1] > (128 if fits else 0):
            raise torch.OutOfMemoryError("out of memory")

    hook = engine.pipeline.vae.decoder.register_forward_pre_hook(small)
    batcher = Batcher(engine, 1)
    request = replace(ASKED, duration_s=22.0, steps=1)
    try:
        work = await engine.prepare(request)
        if fits:
            [sound] = await batcher.submit(work)
            assert sound.shape == (2, 22 * RATE_HZ)
            assert lengths[0] == 448
            assert max(lengths[1:]) == 128
        else:
            with pytest.raises(Exception, match="ran out of memory"):
                await batcher.submit(work)
    finally:
        hook.remove()
    work = await engine.prepare(replace(request, steps=2))
    assert (await batcher.submit(work))[0].shape == (2, 22 * RATE_HZ), "served on"
    assert engine.pipeline.vae.tile_latent_min_length == 512


# Recordings -------------------------------------------------------------------------------------


def heard(path: Path) -> torch.Tensor:
    from models.music import recording as reading

    return torch.from_numpy(asyncio.run(reading.decode(path, "x", RATE_HZ, 600)))


def test_a_recording_gives_its_timbre(engine, bare, tmp_path):
    path = recording(tmp_path / "timbre.wav", 4.0)
    sound = sound_of(engine, replace(ASKED, reference=path))
    assert np.array_equal(sound, by_diffusers(bare, reference_audio=heard(path)))
    assert not np.array_equal(sound, by_diffusers(bare))
    state = torch.random.get_rng_state()
    assert np.array_equal(sound, sound_of(engine, replace(ASKED, reference=path))), "by the seed"
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("strength", [None, 0.5])
def test_a_cover_follows_its_source(engine, bare, tmp_path, strength):
    path = recording(tmp_path / "source.wav", 12.345)
    given = {} if strength is None else {"audio_cover_strength": strength}
    made = run(engine, replace(ASKED, source=path, cover_strength=strength))
    source = heard(path)
    padded = torch.nn.functional.pad(source, (0, -source.shape[1] % HOP))
    want = by_diffusers(
        bare, task_type="cover", src_audio=padded, audio_duration=source.shape[1] / RATE_HZ, **given
    )
    got = samples_of(made.songs[0].content)
    assert got.shape[1] == source.shape[1] == round(12.345 * RATE_HZ)
    assert np.array_equal(got, np.clip(np.rint(want[:, : got.shape[1]] * 32767), -32767, 32767))
    assert made.task == "cover"
    assert not np.array_equal(got[:, :80_000], samples_of(run(engine, ASKED).songs[0].content))


def test_a_cover_has_its_sources_length_and_says_so(engine, tmp_path):
    path = recording(tmp_path / "source.wav", 2.0)
    made = run(engine, replace(ASKED, source=path, duration_s=30.0, steps=1))
    assert made.duration_s == 2.0
    assert [one.param for one in made.left_out] == ["duration"]
    with pytest.raises(UnsupportedParameter):
        run(engine, replace(ASKED, source=path, duration_s=30.0, strict=True))


@pytest.mark.parametrize("format_", ["mp3", "opus", "aac", "flac", "wav"])
def test_recordings_come_in_any_form(tmp_path, format_):
    writer = encoder(format_, 44_100, 48_000, streamed=False)
    writer.push(0.3 * np.sin(np.arange(44_100 * 2) * 0.05).astype(np.float32))
    path = tmp_path / "recording"
    path.write_bytes(writer.close())
    sound = heard(path)
    assert sound.shape[0] == 2
    assert sound.shape[1] / RATE_HZ == pytest.approx(2, abs=0.06)
    assert float(sound.abs().max()) > 0.15


def test_recordings_that_are_none_are_refused_by_name(engine, tmp_path):
    def refusal(content: bytes, most_s: float = 600) -> str:
        from models.music import recording as reading

        path = tmp_path / "recording"
        path.write_bytes(content)
        with pytest.raises(MediaUndecodable) as caught:
            asyncio.run(reading.decode(path, "reference_audio", RATE_HZ, most_s))
        assert caught.value.param == "reference_audio"
        return caught.value.code

    whole = recording(tmp_path / "whole.wav", 3.0).read_bytes()
    assert refusal(b"") == "media_empty"
    assert refusal(b"no sound at all" * 100) == "media_undecodable"
    assert refusal(whole[:44]) == "media_undecodable"
    assert refusal(recording(tmp_path / "short.wav", 0.5).read_bytes()) == "media_too_short"
    assert refusal(whole, most_s=2.5) == "media_too_long"
    assert refusal(b"#EXTM3U\n#EXTINF:1\nfile:///etc/passwd\n") == "media_undecodable"


def test_recordings_that_want_to_cost_much_cost_little(tmp_path, monkeypatch):
    """Hours of silence in a few bytes, and samples that resampling would make a million times."""
    from models.music import recording as reading

    long = silent_flac(tmp_path / "long.flac", 12)
    slow = flac_of_large_frames(tmp_path / "slow.flac", rate=1, count=3)
    fast = tmp_path / "fast.wav"
    fast.write_bytes((ROOT / "tests/corpus/audio/rate.wav").read_bytes())
    assert long.stat().st_size < 2**20
    refused = ((long, "media_too_long"), (fast, "media_undecodable"), (slow, "media_undecodable"))
    for path, code in refused:
        with (
            nothing_left(tmp_path / path.stem, monkeypatch),
            pytest.raises(MediaUndecodable) as caught,
        ):
            asyncio.run(reading.decode(path, "src_audio", 48_000, 600))
        assert caught.value.code == code
    assert "fewer than 2,000 samples" in caught.value.message


# Fields -----------------------------------------------------------------------------------------


def test_guidance_changes_nothing_and_is_named(engine):
    made: Songs = run(engine, replace(ASKED, guidance=7.0, steps=1))
    assert [one.param for one in made.left_out] == ["guidance_scale"]
    assert run(engine, replace(ASKED, guidance=1.0, steps=1)).left_out == ()
    assert made.songs[0].content == run(engine, replace(ASKED, steps=1)).songs[0].content
    with pytest.raises(UnsupportedParameter, match="guidance_scale"):
        run(engine, replace(ASKED, guidance=7.0, strict=True))


@pytest.mark.parametrize("param", ["caption", "lyrics"])
def test_texts_that_the_encoder_would_cut_are_refused(engine, param):
    with pytest.raises(ContextLengthExceeded, match=param) as caught:
        prepare(engine, replace(ASKED, **{param: "la " * 1500}))
    assert caught.value.param == param


def test_a_real_model_reads_what_the_pipeline_reads():
    options = CATALOG.find("AceStep_1_5_Turbo").options
    assert (options["text_tokens"], options["lyric_tokens"]) == (256, 2048)


def test_the_region_of_a_language_is_left_out_and_named(engine):
    made = run(engine, replace(ASKED, language="de-AT", steps=1))
    assert [(one.param, one.message) for one in made.left_out] == [
        ("vocal_language", "de-AT is read as de.")
    ]
    plain = run(engine, replace(ASKED, language="DE", steps=1))
    assert (plain.left_out, plain.songs[0].content) == ((), made.songs[0].content)


def test_the_strength_of_no_cover_is_named(engine):
    made = run(engine, replace(ASKED, cover_strength=0.5, steps=1))
    assert [one.param for one in made.left_out] == ["audio_cover_strength"]


# Delivery ---------------------------------------------------------------------------------------

QUEUE = {"as_base64": True, "inline_limit_bytes": 1_500_000, "limit_bytes": 9_500_000}


def bits(seconds: float, songs: int = 1, **output: Any) -> int | None:
    from models.leniency import Leniency
    from models.music.delivery import chosen

    return chosen(Output(**output), 48_000, seconds, songs, Leniency(False)).bits


@pytest.mark.parametrize(
    ("seconds", "output", "expected"),
    [
        (60, {}, 192_000),
        (600, {}, 192_000),
        (40, QUEUE, 192_000),
        (60, QUEUE, 128_000),
        (120, QUEUE, 96_000),  # larger than it should be: quality has a floor
        (300, QUEUE, 96_000),
        (600, QUEUE, 64_000),
        (60, {**QUEUE, "is_chosen": True}, 192_000),
        (600, {**QUEUE, "is_chosen": True}, 64_000),
        (600, {**QUEUE, "format": "opus", "is_chosen": True}, 64_000),
        (30, {**QUEUE, "format": "flac", "is_chosen": True}, None),
    ],
)
def test_the_best_bit_rate_that_fits_is_chosen(seconds, output, expected):
    assert bits(seconds, **output) == expected


@pytest.mark.parametrize(
    ("seconds", "songs", "output", "param"),
    [
        (60, 1, {**QUEUE, "format": "wav", "is_chosen": True}, "format"),
        (60, 1, {**QUEUE, "format": "flac", "is_chosen": True}, "format"),
        (600, 2, {**QUEUE, "is_chosen": True}, "format"),
        (600, 2, QUEUE, "duration"),
    ],
)
def test_what_no_answer_holds_is_refused_before_it_is_made(seconds, songs, output, param):
    with pytest.raises(InvalidValue, match=r"MB, and an answer holds 9\.5.*BUCKET_") as caught:
        bits(seconds, songs, **output)
    assert (caught.value.code, caught.value.param) == ("output_too_large", param)


@pytest.mark.parametrize("format_", ["mp3", "aac", "opus", "flac", "wav"])
def test_noise_does_not_outgrow_what_was_reckoned(format_):
    """The worst that can come of a model; an answer that is larger would be lost."""
    from models.leniency import Leniency
    from models.music.delivery import chosen

    noise = np.random.default_rng(1).uniform(-0.9, 0.9, (2, 48_000 * 3)).astype(np.float32)
    fitting = 0
    for limit_bytes in (650_000, 180_000, 42_000):
        output = Output(format=format_, is_chosen=True, limit_bytes=limit_bytes)
        try:
            encoding = chosen(output, 48_000, 3.0, 1, Leniency(False))
        except InvalidValue:
            continue
        assert len(encoding.write(noise)) <= limit_bytes
        fitting += 1
    assert fitting == (3 if format_ in {"mp3", "aac", "opus"} else 1)


def test_the_vae_is_diffusers_and_the_schedule_is_the_pipelines(bare):
    assert isinstance(bare.vae, AutoencoderOobleck)
    assert isinstance(bare.scheduler, FlowMatchEulerDiscreteScheduler)
    assert (bare.scheduler.config.num_train_timesteps, bare.scheduler.config.shift) == (1, 1.0)
    assert bare.is_turbo
