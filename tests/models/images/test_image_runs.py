"""What pictures share on the device, what is shown of them on the way, and what changes a model."""

from __future__ import annotations

import asyncio
import io
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch._subclasses.fake_tensor import FakeTensorMode

from models.errors import InvalidValue, ModelLoadFailed, OutOfMemory
from models.images.request import Adapter, ImageRequest, Output, Preview
from models.pipelines.prompt_cache import PromptCache
from models.warm.batch import Batcher
from models.work import Progress
from tests.conftest import CPU, row, tiny
from tests.support.driving import Ticket, run

FLUX = row("Tiny_Flux")
MODELS = {
    "flux": FLUX,
    **{
        family: replace(made, slug=family, defaults={**made.defaults, "size": "64x64"})
        for family, made in (
            ("flux2-klein", tiny("Flux_2_Klein_4B_BF16", "flux2-klein")),
            ("z-image", tiny("ZImageTurbo_INT8", "z-image")),
            ("sdxl", tiny("SDXL", "sdxl")),
        )
    },
}
families = pytest.mark.parametrize("family", MODELS)


def asked(prompt: str = "a fox", **changes: Any) -> ImageRequest:
    return ImageRequest(prompt, **{"seeds": (7,), "width": 64, "height": 64, "steps": 3, **changes})


def pixels(picture: Any) -> np.ndarray:
    return np.asarray(picture, dtype=np.int16)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def content(engine: Any, request: ImageRequest) -> list[bytes]:
    return [picture.content for picture in run(engine, request).pictures]


# Runs ----------------------------------------------------------------------------------------------


@families
def test_a_picture_among_others_is_what_it_is_alone(load, family):
    engine = load(MODELS[family])
    requests = [asked("a fox"), asked("a longer prompt of other words", seeds=(8, 9))]
    works = [engine.prepare(one) for one in requests]
    assert works[0].kind == works[1].kind != None  # noqa: E711
    items = [part for work in works for part in work.parts]
    together = engine.run([Ticket(item) for item in items])
    for item, made in zip(items, together, strict=True):
        [alone] = engine.run([Ticket(item)])
        assert np.abs(pixels(made) - pixels(alone)).max() <= 1


def test_what_pictures_must_have_in_common(load):
    engine = load(MODELS["sdxl"])
    kind = engine.prepare(asked()).kind
    same = {"seeds": (1, 2), "output": Output("webp"), "previews": 2}
    assert engine.prepare(asked("another", **same)).kind == kind
    others = [
        {"width": 128}, {"steps": 2}, {"guidance": 3.0}, {"scheduler": "ddim"},
        {"negative_prompt": "blurry"}, {"adapters": (Adapter("a", None),)},
    ]  # fmt: skip
    kinds = [engine.prepare(asked(**one)).kind for one in others]
    assert len({kind, *kinds}) == len(others) + 1
    drawing = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(drawing, "PNG")
    assert engine.prepare(asked(images=(drawing.getvalue(),))).kind is None


def test_small_pictures_of_several_jobs_share_a_run(load, monkeypatch):
    engine = load(FLUX)
    batches: list[int] = []
    real = engine.run
    monkeypatch.setattr(engine, "run", lambda batch: batches.append(len(batch)) or real(batch))

    async def main() -> Any:
        batcher = Batcher(engine, max_jobs=8)
        first = engine.prepare(asked(steps=1, width=128))
        works = [engine.prepare(asked(f"fox {n}", seeds=(n, n + 1))) for n in range(3)]
        outputs = await asyncio.gather(*(batcher.submit(work) for work in (first, *works)))
        return [work.finish(made) for work, made in zip((first, *works), outputs, strict=True)]

    answers = asyncio.run(main())
    assert batches == [1, 6]
    assert [[p.seed for p in one.pictures] for one in answers[1:]] == [[0, 1], [1, 2], [2, 3]]


