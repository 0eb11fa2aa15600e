"""Videos beside diffusers' own pipelines, on a tiny LTX-2.3; and its checkpoint in every layout."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from diffusers.pipelines.ltx2.utils import DISTILLED_SIGMA_VALUES
from PIL import Image
from safetensors.torch import save_file

from models.errors import (
    ContextLengthExceeded,
    InvalidValue,
    MediaUndecodable,
    UnsupportedParameter,
    WeightsUnavailable,
)
from models.images.request import Adapter, ImageRequest, Images, Output, Picture, Video
from models.images.video.delivery import fitting
from models.images.video.engine import LtxVideo
from models.images.video.mp4 import QUALITIES, likely_bytes, mp4, stills
from models.images.video.weights import NAMES, ltx_transformer
from models.work import Progress
from tests.conftest import CPU, row
from tests.support.checkpoints import LAYOUTS, stored
from tests.support.driving import Ticket, prepare, run

TINY = row("Tiny_Ltx2")
SIZE = (96, 64)
ASKED = ImageRequest("waves", (7,), width=96, height=64, video=Video(frames=9))


def picture(shade: int = 200) -> bytes:
    made = Image.linear_gradient("L").resize(SIZE).convert("RGB")
    made.paste((shade, 40, 90), (20, 10, 70, 50))
    buffer = io.BytesIO()
    made.save(buffer, "PNG")
    return buffer.getvalue()


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.fixture(scope="module")
def engine(load) -> LtxVideo:
    return load(TINY)


@contextmanager
def counted(engine: LtxVideo) -> Iterator[list[int]]:
    """The calls of the transformer."""
    calls: list[int] = []
    hook = engine._first.transformer.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        yield calls
    finally:
        hook.remove()


def frames_of(engine: LtxVideo, request: ImageRequest) -> tuple[Any, Any]:
    """What the device makes, before it is encoded."""
    [(frames, (sound, rate_hz))] = engine.run([Ticket(prepare(engine, request))])
    assert rate_hz == 48_000
    return frames, sound


def bare(engine: LtxVideo, name: str, **arguments: Any) -> tuple[Any, Any]:
    """The same by diffusers alone."""
    made = getattr(diffusers, name)(**engine._first.components)
    made.set_progress_bar_config(disable=True)
    result = made(
        prompt="waves", width=96, height=64, num_frames=9, frame_rate=24.0, num_inference_steps=8,
        sigmas=DISTILLED_SIGMA_VALUES, guidance_scale=1.0, audio_guidance_scale=1.0, stg_scale=0.0,
        audio_stg_scale=0.0, modality_scale=1.0, audio_modality_scale=1.0, guidance_rescale=0.0,
        audio_guidance_rescale=0.0, spatio_temporal_guidance_blocks=None, output_type="np",
        generator=torch.Generator().manual_seed(7), max_sequence_length=1024, **arguments,
    )  # fmt: skip
    return np.rint(result.frames[0] * 255).astype(np.uint8), result.audio[0].numpy()


FIRST, LAST = picture(), picture(30)
WAYS = {
    "LTX2Pipeline": (ASKED, {}),
    "LTX2ImageToVideoPipeline": (replace(ASKED, images=(FIRST,)), {"image": FIRST}),
    "LTX2ConditionPipeline": (
        replace(ASKED, images=(FIRST,), video=Video(frames=9, last=LAST)),
        {"conditions": ((FIRST, 0), (LAST, 8))},
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_videos_are_diffusers_in_eight_runs_of_the_transformer(engine, name):
    request, given = WAYS[name]
    with counted(engine) as calls:
        frames, sound = frames_of(engine, request)
    assert len(calls) == 8  # not twenty-four
    arguments: dict[str, Any] = {}
    if "image" in given:
        arguments["image"] = opened(given["image"])
    if "conditions" in given:
        arguments["conditions"] = [
            LTX2VideoCondition(opened(one), index) for one, index in given["conditions"]
        ]
    expected, expected_sound = bare(engine, name, **arguments)
    assert frames.shape == (9, 64, 96, 3)
    assert np.array_equal(frames, expected)
    assert np.array_equal(sound, expected_sound)
    made = [engine.pipeline(conditioning) for conditioning in ("words", "first", "frames")]
    assert len({id(pipeline.transformer) for pipeline in made}) == 1


def test_the_last_frame_alone_may_be_given(engine):
    request = replace(ASKED, video=Video(frames=9, last=LAST))
    expected, _ = bare(
        engine, "LTX2ConditionPipeline", conditions=[LTX2VideoCondition(opened(LAST), 8)]
    )
    assert np.array_equal(frames_of(engine, request)[0], expected)


def test_the_first_frame_is_what_the_model_makes_of_the_picture(engine):
    """As its VAE gives it back; another picture is another first frame."""
    vae = engine._first.vae
    pixels = torch.from_numpy(np.asarray(opened(FIRST)) / 127.5 - 1).float().permute(2, 0, 1)
    with torch.inference_mode():
        latents = vae.encode(pixels[None, :, None]).latent_dist.mode()
        back = vae.decode(latents.repeat(1, 1, 2, 1, 1)).sample[0, :, 0]
    expected = ((back.clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0).numpy()
    first = frames_of(engine, replace(ASKED, images=(FIRST,)))[0][0].astype(float)
    other = frames_of(engine, replace(ASKED, images=(LAST,)))[0][0].astype(float)
    assert np.abs(first - expected).mean() < np.abs(other - expected).mean()


def test_a_seed_is_a_video(engine):
    one, again, other = (frames_of(engine, replace(ASKED, seeds=(seed,)))[0] for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


# The file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (24.0, Fraction(24)),
        (23.976, Fraction(24_000, 1001)),
        (12.5, Fraction(25, 2)),
        (1.0, Fraction(1)),
    ],
)
def test_a_player_finds_what_was_made(engine, fps, exact):
    request = replace(ASKED, video=Video(frames=17, fps=fps))
    made: Images = run(engine, request)
    [video] = made.pictures
    assert (video.format, video.width, video.height) == ("mp4", 96, 64)
    assert (video.frames, video.seed) == (17, 7)
    assert video.fps == pytest.approx(fps, abs=1e-3)
    with av.open(io.BytesIO(video.content)) as container:
        seen, heard = container.streams.video[0], container.streams.audio[0]
        assert seen.codec_context.name == "h264"
        assert seen.average_rate == exact
        assert (seen.width, seen.height) == SIZE
        assert (heard.codec_context.name, heard.rate, heard.layout.name) == ("aac", 48000, "stereo")
        assert sum(1 for _ in container.decode(video=0)) == 17
        container.seek(0)
        samples = sum(frame.samples for frame in container.decode(audio=0))
        assert samples / 48000 == pytest.approx(17 / fps, abs=0.1)
    assert video.content.index(b"moov") < video.content.index(b"mdat")  # plays while it comes
    assert made.prompt_tokens == 5


@pytest.mark.parametrize(
    ("fps", "exact"),
    [
        (1, Fraction(1)), (1.5, Fraction(3, 2)), (2, Fraction(2)), (12, Fraction(12)),
        (23.976, Fraction(24_000, 1001)), (23.98, Fraction(24_000, 1001)), (24, Fraction(24)),
        (25, Fraction(25)), (29.97, Fraction(30_000, 1001)), (30, Fraction(30)),
        (59.94, Fraction(60_000, 1001)), (60, Fraction(60)), (119.88, Fraction(120_000, 1001)),
        (120, Fraction(120)), (24.5, Fraction(49, 2)), (7.3, Fraction(73, 10)),
    ],
)  # fmt: skip
def test_a_rate_is_kept_exactly(engine, fps, exact):
    """A whole one above all: one frame a second became 0.999."""
    clip = prepare(engine, replace(ASKED, video=Video(frames=9, fps=float(fps))))
    assert clip.fps == exact
    frames = np.zeros((9, 64, 96, 3), np.uint8)
    with av.open(io.BytesIO(mp4(frames, clip.fps))) as container:
        seen = container.streams.video[0]
        assert seen.average_rate == exact
        times = [frame.pts * frame.time_base for frame in container.decode(seen)]
        assert times[-1] - times[0] == 8 / exact


COLOURS = [
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255),
    (200, 80, 40), (30, 90, 160), (128, 128, 128), (255, 255, 255), (0, 0, 0),
]  # fmt: skip


def of_colours(side: int = 64) -> Any:
    return np.broadcast_to(
        np.array(COLOURS, np.uint8)[:, None, None], (len(COLOURS), side, side, 3)
    )


def test_colours_are_those_of_television_in_high_definition():
    """By the formula of BT.709, and the file says so: for players that would guess BT.601."""
    content = mp4(of_colours(), Fraction(24))
    with av.open(io.BytesIO(content)) as container:
        codec = container.streams.video[0].codec_context
        tags = (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range)
        assert tags == (1, 1, 1, 1)  # BT.709 thrice, and the range of television
        frames = list(container.decode(video=0))
    for frame, colour in zip(frames, COLOURS, strict=True):
        planes = frame.to_ndarray(format="yuv420p")
        stored = planes[10, 10], planes[64:80].ravel()[100], planes[80:].ravel()[100]
        red, green, blue = (value / 255 for value in colour)
        luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        expected = (
            16 + 219 * luma,
            128 + 224 * (blue - luma) / 1.8556,
            128 + 224 * (red - luma) / 1.5748,
        )
        assert np.abs(np.array(stored, float) - expected).max() <= 2, colour
        assert frame.colorspace == 1
    assert content[content.index(b"colr") :][:15] == b"colrnclx\0\1\0\1\0\1\0"


def test_colours_come_back_as_they_were():
    shown = stills(mp4(of_colours(), Fraction(24)), len(COLOURS))
    for still, colour in zip(shown, COLOURS, strict=True):
        assert np.abs(np.asarray(opened(still)).astype(int) - colour).max() <= 4, colour


def test_a_video_for_an_answer_is_made_smaller_in_steps_and_it_is_said():
    chance = np.random.default_rng(1)
    frames = chance.integers(0, 256, (9, 64, 96, 3), np.uint8)

    @cache  # x264 may encode the same frames a second time with another size
    def encoded(quality: int) -> bytes:
        return mp4(frames, Fraction(24), quality=quality)

    def encode(*, quality: int = QUALITIES[0]) -> bytes:
        return encoded(quality)

    sizes = {quality: len(encode(quality=quality)) * 4 / 3 for quality in QUALITIES}
    assert sizes[18] > sizes[23] > sizes[28]
    for quality in QUALITIES:
        limit = int(sizes[quality]) + 1
        content, warnings = fitting(encode, Output(inline_limit_bytes=limit))
        assert len(content) * 4 / 3 == sizes[quality]
        assert [f"factor of {quality}" in one.message for one in warnings] == [True] * (
            quality > 18
        )
    content, [warning] = fitting(encode, Output(inline_limit_bytes=100))
    assert len(content) * 4 / 3 == sizes[28]
    assert "s3Config" in warning.message
    assert "more than the 0.0" in warning.message
    for output in (Output("mp4", inline_limit_bytes=100), Output()):
        assert fitting(encode, output) == (encode(), ())


def test_a_copy_of_a_video_fits_an_event_or_there_is_none(engine):
    [whole] = run(engine, replace(ASKED, output=Output(copy_limit_bytes=10**6))).pictures
    assert whole.copy is not None
    assert whole.copy() == replace(whole, copy=None)
    # Below what x264 varies by between two runs.
    limit = int(len(whole.content) * 4 / 3 * 0.95)
    [video] = run(engine, replace(ASKED, output=Output(copy_limit_bytes=limit))).pictures
    assert video.copy is not None
    copy = video.copy()
    assert copy is not None
    assert len(copy.content) < len(video.content)
    assert len(copy.content) * 4 / 3 <= limit
    [video] = run(engine, replace(ASKED, output=Output(copy_limit_bytes=100))).pictures
    assert video.copy is not None
    assert video.copy() is None


def test_a_transparent_frame_lies_on_white_and_it_is_said(engine):
    hidden = Image.new("RGBA", SIZE, (0, 255, 0, 0))
    hidden.paste((200, 40, 90, 255), (20, 10, 70, 50))
    white = Image.new("RGB", SIZE, "white")
    white.paste((200, 40, 90), (20, 10, 70, 50))
    contents = []
    for one in (hidden, white):
        buffer = io.BytesIO()
        one.save(buffer, "PNG")
        contents.append(buffer.getvalue())
    for fields in ("images", "last"):
        requests = [
            replace(ASKED, images=(one,))
            if fields == "images"
            else replace(ASKED, video=Video(frames=9, last=one))
            for one in contents
        ]
        seen, plain = (prepare(engine, one) for one in requests)
        shown = [one.first if fields == "images" else one.last for one in (seen, plain)]
        assert shown[0].tobytes() == shown[1].tobytes()
        warnings = run(engine, requests[0]).left_out
        assert [one.param for one in warnings] == ["image" if fields == "images" else "last_image"]


def test_one_frame_is_a_video_too(engine):
    [video] = run(engine, replace(ASKED, video=Video(frames=1))).pictures
    with av.open(io.BytesIO(video.content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 1


def test_a_silent_one_has_no_sound(engine):
    [video] = run(engine, replace(ASKED, video=Video(frames=9, sound=False))).pictures
    with av.open(io.BytesIO(video.content)) as container:
        assert [one.type for one in container.streams] == ["video"]


def test_pictures_come_back_as_they_were():
    """x264's loss is not seen."""
    shades = np.linspace(0, 255, 8).astype(np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (8, 64, 96, 3))
    shown = stills(mp4(frames, Fraction(24)), 3)
    means = [np.asarray(opened(one)).mean() for one in shown]
    assert means == [pytest.approx(one, abs=4) for one in (0, shades[4], 255)]
    assert len(stills(mp4(frames[:1], Fraction(24)))) == 1


