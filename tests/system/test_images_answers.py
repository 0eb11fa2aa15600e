"""Every image model of the catalog through the SDK's loop, beside its library on the same weights."""

from __future__ import annotations

import asyncio
import base64
import io
from dataclasses import replace
from typing import Any

import av
import diffusers
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from handler.assemble import assemble
from handler.settings.variables import Settings
from models.catalog import CATALOG
from models.pipelines import quantized
from models.row import Catalog
from tests.conftest import row, tiny
from tests.support.sdk_platform import Platform, running, until

pytestmark = pytest.mark.anyio

# Each slug with tiny weights of its architecture, and the class that its hub's page names.
PAINTERS = {
    "Flux1schnell": ("flux", "FluxPipeline"),
    "Flux_2_Klein_4B_BF16": ("flux2-klein", "Flux2KleinPipeline"),
    "ZImageTurbo_INT8": ("z-image", "ZImagePipeline"),
    "SDXL": ("sdxl", "StableDiffusionXLPipeline"),
}
VIDEO = {"model": "Ltx2_3_22B_Dist_INT8", "prompt": "waves", "width": 96, "height": 64, "frames": 9,
         "fps": 24, "steps": 8, "guidance": 1, "seed": 1}  # fmt: skip  # as the gateway sends it
EDITORS = {"RealESRGAN_x4": "esrgan", "Ben2": "ben2"}


def drawing(width: int, height: int) -> Image.Image:
    made = Image.new("RGB", (width, height), "navy")
    ImageDraw.Draw(made).ellipse((8, 8, width - 8, height - 8), "orange", "white", 3)
    return made


def uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def small(slug: str) -> Any:
    if slug in PAINTERS:
        return tiny(slug, PAINTERS[slug][0])
    if slug == VIDEO["model"]:
        return replace(tiny(slug, "ltx2"), mirrors=())
    options = row("Tiny_Ben2").options if slug == "Ben2" else {}
    return replace(tiny(slug, EDITORS[slug]), options=options)


@pytest.fixture
def answers(monkeypatch):
    """What the platform is told of jobs for a model, served as an endpoint of it alone."""

    async def told(slug: str, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
        rows = [small(one.slug) if one.slug == slug else one for one in CATALOG.rows]
        monkeypatch.setattr("handler.assemble.CATALOG", Catalog(rows))
        worker = assemble(Settings.from_env({"MODEL_SLUG": slug, "DEVICE": "cpu"}))
        platform = Platform()
        async with running(platform, worker):
            for index, body in enumerate(bodies):
                platform.put(f"job-{index}", body)
            await until(lambda: len(results(platform)) == len(bodies), 60)
        return [results(platform)[f"job-{index}"] for index in range(len(bodies))]

    return told


def results(platform: Platform) -> dict[str, Any]:
    done = [(job, content) for kind, job, content in platform.posts if kind == "done"]
    return {job: one["output"] for job, one in done if one.get("status") != "IN_PROGRESS"}


def opened(answer: dict[str, Any], index: int = 0) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(answer["data"][index]["b64_json"])))


def library(slug: str, store: Any) -> Any:
    name = PAINTERS[slug][1]
    folder = store.resolve(small(slug))
    # What its eight bits are to the library is in tests/models/images/test_edits.py.
    stored = quantized.parts(folder, torch.float32)
    made = getattr(diffusers, name).from_pretrained(folder, **stored)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize("slug", PAINTERS)
async def test_pictures_of_words_are_the_librarys(answers, store, slug):
    body = {"prompt": "a red fox", "size": "96x64", "steps": 3, "seed": [5, 11]}
    [answer] = await answers(slug, body)
    assert answer["model"] == slug
    pipeline = await asyncio.to_thread(library, slug, store)
    # FLUX.1-schnell reads 256 tokens; its pipeline's default is that of another model.
    more = {"max_sequence_length": 256} if slug == "Flux1schnell" else {}
    for index, seed in enumerate((5, 11)):
        wanted = pipeline(
            prompt="a red fox", width=96, height=64, num_inference_steps=3,
            guidance_scale=row(slug).defaults["guidance"],
            generator=torch.Generator().manual_seed(seed), **more,
        ).images[0]  # fmt: skip
        got = opened(answer, index)
        assert (got.format, got.mode, got.size) == ("PNG", "RGB", (96, 64))
        difference = np.asarray(got, np.int16) - np.asarray(wanted, np.int16)
        assert np.abs(difference).max() <= 1
        assert answer["data"][index]["seed"] == seed


@pytest.mark.parametrize("slug", PAINTERS)
async def test_edits_change_what_they_are_told_to(answers, slug):
    source = drawing(96, 64)
    mask = Image.new("L", source.size, 0)
    mask.paste(255, (0, 0, 48, 64))
    edit = {"prompt": "a blue fox", "image": uri(source), "steps": 4, "seed": 3}
    whole, part = await answers(slug, edit, {**edit, "mask": uri(mask)})
    before, after = np.asarray(source), np.asarray(opened(part))
    assert (after[:, 48:] == before[:, 48:]).all()
    assert (after[:, :48] != before[:, :48]).any()
    assert opened(whole).size == (96, 64)
    assert (np.asarray(opened(whole))[:, 48:] != before[:, 48:]).any()


async def test_a_picture_four_times_as_large(answers):
    [answer] = await answers("RealESRGAN_x4", {"prompt": "-", "image": uri(drawing(40, 24))})
    assert (opened(answer).size, opened(answer).mode) == ((160, 96), "RGB")


async def test_a_picture_without_its_background(answers):
    source = drawing(96, 64)
    [answer] = await answers("Ben2", {"prompt": "-", "image": uri(source)})
    made = opened(answer)
    assert (made.mode, made.size) == ("RGBA", (96, 64))
    assert (np.asarray(made)[..., :3] == np.asarray(source)).all()
    assert np.ptp(np.asarray(made)[..., 3]) > 100


async def test_the_gateways_video_is_made(answers):
    """As it enqueues one, and with pictures of its first and last frame."""
    frame = uri(drawing(96, 64))
    plain, shown = await answers(
        VIDEO["model"], VIDEO, {**VIDEO, "first_frame_image": frame, "last_frame_image": frame},
    )  # fmt: skip
    for answer in (plain, shown):
        [video] = answer["data"]
        facts = {
            name: video[name] for name in ("width", "height", "frames", "fps", "seconds", "seed")
        }
        assert facts == {
            "width": 96, "height": 64, "frames": 9, "fps": 24.0, "seconds": 0.375, "seed": 1
        }  # fmt: skip
        assert answer["output_format"] == "mp4"
        with av.open(io.BytesIO(base64.b64decode(video["b64_json"]))) as container:
            assert sum(1 for _ in container.decode(video=0)) == 9
    assert plain["data"][0]["b64_json"] != shown["data"][0]["b64_json"]
