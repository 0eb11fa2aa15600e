"""Models that see, against ``generate`` of the library: the same tokens for the same pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText

from models.catalog import CATALOG
from models.chat.request import Prompt, Sampling
from models.errors import ContextLengthExceeded, InvalidValue, MediaUndecodable
from models.pictures.request import InputPicture, PictureLimits
from models.tiny import SEED
from models.tiny.qwen_vl import language, picture_marks, tokens
from tests.support.chatting import ready, together

ROW = CATALOG.find("Tiny_Qwen_VL")
GREEDY = Sampling(max_tokens=12, temperature=0.0, ignore_eos=True)


def png(width: int, height: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


ONE, TWO = png(120, 60, 1), png(50, 200, 2)


def qwen3(folder: Path) -> None:
    """A tiny Qwen3-VL."""
    from transformers import GenerationConfig, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = tokens(folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil", patch_size=16)
    processor.save_pretrained(folder)
    names = ("image_pad", "video_pad", "vision_start", "vision_end")
    marks = {f"<|{name}|>": tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in names}
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 2, 2]}
    torch.manual_seed(SEED)
    config = Qwen3VLConfig(
        text_config={**language(len(tokenizer)), "head_dim": 16, "rope_parameters": rope},
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 16,
            "out_hidden_size": 64, "num_position_embeddings": 64, "deepstack_visual_indexes": [0],
        },
        **picture_marks(marks),
    )  # fmt: skip
    model = Qwen3VLForConditionalGeneration(config)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config = GenerationConfig(eos_token_id=end)
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, store) -> dict[str, Path]:
    third = tmp_path_factory.mktemp("qwen3")
    qwen3(third)
    return {"qwen2.5": store.resolve(ROW), "qwen3": third}


@pytest.fixture(scope="module", params=["qwen2.5", "qwen3"])
def pair(request, folders, load) -> tuple[Any, Any]:
    """The engine, and the library's model."""
    folder = folders[request.param]
    row = ROW
    if request.param == "qwen3":
        row = replace(ROW, slug="Tiny_Qwen3_VL", weights=f"file://{folder}")
    reference = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    return load(row), (reference, AutoImageProcessor.from_pretrained(folder, backend="pil"))


def prompt(engine: Any, text: str, pictures: Sequence[bytes], **more: Any) -> Prompt:
    parts = [{"type": "image"} for _ in pictures] + [{"type": "text", "text": text}]
    rendered = engine.text.render([{"role": "user", "content": parts if pictures else text}])
    ids = tuple(engine.text.encode_rendered(rendered))
    given = tuple(
        InputPicture(one, f"messages[0].content[{at}]") for at, one in enumerate(pictures)
    )
    return Prompt(ids, **{"sampling": GREEDY, "pictures": given, **more})