def test_a_run_holds_no_more_than_keeps_the_device_busy(load):
    engine = load(FLUX)
    work = engine.prepare(asked(width=512, height=512, seeds=(1, 2)))
    assert list(work.sizes) == [512 * 512] * 2
    assert work.sizes[0] == engine.budget
    assert engine.capacity == engine.budget // 128**2


def test_out_of_memory_halves_a_run_then_decodes_in_tiles(load, monkeypatch):
    """A large picture's decoder is what fails; half of a run, and at last tiles, go through."""
    engine = load(FLUX)
    whole = content(engine, asked(width=1088, height=64, seeds=(7,), steps=1))
    vae, tried = engine._first.vae, []
    real = vae.decode

    def decode(latents: Any, **kwargs: Any) -> Any:
        tried.append((len(latents), vae.use_tiling))
        if not vae.use_tiling:
            raise RuntimeError("CUDA out of memory (simulated)")
        return real(latents, **kwargs)

    monkeypatch.setattr(vae, "decode", decode)

    async def main() -> Any:
        batcher = Batcher(engine, max_jobs=8)
        work = engine.prepare(asked(width=1088, height=64, seeds=(7, 8), steps=1))
        return work.finish(await batcher.submit(work))

    answer = asyncio.run(main())
    assert tried == [(2, False), (1, False), (1, True), (1, False), (1, True)]
    assert not vae.use_tiling
    tiled = pixels(Image.open(io.BytesIO(answer.pictures[0].content)))
    assert np.abs(tiled - pixels(Image.open(io.BytesIO(whole[0])))).mean() < 8

    def never(latents: Any, **kwargs: Any) -> Any:
        raise RuntimeError("CUDA out of memory (simulated)")

    monkeypatch.setattr(vae, "decode", never)

    async def hopeless() -> Any:
        batcher = Batcher(engine, max_jobs=8)
        work = engine.prepare(asked())
        with pytest.raises(OutOfMemory, match="a smaller size, a smaller n"):
            await batcher.submit(work)
        monkeypatch.undo()
        return work.finish(await batcher.submit(engine.prepare(asked())))

    assert len(asyncio.run(hopeless()).pictures) == 1


def test_one_of_two_that_is_cancelled_does_not_stop_the_other(load):
    engine = load(FLUX)
    [item] = engine.prepare(asked(steps=4)).parts
    gone, stays = Ticket(item, cancel_at=1), Ticket(item)
    [_, made] = engine.run([gone, stays])
    assert len(stays.events) == 4
    [alone] = engine.run([Ticket(item)])
    assert np.abs(pixels(made) - pixels(alone)).max() <= 1
    gone, also = Ticket(item, cancel_at=1), Ticket(item, cancel_at=2)
    assert engine.run([gone, also]) == [None, None]
    assert len(also.events) == 2


# Prompts -------------------------------------------------------------------------------------------


@families
def test_a_prompt_is_encoded_once_and_to_the_same(load, family, monkeypatch):
    engine = load(MODELS[family])
    encode, calls = engine._prompts._encode, []
    monkeypatch.setattr(engine._prompts, "_encode", lambda **k: calls.append(k) or encode(**k))
    request = asked("a prompt that nobody has sent", seeds=(1, 2))
    first = content(engine, request)
    count = len(calls)
    assert count >= 1
    assert content(engine, request) == first
    assert len(calls) == count
    content(engine, replace(request, prompt="and another"))
    assert len(calls) == 2 * count


def test_kept_prompts_are_bounded():
    calls = []

    def encode(prompt: Any, length: int) -> tuple[Any, ...]:
        calls.append(prompt)
        return torch.zeros(len(prompt), 100), None, [torch.zeros(1)], torch.zeros(3, 3)

    prompts = PromptCache(encode, kept_bytes=800)
    joined = prompts(prompt=["a", "b"], length=1)
    assert [joined[0].shape, joined[1], len(joined[2]), joined[3].shape] == [
        (2, 100), None, 2, (3, 3)
    ]  # fmt: skip
    prompts(prompt=["a", "b"], length=1)  # b, the last used, is all that there is room for
    assert calls == [["a"], ["b"], ["a"], ["b"]]
    prompts(prompt=["b"], length=1)
    prompts(prompt=["b"], length=2)
    prompts.marked = "an adapter"
    prompts(prompt=["b"], length=2)
    assert calls[4:] == [["b"], ["b"]]


