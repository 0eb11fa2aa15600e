"""The images engine against diffusers, on the same weights."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.errors import (
    ContextLengthExceeded,
    InvalidValue,
    MediaUndecodable,
    UnsupportedParameter,
)
from models.images.request import ImageRequest, Images, Output, Picture
from models.work import Progress
from tests.conftest import row, tiny
from tests.support.driving import Load, Ticket, prepare, run

FLUX = row("Tiny_Flux")


@pytest.fixture(scope="module")
def klein(load: Load) -> Any:
    from dataclasses import replace

    model = tiny("Flux_2_Klein_4B_BF16", "flux2-klein")
    return load(replace(model, slug="klein", defaults={**model.defaults, "size": "64x64"}))


def make(engine: Any, request: ImageRequest) -> tuple[Picture, ...]:
    """The pictures, where nothing was asked in vain."""
    answer: Images = run(engine, request)
    assert answer.left_out == ()
    return answer.pictures


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=np.int16)


def test_images_are_diffusers(load):
    engine = load(FLUX)
    pictures = make(engine, ImageRequest("a red fox", seeds=(7, 8), width=96, height=64))
    for picture in pictures:
        expected = engine.pipeline("txt2img")(
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

    def made(**changes: Any) -> Images:
        request = ImageRequest(
            **{"prompt": "a fox", "seeds": (7,), "width": 64, "height": 64, **changes}
        )
        answer: Images = run(engine, request)
        return answer

    def content(**changes: Any) -> bytes:
        return made(**changes).pictures[0].content

    base = content()
    assert content() == base
    for change in ({"prompt": "b"}, {"steps": 2}, {"seeds": (8,)}, {"negative_prompt": "blurry"}):
        assert content(**change) != base, change
    negative = {"negative_prompt": "blurry"}
    assert content(**negative, guidance=4.0) != content(**negative)
    for vain in ({"guidance": 4.0}, {**negative, "guidance": 0.5}):
        answer = made(**vain)
        assert answer.pictures == made(**{**vain, "guidance": None}).pictures
        assert [one.param for one in answer.left_out] == ["guidance"]
        with pytest.raises(UnsupportedParameter, match="leave it out"):
            made(**vain, strict=True)


@pytest.mark.parametrize(("width", "height"), [(100, 70), (65, 64), (1000 // 8, 72)])
def test_any_size_is_cut_from_the_next_larger_one(load, width, height):
    [picture] = make(load(FLUX), ImageRequest("x", seeds=(1,), width=width, height=height, steps=1))
    assert pixels(picture.content).shape == (height, width, 3)
    assert (picture.width, picture.height) == (width, height)


@pytest.mark.parametrize("format_", ["png", "jpeg", "webp"])
def test_formats(load, format_):
    request = ImageRequest("x", seeds=(1,), width=64, height=64, steps=1, output=Output(format_))
    [picture] = make(load(FLUX), request)
    assert Image.open(io.BytesIO(picture.content)).format == format_.upper()


def test_image_to_image_is_diffusers(klein):
    source = Image.effect_mandelbrot((80, 64), (-2, -1, 1, 1), 50).convert("RGB")
    buffer = io.BytesIO()
    source.save(buffer, "PNG")
    [picture] = make(klein, ImageRequest("x", seeds=(3,), images=(buffer.getvalue(),), steps=2))
    expected = klein.pipeline("img2img")(
        prompt="x", image=source, width=80, height=64, num_inference_steps=2, guidance_scale=1.0,
        max_sequence_length=512, generator=torch.Generator().manual_seed(3),
    ).images[0]  # fmt: skip
    assert np.abs(pixels(picture.content) - np.asarray(expected, dtype=np.int16)).max() <= 1
    [from_text] = make(klein, ImageRequest("x", seeds=(3,), width=80, height=64, steps=2))
    assert from_text.content != picture.content


def test_what_an_image_model_cannot_do_is_refused_by_name(load, klein):
    words = load(replace(FLUX, slug="words", tasks=frozenset({"txt2img"})))
    for param, files in (
        ("image", {"images": (b"x",)}),
        ("mask", {"images": (b"x",), "mask": b"x"}),
    ):
        with pytest.raises(UnsupportedParameter, match="a model that edits") as caught:
            words.prepare(ImageRequest("x", **files))
        assert caught.value.param == param
    vain = ImageRequest(
        "x", seeds=(1,), width=64, height=64, negative_prompt="blurry", guidance=3.0
    )
    with pytest.raises(UnsupportedParameter, match="distilled") as caught:
        klein.prepare(replace(vain, strict=True))
    assert caught.value.param == "negative_prompt"
    answer = run(klein, vain)
    assert [one.param for one in answer.left_out] == ["negative_prompt", "guidance"]
    assert all(one.message.endswith("it was left out.") for one in answer.left_out)
    plain = make(klein, replace(vain, negative_prompt=None, guidance=None))
    assert answer.pictures == plain
    with pytest.raises(ContextLengthExceeded, match="at most 256"):
        load(FLUX).prepare(ImageRequest("word " * 200, seeds=(1,)))


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + b"x" * 100])
def test_pictures_that_cannot_be_read(klein, content):
    with pytest.raises(MediaUndecodable) as caught:
        klein.prepare(ImageRequest("x", seeds=(1,), images=(content,)))
    assert caught.value.param == "image"


def test_a_prompt_is_counted_whole_also_after_the_first_picture(klein):
    """The pipeline leaves its tokenizer truncating; counting with it would let anything through."""
    run(klein, ImageRequest("x", seeds=(3,), width=64, height=64, steps=1))
    with pytest.raises(ContextLengthExceeded, match="at most 512"):
        klein.prepare(ImageRequest("word " * 600, seeds=(1,)))


@pytest.mark.parametrize("format_", ["EPS", "TIFF", "PPM", "ICO"])
def test_only_common_picture_formats_are_opened(klein, format_):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, format_)
    with pytest.raises(MediaUndecodable):
        klein.prepare(ImageRequest("x", seeds=(1,), images=(buffer.getvalue(),)))


def test_a_picture_bomb_is_refused(klein):
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    with pytest.raises(MediaUndecodable):
        klein.prepare(ImageRequest("x", seeds=(1,), images=(buffer.getvalue(),)))


def test_a_cancelled_picture_stops_at_the_next_step(load):
    engine = load(FLUX)
    ticket = Ticket(prepare(engine, ImageRequest("x", seeds=(1,), steps=50)), cancel_at=2)
    engine.run([ticket])
    assert ticket.events == [Progress(0, step, 50, "steps") for step in (1, 2)]


# Edits -------------------------------------------------------------------------------------------


def source(width: int = 96, height: int = 80) -> Image.Image:
    return Image.effect_mandelbrot((width, height), (-2, -1, 1, 1), 50).convert("RGB")


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def half_mask(width: int = 96, height: int = 80) -> Image.Image:
    """White, to be changed, on the right."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (width // 2, 0, width, height))
    return mask


