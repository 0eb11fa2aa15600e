"""Images on a GPU: pipelines, larger pictures, cut-outs."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL", reason="Pillow is not installed")
pytest.importorskip("diffusers", reason="diffusers is not installed")

from PIL import Image

from models.device.hardware import Device
from models.images.request import ImageRequest, Preview
from models.row import Row
from models.warm.loader import Loader
from tests.conftest import row, tiny
from tests.support.drawings import drawing, encoded
from tests.support.driving import Ticket, run

pytestmark = pytest.mark.gpu

MODELS = {
    "flux": ("Flux1schnell", "flux"),
    "klein": ("Flux_2_Klein_4B_BF16", "flux2-klein"),
    "sdxl": ("SDXL", "sdxl"),
    "z-image": ("ZImageTurbo_INT8", "z-image"),
}
SIDE, STEPS = 96, 4
On = Callable[[Row, Device], Any]


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Row:
    return replace(tiny(*MODELS[request.param]), slug=request.param)


@pytest.fixture
def paint(store: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[np.ndarray]]:
    """Pictures of a model, from the same noise whatever the device and its precision."""

    def painted(model: Row, kind: str, dtype: Any, *, at_once: bool = True) -> list[np.ndarray]:
        engine = _engine(store.resolve(model), model, kind, dtype)
        module = sys.modules[type(engine.pipeline("txt2img")).__module__]
        monkeypatch.setattr(module, "randn_tensor", _noise)
        made: list[Any] = []
        for seeds in [(7, 8)] if at_once else [(7,), (8,)]:
            asked = ImageRequest("a red fox", seeds=seeds, width=SIDE, height=SIDE, steps=STEPS)
            made += run(engine, asked).pictures
        engine.close()
        return [_pixels(picture.content) for picture in made]

    return painted


def _engine(folder: Any, model: Row, kind: str, dtype: Any) -> Any:
    """As the engine's ``load``, in a precision of our choice."""
    import diffusers

    from models.images.diffusion.engine import DiffusersImages
    from models.images.diffusion.families import FAMILIES
    from models.pipelines import placement, quantized

    made = getattr(diffusers, FAMILIES[model.options["family"]].pipelines["txt2img"])
    stored = quantized.parts(folder, dtype)
    pipeline = made.from_pretrained(folder, dtype=dtype, local_files_only=True, **stored)
    return DiffusersImages(placement.placed(pipeline, model, kind), model)


def _noise(
    shape: Any, generator: Any = None, device: Any = None, dtype: Any = None, **_: Any
) -> Any:
    """diffusers' own draws other numbers on a GPU than on a CPU, and others in bfloat16."""
    import torch

    dice = generator if isinstance(generator, list) else [generator]
    drawn = [
        torch.randn((1, *shape[1:]), generator=torch.Generator().manual_seed(one.initial_seed()))
        for one in dice
    ]
    return torch.cat(drawn).to(device, dtype)


def _pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"), np.float32)


def test_pictures_in_float32_are_those_of_the_cpu(
    paint: Any, model: Row, exact: Device, ieee: None
) -> None:
    import torch

    ours = paint(model, exact.kind, torch.float32)
    theirs = paint(model, "cpu", torch.float32)
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == (SIDE, SIDE, 4)
        assert np.abs(one - other).max() <= 2
        assert one[..., :3].std() > 1  # a picture, and not one colour


def test_pictures_in_half_precision_are_near(paint: Any, model: Row, gpu: Device) -> None:
    import torch

    ours = paint(model, gpu.kind, torch.bfloat16)
    theirs = paint(model, "cpu", torch.float32)
    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(one - other).mean() < 1.5
    assert np.abs(theirs[0] - theirs[1]).mean() > 10  # two pictures differ by much more


def test_pictures_of_one_run_are_those_made_alone(
    paint: Any, model: Row, exact: Device, ieee: None
) -> None:
    import torch

    together = paint(model, exact.kind, torch.float32)
    alone = paint(model, exact.kind, torch.float32, at_once=False)
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one - other).max() <= 2