def generated(reference: Any, prompt: Prompt) -> list[int]:
    model, processor = reference
    mark, ids, more = model.config.image_token_id, list(prompt.tokens), {}
    if prompt.pictures:
        pictures = [Image.open(io.BytesIO(one.content)).convert("RGB") for one in prompt.pictures]
        more = dict(processor(pictures, return_tensors="pt"))
        counts = iter((more["image_grid_thw"].prod(-1) // processor.merge_size**2).tolist())
        ids = [one for token in ids for one in [token] * (next(counts) if token == mark else 1)]
        more["mm_token_type_ids"] = (torch.tensor([ids]) == mark).int()
    given = torch.tensor([ids])
    made = model.generate(
        given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=12,
        eos_token_id=-1, **more,
    )  # fmt: skip
    return made[0, len(ids) :].tolist()


def test_the_same_tokens_as_the_library(pair):
    engine, reference = pair
    prompts = [
        prompt(engine, "What is this?", [ONE]),
        prompt(engine, "And these two?", [TWO, ONE]),
        prompt(engine, "No picture", []),
        prompt(engine, "The other", [TWO]),
    ]
    # In a crowd, each let in while others go on.
    heard = together(engine, prompts, apart=2)
    for one, asked in zip(heard, prompts, strict=True):
        assert one.error is None
        assert one.tokens[0] == generated(reference, asked)
    assert len({tuple(one.tokens[0]) for one in heard}) == 4
    assert engine._paged.held() == 0.0


def test_pictures_count_as_tokens(pair):
    engine, _ = pair
    item = ready(engine, prompt(engine, "What?", [ONE, TWO]))
    assert item.length == len(item.prompt.tokens) - 2 + sum(item.sighted.counts)
    # As many as the processor cuts.
    grids = engine._entrance._sight.inputs(item.sighted.pictures)["image_grid_thw"]
    assert (grids.prod(-1) // 4).tolist() == list(item.sighted.counts)


def test_several_choices_and_room(pair):
    engine, reference = pair
    asked = prompt(engine, "What is this?", [ONE], n=3)
    [heard] = together(engine, [asked])
    assert heard.tokens[0] == heard.tokens[1] == heard.tokens[2] == generated(reference, asked)
    kept, engine._paged.size = engine._paged.size, 60  # room for one alone
    try:
        both = together(engine, [prompt(engine, "a", [ONE]), prompt(engine, "b", [TWO])])
    finally:
        engine._paged.size = kept
    assert [len(one.tokens[0]) for one in both] == [12, 12]


def test_a_step_without_memory_costs_the_newest_alone(pair):
    engine, reference = pair
    cache, failed = engine._paged, []
    scores = cache._scores

    def short(ids: Any, positions: Any, held: Any, more: Any) -> Any:
        made = scores(ids, positions, held, more)
        if len(cache._going) == 1 and more and not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return made

    cache._scores = short
    try:
        first, second = prompt(engine, "What is this?", [ONE]), prompt(engine, "b", [TWO])
        heard = together(engine, [first, second], apart=3)
    finally:
        cache._scores = scores
    assert failed
    assert type(heard[1].error).__name__ == "OutOfMemory"
    assert heard[0].tokens[0] == generated(reference, first)


@pytest.mark.parametrize(
    ("pictures", "error"),
    [
        ([b"no picture"], MediaUndecodable),
        ([png(1, 300, 1)], InvalidValue),
        ([b"<svg xmlns='http://www.w3.org/2000/svg'/>"], MediaUndecodable),
    ],
)
def test_what_cannot_be_seen_is_named(load, pictures, error):
    engine = load(ROW)
    with pytest.raises(error) as refused:
        ready(engine, prompt(engine, "What?", [ONE, *pictures]))
    assert refused.value.param == "messages[0].content[1]"


def test_limits_of_pixels_and_context(load):
    engine = load(ROW)
    sight = engine._entrance._sight
    kept, sight.limits = sight.limits, PictureLimits(pixels=10_000)
    try:
        with pytest.raises(InvalidValue) as refused:
            ready(engine, prompt(engine, "What?", [ONE, TWO]))
    finally:
        sight.limits = kept
    assert "10000 pixels" in refused.value.message
    assert refused.value.param == "messages[0].content[1]"
    with pytest.raises(ContextLengthExceeded):
        ready(engine, prompt(engine, "word " * 390, [png(112, 112, 1)] * 16))


def test_a_mark_in_the_text_is_text(load):
    engine = load(ROW)
    rendered = engine.text.render([{"role": "user", "content": "So <|image_pad|>"}])
    ids = tuple(engine.text.encode_rendered(rendered))
    assert engine._entrance._sight.mark not in ids
    with pytest.raises(InvalidValue):  # as tokens it is refused
        ready(engine, Prompt((engine._entrance._sight.mark,), GREEDY))


def test_a_small_copy_will_do(load):
    engine = load(ROW)
    large = png(2000, 1000, 3)
    seen = engine._entrance._sight.look([InputPicture(large, "a", low=True)])
    assert seen.pictures[0].size == (512, 256)