FAMILY_ROWS = {
    "flux": ("Flux1schnell", "flux", {"guidance_scale": 0.0, "max_sequence_length": 256}, 4),
    "z-image": (
        "ZImageTurbo_INT8",
        "z-image",
        {"guidance_scale": 0.0, "max_sequence_length": 512},
        4,
    ),
    "sdxl": ("SDXL", "sdxl", {"guidance_scale": 5.0}, 6),
}


@pytest.fixture(scope="module", params=FAMILY_ROWS)
def painter(load: Load, request: pytest.FixtureRequest) -> tuple[Any, dict[str, Any], int]:
    slug, recipe, arguments, steps = FAMILY_ROWS[request.param]
    model = tiny(slug, recipe)
    return load(replace(model, slug=f"painter {recipe}")), arguments, steps


def _difference(picture: Picture, expected: Any) -> int:
    return int(np.abs(pixels(picture.content) - np.asarray(expected, np.int16)).max())


def test_from_text_is_diffusers(painter):
    engine, arguments, steps = painter
    request = ImageRequest("a fox", seeds=(5, 9), width=96, height=80, steps=steps)
    for picture in make(engine, request):
        expected = engine.pipeline("txt2img")(
            "a fox", width=96, height=80, num_inference_steps=steps,
            generator=torch.Generator().manual_seed(picture.seed), **arguments,
        ).images[0]  # fmt: skip
        assert _difference(picture, expected) <= 1


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_a_picture_changed_by_its_strength_is_diffusers(painter, strength):
    engine, arguments, steps = painter
    request = ImageRequest(
        "a fox", seeds=(3,), images=(png(source()),), strength=strength, steps=steps
    )
    [picture] = make(engine, request)
    expected = engine.pipeline("img2img")(
        prompt="a fox", image=source(), strength=strength, num_inference_steps=steps,
        generator=torch.Generator().manual_seed(3), **arguments,
        **({"width": 96, "height": 80} if "max_sequence_length" in arguments else {}),
    ).images[0]  # fmt: skip
    assert _difference(picture, expected) <= 1