# Previews ------------------------------------------------------------------------------------------


@families
def test_previews_are_shown_on_the_way(load, family):
    engine = load(MODELS[family])
    [item] = engine.prepare(asked(width=96, steps=8, previews=3)).parts
    ticket = Ticket(item)
    [made] = engine.run([ticket])
    shown = [event for event in ticket.events if isinstance(event, Preview)]
    assert [event.order for event in shown] == [0, 1, 2]
    before = [
        sum(isinstance(one, Progress) for one in ticket.events[: ticket.events.index(event)])
        for event in shown
    ]
    assert before == [1, 3, 5]  # while steps 2, 4 and 6 are taken
    for event in shown:
        picture = event.encoded()
        opened = Image.open(io.BytesIO(picture.content))
        assert (opened.format, opened.size) == ("WEBP", (96, 64))
    [silent] = engine.run([Ticket(replace(item, previews=0))])
    assert made == silent


def test_a_preview_has_the_format_that_is_named(load):
    engine = load(FLUX)
    [item] = engine.prepare(asked(width=70, previews=1, output=Output("jpeg", 50))).parts
    ticket = Ticket(item)
    engine.run([ticket])
    [shown] = [event for event in ticket.events if isinstance(event, Preview)]
    picture = shown.encoded()
    assert Image.open(io.BytesIO(picture.content)).format == "JPEG"
    assert (picture.width, picture.height, picture.format) == (70, 64, "jpeg")


class Averaging:
    """An encoder whose latents are colours, mixed and an eighth as large: what a map can find."""

    dtype, device = torch.float32, torch.device("cpu")
    config = SimpleNamespace(latent_channels=5)

    def __init__(self) -> None:
        self.mix = torch.randn(5, 3, generator=torch.Generator().manual_seed(3))

    def encode(self, pictures: torch.Tensor) -> Any:
        small = torch.nn.functional.avg_pool2d(pictures, 8)
        latents = torch.einsum("oc,bchw->bohw", self.mix, small) + 0.5
        mode = type("Mode", (), {"mode": staticmethod(lambda: latents)})
        return type("Encoded", (), {"latent_dist": mode})


def test_the_map_of_colours_is_found():
    from models.images.diffusion.previews import Previews

    vae = Averaging()
    pipeline = type("Pipeline", (), {"vae": vae, "_execution_device": vae.device})
    previews = Previews(pipeline, lambda _, latents, width, height: latents)
    drawn = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    seen = previews(vae.encode(drawn * 2 - 1).latent_dist.mode(), 64, 64)
    wanted = torch.nn.functional.avg_pool2d(drawn, 8)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(seen[0] - wanted).max() <= 1


ELSEWHERE = torch.device("hpu:0")
"""A device that is not the CPU. Within ``FakeTensorMode`` torch knows where each tensor lies, refuses
to mix them, and computes nothing."""


def movable(made: torch.nn.Module) -> torch.nn.Module:
    """A module whose tensors are replaced when it moves: those that are not real cannot be swapped."""

    def to(device: Any) -> torch.nn.Module:
        for module in made.modules():
            for name, one in [*module._parameters.items()]:
                if one is not None:
                    module._parameters[name] = torch.nn.Parameter(one.to(device), False)
            for name, one in [*module._buffers.items()]:
                module._buffers[name] = torch.empty(one.shape, dtype=one.dtype, device=device)
        return made

    made.to = to  # type: ignore[method-assign]
    return made