# What is asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "param"),
    [
        ({"prompt": ""}, InvalidValue, "prompt"),
        ({"prompt": "wave " * 300}, ContextLengthExceeded, "prompt"),
        ({"seeds": (1, 2)}, InvalidValue, "n"),
        ({"images": (FIRST, LAST)}, InvalidValue, "image"),
        ({"images": (b"no picture",)}, MediaUndecodable, "image"),
        ({"video": Video(last=b"no picture")}, MediaUndecodable, "last_image"),
        ({"negative_prompt": "rain"}, UnsupportedParameter, "negative_prompt"),
        ({"guidance": 3.0}, UnsupportedParameter, "guidance"),
        ({"steps": 30}, UnsupportedParameter, "steps"),
        ({"strength": 0.5}, UnsupportedParameter, "strength"),
        ({"scheduler": "euler"}, UnsupportedParameter, "scheduler"),
        ({"mask": FIRST}, UnsupportedParameter, "mask"),
        ({"adapters": (Adapter("x", Path("x")),)}, UnsupportedParameter, "loras"),
        ({"scale": 2}, UnsupportedParameter, "scale"),
        ({"background": "transparent"}, UnsupportedParameter, "background"),
        ({"video": Video(frames=1000)}, InvalidValue, "frames"),
        ({"width": 2048, "height": 2048}, InvalidValue, "frames"),
        ({"output": Output(limit_bytes=100_000)}, InvalidValue, "frames"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(engine, changes, error, param):
    with pytest.raises(error) as caught:
        engine.prepare(replace(ASKED, **changes))
    assert caught.value.param == param
    if "output" in changes:
        assert caught.value.code == "output_too_large"


def test_what_changes_nothing_is_taken(engine):
    clip = prepare(engine, replace(ASKED, guidance=1.0, steps=8, strength=1.0, scale=1))
    assert (clip.frames, clip.fps, clip.sound) == (9, 24, True)


def test_sides_and_lengths_are_made_to_fit_and_it_is_said(engine):
    request = replace(ASKED, width=100, height=40, video=Video(frames=14))
    work = engine.prepare(request)
    [clip] = work.parts
    assert (clip.width, clip.height, clip.frames) == (96, 64, 17)
    told = run(engine, request).left_out
    assert [(one.param, one.message.rpartition(": ")[2]) for one in told] == [
        ("size", "100x40 became 96x64."), ("frames", "14 became 17."),
    ]  # fmt: skip
    with pytest.raises(InvalidValue, match="multiples of 32"):
        engine.prepare(replace(request, strict=True))
    lengths = {
        prepare(engine, replace(ASKED, video=Video(seconds=seconds))).frames
        for seconds in (0.01, 0.4, 1.0)
    }
    assert lengths == {1, 9, 25}
    plain = prepare(engine, ImageRequest("waves"))
    assert (plain.width, plain.height, plain.frames) == (96, 64, 17)
    tall = prepare(engine, ImageRequest("waves", images=(rotated(),)))
    assert (tall.width, tall.height) == (64, 96)
    assert tall.first.size == (64, 96)


def rotated() -> bytes:
    buffer = io.BytesIO()
    opened(FIRST).rotate(90, expand=True).save(buffer, "PNG")
    return buffer.getvalue()


# On the device ------------------------------------------------------------------------------------


def test_progress_and_cancelling_between_steps(engine):
    item = prepare(engine, ASKED)
    ticket = Ticket(item)
    engine.run([ticket])
    assert [(one.done, one.total, one.unit) for one in ticket.events] == [
        (step, 8, "steps") for step in range(1, 9)
    ]
    stopped = Ticket(item, cancel_at=3)
    with counted(engine) as calls:
        assert engine.run([stopped]) == [None]
    assert len(calls) == 3
    assert all(isinstance(one, Progress) for one in stopped.events)


def test_one_that_is_out_of_memory_is_decoded_in_tiles(engine, monkeypatch):
    """When it is begun again; the next one is not."""
    vae, tiled = engine._first.vae, []
    decode = vae.decode

    def small(*args: Any, **kwargs: Any) -> Any:
        tiled.append(vae.use_tiling)
        if not vae.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(*args, **kwargs)

    with monkeypatch.context() as full:
        full.setattr(vae, "decode", small)
        item = prepare(engine, ASKED)
        with pytest.raises(torch.OutOfMemoryError):
            engine.run([Ticket(item)])
        [(frames, _)] = engine.run([Ticket(item)])
        assert frames.shape == (9, 64, 96, 3)
    assert tiled == [False, True]
    assert not vae.use_tiling


@pytest.mark.slow
def test_twenty_videos_keep_the_memory(engine):
    import psutil

    process, sizes = psutil.Process(), []
    for number in range(25):
        run(engine, replace(ASKED, seeds=(number,)))
        sizes.append(process.memory_info().rss)
    print(f"{sizes[4] / 1e6:.0f} MB after 5, {sizes[-1] / 1e6:.0f} MB after 25")
    assert sizes[-1] < 1.03 * sizes[4]


# Checkpoints --------------------------------------------------------------------------------------


def theirs(name: str) -> str:
    """A name of diffusers' as Lightricks writes it."""
    for original, ours in NAMES.items():
        name = name.replace(ours, original)
    return f"model.diffusion_model.{name}"


@pytest.fixture
def folder(store, tmp_path) -> Path:
    """A pipeline whose transformer is a file of its own, which is not there yet."""
    import shutil

    made = tmp_path / "ltx"
    shutil.copytree(store.resolve(TINY), made)
    (made / "transformer/diffusion_pytorch_model.safetensors").unlink()
    return made


def transformer(store: Any) -> Any:
    return diffusers.LTX2VideoTransformer3DModel.from_pretrained(
        store.resolve(TINY) / "transformer"
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gateways_file_makes_nearly_the_same_video(engine, store, folder, layout):
    weights = {theirs(name): one for name, one in stored(transformer(store), layout).items()}
    weights |= {
        "model.diffusion_model.video_embeddings_connector.x": torch.ones(1),
        "vae.decoder.conv_in.weight": torch.ones(2),
        "text_embedding_projection.weight": torch.ones(2, 2),
    }
    save_file(weights, folder / "ltx-2.3-22b-distilled_qint8.safetensors")
    other = LtxVideo.load(folder, TINY, CPU)
    ours, whole = (frames_of(one, ASKED)[0].astype(float) for one in (other, engine))
    assert np.abs(ours - whole).mean() < 3  # of 255, after eight steps
    assert not np.array_equal(ours, whole)  # bfloat16 or eight bits: it is another file


def test_a_file_without_a_prefix_is_read_too(store, folder):
    plain = {theirs(k).partition("model.")[2].partition(".")[2]: v
             for k, v in stored(transformer(store), "plain").items()}  # fmt: skip
    file = folder / "x.safetensors"
    save_file(plain, file)
    read = ltx_transformer(file, folder, torch.float32)
    want = transformer(store).state_dict()
    for name, one in read.state_dict().items():
        assert torch.equal(one, want[name].to(torch.bfloat16).float()), name


def test_a_file_that_does_not_fit_is_said_to(store, folder):
    file = folder / "x.safetensors"
    weights = {theirs(name): one for name, one in stored(transformer(store), "quanto").items()}
    lost = next(name for name in weights if name.endswith("patchify_proj.weight._data"))
    for part in ("_data", "_scale"):
        weights.pop(lost.removesuffix("_data") + part)
    save_file(weights, file)
    with pytest.raises(WeightsUnavailable, match=r"missing (audio_)?proj_in\.weight"):
        LtxVideo.load(folder, TINY, CPU)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsUnavailable, match="not fully covered"):
        LtxVideo.load(folder, TINY, CPU)
    save_file({"a.weight": torch.ones(2, 2).to(torch.float8_e4m3fn)}, file)
    with pytest.raises(WeightsUnavailable, match="stored as fp8"):
        LtxVideo.load(folder, TINY, CPU)


def test_the_names_are_those_of_the_published_checkpoint(store):
    """Those that Lightricks' own files have, of parts that diffusers calls otherwise."""
    names = {theirs(name).removeprefix("model.diffusion_model.") for name in
             transformer(store).state_dict()}  # fmt: skip
    for known in (
        "patchify_proj.weight", "audio_patchify_proj.bias", "adaln_single.linear.weight",
        "audio_adaln_single.emb.timestep_embedder.linear_1.weight",
        "prompt_adaln_single.linear.weight", "audio_prompt_adaln_single.linear.bias",
        "av_ca_video_scale_shift_adaln_single.linear.weight",
        "av_ca_a2v_gate_adaln_single.linear.weight",
        "av_ca_v2a_gate_adaln_single.linear.weight",
        "transformer_blocks.0.attn1.q_norm.weight",
        "transformer_blocks.1.scale_shift_table_a2v_ca_video",
    ):  # fmt: skip
        assert known in names, known


def test_a_picture_of_a_video_is_made_when_it_is_wanted(engine):
    [video] = run(engine, ASKED).pictures
    assert isinstance(video, Picture)
    assert [opened(one).size for one in video.stills()] == [SIZE] * 3
    assert likely_bytes(96, 64, 9) > len(video.content)