def test_the_engine_loads_and_paints_as_it_is(on: On, model: Row, gpu: Device) -> None:
    """By its own ``load``, in its own precision, with its own noise: a seed is a picture."""
    asked = ImageRequest("a red fox", seeds=(7, 8), width=SIDE, height=SIDE, steps=STEPS)
    first, other = run(on(model, gpu), asked).pictures
    again = run(on(model, gpu), replace(asked, seeds=(7,))).pictures[0]
    assert np.abs(_pixels(first.content) - _pixels(again.content)).mean() < 4
    assert first.content != other.content


@pytest.mark.parametrize("offload", [False, True])
def test_previews_on_the_way(store: Any, model: Row, gpu: Device, offload: bool) -> None:
    """Also of a model whose parts wait in the RAM, the one that shows them among them."""
    engine = Loader(store, gpu)(replace(model, options={**model.options, "offload": offload}))
    asked = ImageRequest("a fox", seeds=(7,), width=SIDE, height=SIDE, steps=STEPS, previews=2)
    [item] = engine.prepare(asked).parts
    ticket = Ticket(item)
    [made] = engine.run([ticket])
    shown = [event.encoded() for event in ticket.events if isinstance(event, Preview)]
    assert [(one.width, one.height) for one in shown] == [(SIDE, SIDE)] * 2
    [silent] = engine.run([Ticket(replace(item, previews=0))])
    assert np.abs(np.asarray(made, np.float32) - np.asarray(silent, np.float32)).mean() < 4
    engine.close()


def test_layers_of_eight_bits(gpu: Device) -> None:
    """As on the CPU in float32, to what bfloat16 leaves."""
    import torch

    from models.pipelines.int8 import Int8Linear

    dice = torch.manual_seed(6)
    weight = torch.randint(-127, 128, (256, 512), generator=dice, dtype=torch.int8)
    scale, bias = torch.rand(256, 1, generator=dice) / 1000, torch.randn(256, generator=dice)
    x = torch.randn(33, 512, generator=dice)
    expected = torch.nn.functional.linear(x, weight.float() * scale, bias)
    half = Int8Linear(weight, scale, bias.bfloat16()).to(gpu.kind)
    found = half(x.to(gpu.kind, torch.bfloat16)).float().cpu()
    assert (found - expected).abs().max() < 0.03 * expected.abs().max()


# Edits --------------------------------------------------------------------------------------------

UPSCALER, CUTTER = row("Tiny_ESRGAN"), row("Tiny_Ben2")


def edited(engine: Any, picture: Image.Image) -> np.ndarray:
    [made] = run(engine, ImageRequest("", images=(encoded(picture),))).pictures
    return _pixels(made.content)


def test_larger_pictures(on: On, gpu: Device, here: Device, store: Any, ieee: None) -> None:
    """In half precision as on the CPU to a step or two; in float32, to one."""
    from safetensors.torch import load_file

    from models.images.restore.networks.rrdb import RRDBNet
    from models.images.restore.upscale import Upscaler

    [file] = store.resolve(UPSCALER).glob("*.safetensors")
    single = Upscaler(RRDBNet.of(load_file(file)).to(gpu.kind), UPSCALER, gpu)
    picture = drawing(90, 70)
    expected = edited(on(UPSCALER, here), picture)
    assert expected.shape == (280, 360, 4)
    assert np.abs(edited(single, picture) - expected).max() <= 1
    assert np.abs(edited(on(UPSCALER, gpu), picture) - expected).max() <= 3


def test_cut_outs(on: On, gpu: Device, here: Device, ieee: None) -> None:
    picture = drawing()
    made, expected = edited(on(CUTTER, gpu), picture), edited(on(CUTTER, here), picture)
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() <= 2
    assert expected[..., 3].std() > 1


def test_cut_outs_with_the_gpus_own_rounding(on: On, gpu: Device, here: Device) -> None:
    picture = drawing()
    made, expected = edited(on(CUTTER, gpu), picture), edited(on(CUTTER, here), picture)
    assert np.abs(made - expected).mean() < 4