@families
def test_previews_of_a_model_that_waits_in_the_ram(load, family):
    """As accelerate offloads it: its parts lie on the CPU, and come to the device when called."""
    from accelerate import cpu_offload_with_hook
    from diffusers.models.attention_processor import AttnProcessor

    from models.images.diffusion.families import FAMILIES
    from models.images.diffusion.previews import Previews

    real = load(MODELS[family])._first
    packed = family in ("flux", "flux2-klein")
    channels = real.vae.config.latent_channels
    with FakeTensorMode(allow_non_fake_inputs=True):
        vae = movable(type(real.vae).from_config(real.vae.config).eval())
        vae.set_attn_processor(AttnProcessor())  # of plain products, which any device has
        parts = dict.fromkeys(real.components) | {"vae": vae}
        pipeline = type(real)(**{**parts, "scheduler": real.scheduler})
        cpu_offload_with_hook(vae, ELSEWHERE)
        assert pipeline._execution_device == ELSEWHERE
        previews = Previews(pipeline, FAMILIES[family].unpacked)
        previews.prepare()
        vae.to("cpu")  # where the hook of the next part puts it
        shape = (2, 16, 4 * channels) if packed else (2, channels, 8, 8)
        seen = previews.pixels(torch.empty(shape, device=ELSEWHERE), 64, 64)
    assert seen.device == ELSEWHERE
    assert (len(seen), seen.shape[-1]) == (2, 3)


@pytest.mark.parametrize(
    ("family", "name"),
    [("flux", None), *(("sdxl", name) for name in (None, "ddim", "dpmpp_2m", "euler", "unipc"))],
)
def test_the_estimate_is_where_a_straight_line_ends(load, family, name):
    """It is what the scheduler says itself, or makes at its last step."""
    from models.images.diffusion.previews import estimate

    scheduler = load(MODELS[family]).scheduler(name)
    dice = torch.Generator().manual_seed(1)
    scheduler.set_timesteps(4)
    latents = torch.randn(1, 4, 8, 8, generator=dice) * getattr(scheduler, "init_noise_sigma", 1)
    for timestep in scheduler.timesteps:
        said = torch.randn(latents.shape, generator=dice)
        scheduler.scale_model_input(latents, timestep) if family == "sdxl" else None
        likely = estimate(scheduler, said, timestep, latents)
        assert likely.shape == latents.shape
        made = scheduler.step(said, timestep, latents)
        latents = made.prev_sample
        known = getattr(made, "pred_original_sample", None)
        assert known is None or torch.allclose(likely, known, atol=1e-5)
    if name in (None, "dpmpp_2m"):
        assert torch.allclose(likely, latents, atol=1e-4)


# Adapters ------------------------------------------------------------------------------------------


def lora(into: Any, name: str, engine: Any, layer: str, rank: int = 4, wide: int = 0) -> Adapter:
    """An adapter of one layer of a model, with random weights."""
    core = "unet" if hasattr(engine._first, "unet") else "transformer"
    module = getattr(engine._first, core).get_submodule(layer)
    module = getattr(module, "base_layer", module)
    dice = torch.Generator().manual_seed(len(name))
    path = into / f"{name}.safetensors"
    save_file(
        {
            f"{core}.{layer}.lora_A.weight": torch.randn(
                rank, module.in_features + wide, generator=dice
            ),
            f"{core}.{layer}.lora_B.weight": torch.randn(module.out_features, rank, generator=dice),
        },
        path,
    )
    return Adapter(name, path, 1.0, f"loras[{name}].path")


def layer_of(engine: Any) -> str:
    core = getattr(engine._first, "unet", None) or engine._first.transformer
    names = [name.removesuffix(".base_layer") for name, _ in core.named_modules()]
    return next(name for name in names if name.endswith("to_q"))


@families
def test_an_adapter_counts_for_its_request_alone(load, family, tmp_path):
    engine = load(MODELS[family])
    layer = layer_of(engine)
    first, second = (lora(tmp_path, name, engine, layer) for name in ("first", "second one"))
    before = content(engine, asked())
    changed = content(engine, asked(adapters=(first,)))
    assert changed != before
    assert content(engine, asked()) == before
    assert content(engine, asked(adapters=(second,))) not in (before, changed)
    assert content(engine, asked(adapters=(replace(first, scale=0.25),))) not in (before, changed)
    both = content(engine, asked(adapters=(first, second)))
    assert both not in (before, changed)
    assert content(engine, asked(adapters=(first,))) == changed
    assert content(engine, asked()) == before


