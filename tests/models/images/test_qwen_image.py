"""Qwen-Image: guided by a blank negative prompt, with prompts of any length in one run."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.images.request import ImageRequest
from models.leniency import Leniency
from models.pipelines.prompt_cache import PromptCache
from tests.conftest import tiny
from tests.support.driving import Ticket, run

MADE = tiny("Qwen_Image", "qwen-image")
ROW = replace(MADE, slug="qwen-image", defaults={**MADE.defaults, "size": "64x64"})


def asked(prompt: str = "a fox", **changes: Any) -> ImageRequest:
    return ImageRequest(prompt, **{"seeds": (7,), "width": 64, "height": 64, "steps": 2, **changes})


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def library(store) -> Any:
    from diffusers import QwenImagePipeline

    pipeline = QwenImagePipeline.from_pretrained(store.resolve(MADE))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ({}, {"negative_prompt": " ", "true_cfg_scale": 4.0}),
        ({"guidance": 2.5}, {"negative_prompt": " ", "true_cfg_scale": 2.5}),
        ({"guidance": 1.0}, {"true_cfg_scale": 1.0}),
        ({"negative_prompt": "blue"}, {"negative_prompt": "blue", "true_cfg_scale": 4.0}),
    ],
)
def test_a_picture_is_the_librarys(load, library, given, arguments):
    engine = load(ROW)
    [ours] = run(engine, asked(**given)).pictures
    theirs = library(
        "a fox", width=64, height=64, num_inference_steps=2, max_sequence_length=1024,
        generator=torch.Generator().manual_seed(7), **arguments,
    ).images[0]  # fmt: skip
    assert np.abs(pixels(ours.content) - np.asarray(theirs).astype(int)).max() <= 1


def test_prompts_of_different_lengths_share_a_run(load):
    engine = load(ROW)
    works = [engine.prepare(asked(prompt)) for prompt in ("a", "a longer prompt of other words")]
    assert works[0].kind == works[1].kind
    items = [part for work in works for part in work.parts]
    together = engine.run([Ticket(item) for item in items])
    for item, made in zip(items, together, strict=True):
        [alone] = engine.run([Ticket(item)])
        difference = np.asarray(made).astype(int) - np.asarray(alone).astype(int)
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("masked", [False, True])
def test_pictures_are_changed(load, masked):
    engine = load(ROW)
    drawing, mask = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(drawing, "PNG")
    Image.new("L", (64, 64), 255).save(mask, "PNG")
    more = {"mask": mask.getvalue()} if masked else {}
    request = asked(images=(drawing.getvalue(),), strength=0.9, **more)
    [made] = run(engine, request).pictures
    assert pixels(made.content).shape == (64, 64, 3)


def test_previews_are_drawn(load):
    engine = load(ROW)
    ticket = Ticket(engine.prepare(asked(previews=2)).parts[0])
    engine.run([ticket])
    assert engine._previews is not None


def test_a_prompt_is_counted_with_what_follows_it_and_guided_without_a_warning(load, library):
    engine, leniency = load(ROW), Leniency(strict=True)
    engine._plan(asked(guidance=3.0), leniency)
    assert leniency.left_out == []
    template, dropped = library.prompt_template_encode, library.prompt_template_encode_start_idx
    whole = len(library.tokenizer(template.format("a fox"))["input_ids"]) - dropped
    assert engine._plan.prompt_tokens(asked()) == whole


def test_embeddings_of_different_lengths_are_padded_and_masked():
    def encode(prompt: Any, device: Any = None) -> Any:
        return torch.ones(1, len(prompt[0]), 2), None

    embeddings, mask = PromptCache(encode)(["ab", "abcd"])
    assert embeddings.shape == (2, 4, 2)
    assert mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert PromptCache(encode)(["ab", "cd"])[1] is None