def test_what_a_mask_leaves_out_is_kept_bit_by_bit(painter):
    engine, arguments, steps = painter
    request = ImageRequest(
        "a fox", seeds=(3,), images=(png(source()),), mask=png(half_mask()), strength=1.0,
        steps=steps,
    )  # fmt: skip
    [picture] = make(engine, request)
    got = pixels(picture.content)
    assert (got[:, :48] == np.asarray(source(), np.int16)[:, :48]).all()
    expected = engine.pipeline("inpaint")(
        prompt="a fox", image=source(), mask_image=half_mask(), strength=1.0, width=96, height=80,
        num_inference_steps=steps, generator=torch.Generator().manual_seed(3), **arguments,
    ).images[0]  # fmt: skip
    assert np.abs(got[:, 48:] - np.asarray(expected, np.int16)[:, 48:]).max() <= 1
    # As OpenAI has it: what is transparent is to change.
    clear = source().convert("RGBA")
    clear.putalpha(Image.eval(half_mask(), lambda value: 255 - value))
    [again] = make(engine, replace(request, mask=png(clear)))
    assert again.content == picture.content


def test_one_set_of_weights_serves_all_tasks(painter):
    engine, _, _ = painter
    first, *others = (engine.pipeline(task) for task in ("txt2img", "img2img", "inpaint"))
    for other in others:
        for name, part in first.components.items():
            if isinstance(part, torch.nn.Module):
                assert other.components[name] is part


def test_an_odd_size_loses_nothing_of_the_picture(painter):
    engine, _, steps = painter
    picture = source(70, 57)
    mask = Image.new("L", picture.size)
    request = ImageRequest("x", images=(png(picture),), mask=png(mask), strength=1.0, steps=steps)
    [same] = make(engine, request)
    assert (pixels(same.content) == np.asarray(picture, np.int16)).all()


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"mask": png(half_mask())}, InvalidValue, "mask"),
        ({"mask": png(half_mask(10, 10)), "images": (png(source()),)}, InvalidValue, "mask"),
        ({"mask": b"x", "images": (png(source()),)}, MediaUndecodable, "mask"),
        ({"images": (png(source()),) * 2}, UnsupportedParameter, "image"),
        ({"images": (png(source()),), "strength": 0.1}, InvalidValue, "strength"),
        ({"width": 2048, "height": 2048 + 16}, InvalidValue, "size"),
        ({"scheduler": "nothing_known"}, UnsupportedParameter, "scheduler"),
    ],
)
def test_what_does_not_go_together(painter, fields, error, param):
    engine, _, steps = painter
    with pytest.raises(error) as caught:
        engine.prepare(ImageRequest("x", steps=steps, **fields))
    assert caught.value.param == param


def test_schedulers_guidance_and_negative_prompts_of_sdxl(load):
    engine = load(replace(tiny("SDXL", "sdxl"), slug="painter sdxl"))

    def made(**changes: Any) -> bytes:
        request = ImageRequest("a fox", seeds=(1,), width=64, height=64, steps=3)
        return make(engine, replace(request, **changes))[0].content

    base = made()
    for change in (
        {"guidance": 2.0}, {"negative_prompt": "blurry"},
        {"scheduler": "dpmpp_2m"}, {"scheduler": "euler_a"}, {"scheduler": "unipc"},
    ):  # fmt: skip
        assert made(**change) != base, change
    assert made() == base  # nothing is left of another's scheduler
    answer = run(engine, ImageRequest("x", width=64, height=64, steps=2, strength=0.5))
    assert [one.param for one in answer.left_out] == ["strength"]