def test_an_adapter_fits_what_is_stored_in_eight_bits(load, tmp_path):
    engine = load(replace(FLUX, slug="eight", options={**FLUX.options, "quantization": "int8"}))
    before = content(engine, asked())
    adapter = lora(tmp_path, "first", engine, layer_of(engine))
    assert content(engine, asked(adapters=(adapter,))) != before
    assert content(engine, asked()) == before


@families
def test_a_compiled_models_adapters_are_written_over_each_other(load, family, tmp_path):
    """Each counts for as much as on a model that is not compiled, whatever its rank and scale."""
    from models.images.diffusion.lora_hotswap import HotSwap

    whole = MODELS[family]
    engine, plain = load(replace(whole, slug=f"{family}-swapped")), load(whole)
    engine._adapters = HotSwap(engine._first, whole.slug, 0)
    layer = layer_of(plain)
    small, large, strong = (
        lora(tmp_path, name, plain, layer, rank=rank)
        for name, rank in (("small", 2), ("larger", 16), ("strongest", 4))
    )
    before = content(engine, asked())
    cases = [
        (small,), (large,), (replace(large, scale=-0.5),), (strong, small), (small,),
        (small, large), (replace(strong, scale=2.0), small),
    ]  # fmt: skip
    for adapters in cases:
        [ours], [theirs] = (content(one, asked(adapters=adapters)) for one in (engine, plain))
        difference = np.abs(pixels(opened(ours)) - pixels(opened(theirs)))
        assert difference.max() <= 1, adapters
        assert content(engine, asked()) == before
    core = "unet" if family == "sdxl" else "transformer"
    assert engine._first.get_list_adapters()[core] == ["slot_0", "slot_1"]
    ranks = {
        one.shape[0]
        for name, one in getattr(engine._first, core).named_parameters()
        if "lora_A" in name
    }
    assert ranks == {128}  # to torch's compiler all of them are one


def test_a_compiled_models_adapter_of_other_layers_begins_anew(load, tmp_path, caplog):
    from models.images.diffusion.lora_hotswap import HotSwap

    engine, plain = load(replace(FLUX, slug="anew")), load(FLUX)
    engine._adapters = HotSwap(engine._first, "Tiny_Flux", 0)
    layer = layer_of(plain)
    first = lora(tmp_path, "first", plain, layer)
    other = lora(tmp_path, "other", plain, layer.replace("to_q", "to_k"))
    for adapters in ((first,), (other,), (first, other), (other, first)):
        [ours], [theirs] = (content(one, asked(adapters=adapters)) for one in (engine, plain))
        assert np.abs(pixels(opened(ours)) - pixels(opened(theirs))).max() <= 1, adapters
    wrong = lora(tmp_path, "wrong", plain, layer, wide=32)
    before = content(engine, asked())
    with pytest.raises(InvalidValue):
        run(engine, asked(adapters=(first, wrong)))
    assert content(engine, asked()) == before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler itself
def test_who_compiles_swaps(store, tmp_path, monkeypatch):
    from models.images.diffusion.engine import DiffusersImages
    from models.images.diffusion.lora import Adapters
    from models.images.diffusion.lora_hotswap import HotSwap

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # what the load says in it is undone
    compiled = replace(FLUX, options={**FLUX.options, "compiled": tmp_path})
    for model, kind in ((FLUX, Adapters), (compiled, HotSwap)):
        engine = DiffusersImages.load(store.resolve(FLUX), model, CPU)
        assert type(engine._adapters) is kind
        engine.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_second_adapter_compiles_nothing(load, tmp_path):
    """Minutes: the compiler. By their own names dynamo would compile anew for each, and give up."""
    from torch._dynamo.utils import counters

    options = {**FLUX.options, "compiled": tmp_path / "compiled"}
    engine = load(replace(FLUX, slug="compiled adapters", options=options))
    layer = layer_of(load(FLUX))
    content(engine, asked())
    graphs = []
    for number, rank in enumerate((4, 8, 2)):
        adapter = lora(tmp_path, "x" * (number + 1), load(FLUX), layer, rank=rank)
        content(engine, asked(adapters=(replace(adapter, scale=1.0 + number),)))
        content(engine, asked())
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[1] == graphs[2]


def test_adapters_are_loaded_once_and_the_oldest_goes(load, tmp_path, monkeypatch):
    engine = load(FLUX)
    layer = layer_of(engine)
    three = [lora(tmp_path, name, engine, layer) for name in ("a", "bb", "ccc")]
    monkeypatch.setattr(engine._adapters, "_kept_bytes", 2 * three[0].path.stat().st_size)
    loaded = []
    real = engine._first.load_lora_weights
    monkeypatch.setattr(
        engine._first,
        "load_lora_weights",
        lambda weights, adapter_name: loaded.append(adapter_name) or real(weights, adapter_name),
    )
    wanted = [three[n] for n in (0, 1, 0, 1, 2, 1, 0)]
    for one in wanted:
        content(engine, asked(adapters=(one,)))
    assert len(loaded) == 4  # a is loaded again: c was used after it
    assert len(engine._first.get_list_adapters()["transformer"]) == 2
    made = content(engine, asked(adapters=tuple(three)))
    assert content(engine, asked(adapters=tuple(three))) == made


def test_one_that_breaks_amid_its_load_leaves_nothing(load, tmp_path, monkeypatch):
    engine = load(replace(FLUX, slug="breaks"))
    right, wrong = (lora(tmp_path, name, engine, layer_of(engine)) for name in ("a", "bb"))
    before, changed = content(engine, asked()), content(engine, asked(adapters=(right,)))
    real = engine._first.load_lora_weights

    def breaks(weights: Any, adapter_name: str) -> None:
        real(weights, adapter_name=adapter_name)
        raise RuntimeError("amid it")

    monkeypatch.setattr(engine._first, "load_lora_weights", breaks)
    with pytest.raises(InvalidValue):
        run(engine, asked(adapters=(right, wrong)))
    monkeypatch.undo()
    assert content(engine, asked()) == before
    assert content(engine, asked(adapters=(right,))) == changed


@pytest.mark.parametrize("wrong", ["text", "empty", "other", "unknown", "wide", "half", "alone"])
def test_what_is_no_adapter_of_this_model_leaves_it_as_it_was(load, tmp_path, wrong):
    engine = load(FLUX)
    layer = layer_of(engine)
    before = content(engine, asked())
    adapter = lora(tmp_path, "right", engine, layer, wide=32 if wrong == "wide" else 0)
    down, up = f"transformer.{layer}.lora_A.weight", f"transformer.{layer}.lora_B.weight"
    files = {
        "empty": {},
        "other": {"x": torch.zeros(4, 32)},
        "unknown": {
            "transformer.nothing.lora_A.weight": torch.zeros(4, 32),
            "transformer.nothing.lora_B.weight": torch.zeros(32, 4),
        },
        "half": {down: torch.zeros(4, 32), up: torch.zeros(32, 8)},
        "alone": {down: torch.zeros(4, 32)},
    }
    if wrong == "text":
        adapter.path.write_bytes(b"no adapter at all")
    elif wrong in files:
        save_file(files[wrong], adapter.path)
    with pytest.raises(InvalidValue) as caught:
        run(engine, asked(adapters=(adapter,)))
    assert (caught.value.code, caught.value.param) == ("lora_invalid", "loras[right].path")
    assert content(engine, asked()) == before


# Tuning --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["flux", "flux2-klein", "sdxl"])
def test_eight_bits_are_near_to_the_whole(load, family):
    whole = MODELS[family]
    stored = replace(whole, slug=f"{family}-q", options={**whole.options, "quantization": "int8"})
    engine = load(stored)
    core = getattr(engine._first, "unet", None) or engine._first.transformer
    linear = [one for one in core.modules() if isinstance(one, torch.nn.Linear)]
    assert {one.weight.dtype for one in linear} == {torch.int8}
    [near] = [Image.open(io.BytesIO(one)) for one in content(engine, asked())]
    [far] = [Image.open(io.BytesIO(one)) for one in content(load(whole), asked())]
    difference = np.abs(pixels(near) - pixels(far))
    assert 0 < difference.mean() < 4