def test_several_pictures_for_a_model_that_reads_them_whole(klein):
    pictures = (source(64, 64), source(80, 64).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    request = ImageRequest("x", seeds=(3,), images=tuple(png(one) for one in pictures), steps=2)
    [picture] = make(klein, request)
    expected = klein.pipeline("img2img")(
        prompt="x", image=list(pictures), width=64, height=64, num_inference_steps=2,
        guidance_scale=1.0, max_sequence_length=512, generator=torch.Generator().manual_seed(3),
    ).images[0]  # fmt: skip
    assert _difference(picture, expected) <= 1
    answer = run(klein, replace(request, strength=0.5))
    assert [one.param for one in answer.left_out] == ["strength"]
    for size in ((60, 64), (640, 64)):
        with pytest.raises(InvalidValue, match="64 pixels a side") as caught:
            klein.prepare(replace(request, images=(png(source(*size)),)))
        assert caught.value.param == "image"


def test_a_mask_for_a_distilled_model_keeps_it_distilled(klein):
    request = ImageRequest(
        "x", seeds=(3,), images=(png(source()),), mask=png(half_mask()), strength=1.0, steps=2
    )
    [picture] = make(klein, request)
    assert (pixels(picture.content)[:, :48] == np.asarray(source(), np.int16)[:, :48]).all()
    assert klein.pipeline("inpaint").config.is_distilled is True


# Eight bits --------------------------------------------------------------------------------------


def test_eight_bits_are_the_weights_that_they_stand_for(load, store):
    """The same pictures as the pipeline of the library with the weights made whole."""
    import json
    import shutil

    import diffusers
    from safetensors.torch import load_file, save_file

    from models.pipelines.int8 import Int8Linear

    model = tiny("ZImageTurbo_INT8", "z-image")
    engine = load(replace(model, slug="painter z-image"))
    pipeline = engine.pipeline("txt2img")
    for part in (pipeline.transformer, pipeline.text_encoder):
        assert sum(isinstance(one, Int8Linear) for one in part.modules()) > 10
    whole = store.places.cache / "z-image-whole"
    shutil.rmtree(whole, ignore_errors=True)
    shutil.copytree(store.resolve(model), whole)
    for part in ("transformer", "text_encoder"):
        [file] = (whole / part).glob("*.safetensors")
        weights = load_file(file)
        for name in [key for key in weights if key.endswith(".scale")]:
            weight = f"{name.removesuffix('.scale')}.weight"
            weights[weight] = weights[weight].float() * weights.pop(name)
        save_file(weights, file, metadata={"format": "pt"})
        config = json.loads((whole / part / "config.json").read_text())
        del config["quantization_config"]
        (whole / part / "config.json").write_text(json.dumps(config))
    plain = diffusers.ZImagePipeline.from_pretrained(whole, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    arguments = {"width": 64, "height": 64, "num_inference_steps": 3, "guidance_scale": 0.0}
    expected = plain("a fox", generator=torch.Generator().manual_seed(4), **arguments).images[0]
    request = ImageRequest("a fox", seeds=(4,), width=64, height=64, steps=3)
    [picture] = make(engine, request)
    assert _difference(picture, expected) <= 1
    shutil.rmtree(whole)
    guided = make(engine, replace(request, negative_prompt="blurry"))
    assert guided[0].content != picture.content
    assert make(engine, replace(request, guidance=2.0))[0].content != picture.content


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"weights_dtype": "uint4"}, "transformer is stored as sdnq uint4"),
        ({"quant_method": "gptq"}, "transformer is stored as gptq"),
        ({"use_svd": True}, "with use_svd = True"),
        ({"group_size": 64}, "with group_size = 64"),
    ],
)
def test_what_is_stored_in_another_way_is_refused_by_name(store, tmp_path, changes, wrong):
    import json
    import shutil

    from models.pipelines import quantized

    folder = tmp_path / "pipeline"
    shutil.copytree(store.resolve(tiny("ZImageTurbo_INT8", "z-image")), folder)
    path = folder / "transformer/config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] |= changes
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=wrong):
        quantized.parts(folder, torch.float32)