def test_what_is_stored_in_eight_bits_stays_as_it_is(load, caplog):
    whole = MODELS["z-image"]
    stored = replace(whole, slug="z-q", options={**whole.options, "quantization": "int8"})
    with caplog.at_level("INFO"):
        engine = load(stored)
    assert "z-q: stored in int8 already; not quantised" in caplog.text
    assert content(engine, asked()) == content(load(whole), asked())


def test_fp8_says_what_it_needs(store):
    from models.images.diffusion.engine import DiffusersImages

    wanted = replace(FLUX, options={**FLUX.options, "quantization": "fp8"})
    with pytest.raises(ModelLoadFailed, match="IMAGES_QUANTIZATION is fp8, which needs a GPU"):
        DiffusersImages.load(store.resolve(FLUX), wanted, CPU)


def test_fp8_never_has_the_whole_of_it_on_the_gpu(monkeypatch, caplog):
    """torchao moves a layer, quantises it and goes on; 24 GB of Flux would not fit where 12 do."""
    from models.pipelines.placement import placed

    asked_for = []
    torchao = ModuleType("torchao.quantization")
    torchao.Float8DynamicActivationFloat8WeightConfig = lambda **kwargs: kwargs
    torchao.PerRow = lambda: "per row"
    torchao.quantize_ = lambda core, how, **kwargs: asked_for.append((core, how, kwargs))
    monkeypatch.setitem(sys.modules, "torchao", ModuleType("torchao"))
    monkeypatch.setitem(sys.modules, "torchao.quantization", torchao)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    pipeline = Placed()
    moved: list[Any] = []
    monkeypatch.setattr(pipeline.transformer, "to", moved.append)
    placed(pipeline, replace(FLUX, options={**FLUX.options, "quantization": "fp8"}), "cuda")
    assert asked_for == [(pipeline.transformer, {"granularity": "per row"}, {"device": "cuda"})]
    assert moved == []
    assert "Tiny_Flux: IMAGES_QUANTIZATION is fp8 without IMAGES_COMPILE" in caplog.text


class Placed:
    """A pipeline that notes where it is put."""

    def __init__(self) -> None:
        self.transformer = torch.nn.Sequential(torch.nn.Linear(4, 4))
        self.where: list[str] = []

    def to(self, kind: str) -> Placed:
        self.where.append(kind)
        return self

    def enable_model_cpu_offload(self) -> None:
        self.where.append("offloaded")


def test_a_model_larger_than_the_memory_waits_in_the_ram(caplog):
    from models.pipelines.placement import placed

    offloaded = replace(FLUX, options={**FLUX.options, "offload": True})
    with caplog.at_level("INFO"):
        assert placed(Placed(), offloaded, "cuda").where == ["offloaded"]
    assert [one.message for one in caplog.records] == [
        "Tiny_Flux: larger than the memory; its parts wait in the RAM"
    ]
    assert placed(Placed(), FLUX, "cuda").where == ["cuda"]
    assert placed(Placed(), offloaded, "cpu").where == ["cpu"]


@pytest.mark.slow
def test_a_compiled_model_makes_the_same_pictures(load, tmp_path):
    """A minute: the compiler; what it makes is found again by the next process."""
    options = {**FLUX.options, "compiled": tmp_path / "compiled"}
    compiled = load(replace(FLUX, slug="compiled", options=options))
    for width in (64, 128):
        [ours], [plain] = (content(one, asked(width=width)) for one in (compiled, load(FLUX)))
        difference = pixels(Image.open(io.BytesIO(ours))) - pixels(Image.open(io.BytesIO(plain)))
        assert np.abs(difference).max() <= 1
    assert any((tmp_path / "compiled").rglob("*.cpp"))
