"""Checkpoints of images in one file: described by their tensors, loaded, and painting."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import QuartetError, RepositoryUnsuited
from models.repository import address as addresses
from models.repository.describe import describe
from models.repository.machine import Machine
from models.weights.places import Places
from models.weights.store import WeightsStore
from tests.conftest import decoded
from tests.support import single_files
from tests.support.hub import COMMIT, hub
from tests.support.servers import serve


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``base`` with a pipeline, and files: of all its weights, and without two parts."""
    root = tmp_path_factory.mktemp("single")
    pipeline = single_files.sdxl(root / "base")
    whole = single_files.checkpoint(pipeline)
    single_files.save(whole, root / "My Model v1.safetensors".replace(" ", "-"))
    few = single_files.checkpoint(pipeline, without=("vae", "text_encoder"))
    single_files.save(few, root / "few.safetensors")
    return root


def nowhere(tmp_path: Path) -> Places:
    nothing = tmp_path / "nothing"
    return Places((), nothing, None, tmp_path / "cache", endpoint="http://127.0.0.1:9")


def machine(made: Path, kind: str = "cpu") -> Machine:
    return Machine(kind, "float32", base=f"file://{made / 'base'}")


def painted(pipeline: Any) -> np.ndarray:
    import torch

    pipeline.set_progress_bar_config(disable=True)
    return np.asarray(
        pipeline(
            "a", width=64, height=64, num_inference_steps=2, guidance_scale=5.0,
            generator=torch.Generator().manual_seed(3),
        ).images[0]
    ).astype(int)  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize("file", ["My-Model-v1.safetensors", "few.safetensors"])
async def test_a_single_file_paints_what_its_pipeline_paints(made, make_worker, tmp_path, file):
    from diffusers import StableDiffusionXLPipeline

    worker = make_worker(
        FAKE_ENGINES="0", MODEL=f"file://{made / file}", MODEL_BASE=f"file://{made / 'base'}",
        QUARTET_CACHE=str(tmp_path), HF_ENDPOINT="http://127.0.0.1:9",
    )  # fmt: skip
    body = {"prompt": "a", "size": "64x64", "steps": 2, "seed": 3, "guidance": 5.0}
    answer = decoded(await worker.answer({"id": "1", "input": body}))
    content = base64.b64decode(answer["data"][0]["b64_json"])
    from PIL import Image

    ours = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    theirs = painted(StableDiffusionXLPipeline.from_pretrained(made / "base"))
    assert np.abs(ours - theirs).max() <= 1
    assert answer["model"] == file.removesuffix(".safetensors")


def test_every_field_of_a_single_file_has_a_source(made, tmp_path):
    file = made / "few.safetensors"
    found = describe(addresses.parse(f"file://{file}"), nowhere(tmp_path), machine(made))
    row, base = found.row, made / "base"
    others = {
        "vae": base / "vae/diffusion_pytorch_model.safetensors",
        "text_encoder": base / "text_encoder/model.safetensors",
    }
    assert (row.slug, row.surface) == ("few", "images")
    assert row.tasks == {"txt2img", "img2img", "inpaint"}
    assert row.weights == f"file://{file} + file://{base}"
    assert row.engine == "models.images.diffusion.engine:DiffusersImages"
    sizes = {name: other.stat().st_size for name, other in others.items()}
    assert row.weights_bytes == file.stat().st_size + sum(sizes.values())
    assert [name for name in row.files if "*" not in name] == [
        "text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors",
        "few.safetensors",
    ]  # fmt: skip
    assert dict(row.defaults) == {"size": "1024x1024", "steps": 30, "guidance": 5.0}
    options = dict(row.options)
    assert options.pop("denoiser_bytes") < file.stat().st_size
    assert options.pop("encoder_bytes") > 0
    assert options.pop("offloaded_bytes") > 5 * 10**9
    assert options == {
        "family": "sdxl", "prompt_tokens": 77, "most_pixels": 2 * 1024 * 1024,
        "checkpoint": "few.safetensors",
    }  # fmt: skip
    assert row.memory_bytes > 5 * 10**9
    assert (row.licence, row.gated, row.timeout_s) == ("not said", False, 300.0)
    assert found.sources == {
        "slug": "its name",
        "names": "its address",
        "surface": "the names of its tensors",
        "tasks": "the names of its tensors",
        "engine": "the names of its tensors",
        "options.family": "the names of its tensors",
        "options.prompt_tokens": "the family sdxl",
        "options.most_pixels": "the family sdxl",
        "timeout_s": "ours, for images",
        "defaults.size": "unet/config.json: sample_size",
        "defaults.steps": "the family sdxl",
        "defaults.guidance": "the family sdxl",
        "options.checkpoint": "its name",
        "weights": "a file of this machine; other parts: a folder of this machine",
        "files": "the tensors of the file",
        "weights_bytes": "the size of the file, and of the parts that it lacks",
        "memory_bytes": "weights, and a picture of 1024x1024",
        "options.offloaded_bytes": "the largest part, and a picture",
        "options.denoiser_bytes": "the size of the part that denoises",
        "options.encoder_bytes": "the largest other part",
        "licence": "the file says none",
    }
    assert found.notes == (
        "the file lacks text_encoder, vae: they come from a folder of this machine",
    )
    half = describe(addresses.parse(f"file://{file}"), nowhere(tmp_path), machine(made, "cuda")).row
    assert half.memory_bytes < row.memory_bytes


def test_what_is_put_together_is_links_and_is_used_again(made, tmp_path):
    places = nowhere(tmp_path)
    where = addresses.parse(f"file://{made / 'few.safetensors'}")
    row = describe(where, places, machine(made)).row
    folder = WeightsStore(places).resolve(row)
    assert (folder / "few.safetensors").readlink() == made / "few.safetensors"
    assert (folder / "vae/diffusion_pytorch_model.safetensors").is_symlink()
    assert not (folder / "unet/diffusion_pytorch_model.safetensors").exists()
    again = describe(where, places, Machine("cpu", "float32")).row
    assert again.weights == row.weights, "the parts need not be looked for again"
    assert WeightsStore(places).locate(again) == folder


def test_the_image_gets_copies(made, tmp_path, monkeypatch):
    from builder import __main__ as builder

    to = tmp_path / "models"
    monkeypatch.setattr(builder, "_ENV", {"MODEL_BASE": f"file://{made / 'base'}"})
    where = f"file://{made / 'few.safetensors'}"
    monkeypatch.setattr(
        "sys.argv", ["builder", "fetch", "--surface", "images", "--model", where, "--to", str(to)]
    )
    assert builder.main() == 0
    [folder] = [one for one in to.iterdir() if one.is_dir()]
    assert not (folder / "few.safetensors").is_symlink()
    assert not (folder / "vae/diffusion_pytorch_model.safetensors").is_symlink()


def test_a_single_file_of_a_repository(made, tmp_path):
    asked: list[str] = []
    with serve(hub(made, COMMIT, asked=asked)) as url:
        here = replace(nowhere(tmp_path), endpoint=url)
        where = addresses.parse("Me/Mine@v2#few.safetensors")
        found = describe(where, here, machine(made))
        assert (
            found.row.weights == f"hf://Me/Mine@{COMMIT}#few.safetensors + file://{made / 'base'}"
        )
        assert (found.row.licence, found.row.slug) == ("mit", "few")
        folder = WeightsStore(here).resolve(found.row)
        with pytest.raises(
            RepositoryUnsuited, match="Me/Mine has no file y.safetensors; its safet"
        ):
            describe(addresses.parse("Me/Mine#y.safetensors"), here, machine(made))
    assert (folder / "few.safetensors").read_bytes() == (made / "few.safetensors").read_bytes()
    assert (folder / "vae/config.json").is_file()
    later = addresses.parse(f"Me/Mine@{COMMIT}#few.safetensors")
    again = describe(later, nowhere(tmp_path), machine(made)).row
    assert again.weights == found.row.weights, "the copy says its commit, without the hub"


# What is no such file ----------------------------------------------------------------------------

UNET = "model.diffusion_model."


def header(**tensors: tuple[int, ...]) -> dict[str, Any]:
    import torch

    return {name.replace("__", "."): torch.zeros(shape) for name, shape in tensors.items()}


def dressed(prefix: str, **tensors: tuple[int, ...]) -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in header(**tensors).items()}


FLUX = {"double_blocks__0__img_attn__norm__key_norm__scale": (4,), "img_in__weight": (8, 64)}
GUIDED = {**FLUX, "guidance_in__in_layer__weight": (2, 2)}
SDXL = {"input_blocks__0__0__weight": (8, 4, 3, 3), "label_emb__0__0__weight": (8, 8)}
OPENCLIP = header(conditioner__embedders__1__model__positional_embedding=(2, 2))
FILLS = {"input_blocks__0__0__weight": (8, 9, 3, 3), "label_emb__0__0__weight": (8, 8)}
REFUSED = {
    "a lora": (header(lora_unet_down__lora_down__weight=(2, 2)), "It is a LoRA: set MODEL"),
    "stable diffusion 1": (
        dressed(UNET, input_blocks__0__0__weight=(8, 4, 3, 3)) | header(cond_stage_model__x=(1,)),
        "of an unknown model|of Stable Diffusion 1 or 2",
    ),
    "the refiner": (dressed(UNET, **SDXL), "of SDXL's refiner; of single files"),
    "a part alone": (header(transformer_blocks__0__x=(1,)), "one part alone, in the form of diff"),
    "z-image": (dressed(UNET, layers__0__adaLN_modulation__0__weight=(1,)), "is of Z-Image"),
    "fills in": (dressed(UNET, **FILLS) | OPENCLIP, "reads 9 channels, not 4"),
    "flux fill": (header(**{**GUIDED, "img_in__weight": (8, 384)}), "reads 384 channels, not 64"),
    "playground": (dressed(UNET, **SDXL) | OPENCLIP | header(edm_mean=(4,)), "is of Playground"),
    "velocities": (dressed(UNET, **SDXL) | OPENCLIP | header(v_pred=(1,)), "v_pred"),
    "another base": (header(**FLUX), "of the family flux, and MODEL_BASE, file://.*, of sdxl"),
    "nothing": (header(x=(1,)), "of an unknown model; of single files"),
}


@pytest.mark.parametrize(("tensors", "says"), REFUSED.values(), ids=REFUSED)
def test_files_that_are_refused_in_one_line(made, tmp_path, tensors, says):
    file = single_files.save(tensors, tmp_path / "x.safetensors")
    with pytest.raises(RepositoryUnsuited, match=says) as caught:
        describe(addresses.parse(f"file://{file}"), nowhere(tmp_path), machine(made))
    assert caught.value.message.startswith(f"file://{file}: ")
    assert "\n" not in caught.value.message


def test_a_file_in_eight_bits_is_refused(made, tmp_path):
    import torch

    tensors = dressed(UNET, **SDXL) | OPENCLIP
    file = single_files.save(
        {name: tensor.to(torch.float8_e4m3fn) for name, tensor in tensors.items()},
        tmp_path / "x.safetensors",
    )
    with pytest.raises(RepositoryUnsuited, match="stored as fp8"):
        describe(addresses.parse(f"file://{file}"), nowhere(tmp_path), machine(made))


@pytest.mark.parametrize("spoil", ["gone", "cut", "text", "pointer"])
def test_files_that_cannot_be_read(made, tmp_path, spoil):
    file = tmp_path / "x.safetensors"
    content = (made / "few.safetensors").read_bytes()
    texts = {
        "cut": content[:-5],
        "text": b"hello",
        "pointer": b"version https://git-lfs" + b"x" * 90,
    }
    if spoil in texts:
        file.write_bytes(texts[spoil])
    says = "is no file of this machine" if spoil == "gone" else "not a complete safetensors file"
    with pytest.raises(QuartetError, match=says):
        describe(addresses.parse(f"file://{file}"), nowhere(tmp_path), machine(made))


def test_the_catalogs_pipeline_has_the_other_parts(made, tmp_path):
    from models.catalog import CATALOG

    with pytest.raises(QuartetError, match="lacks come from hf://stabilityai/.*Or set MODEL_BASE"):
        describe(
            addresses.parse(f"file://{made / 'few.safetensors'}"),
            nowhere(tmp_path), Machine("cpu", "float32"),
        )  # fmt: skip
    # It is in the hub's cache here, as a worker that has served it left it there.
    pinned = CATALOG.find("SDXL").weights
    repo, _, commit = pinned.removeprefix("hf://").partition("@")
    snapshot = tmp_path / f"hub/models--{repo.replace('/', '--')}/snapshots/{commit}"
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(made / "base")
    places = Places((tmp_path / "hub",), tmp_path / "no", None, tmp_path / "cache")
    found = describe(
        addresses.parse(f"file://{made / 'few.safetensors'}"), places, Machine("cpu", "float32")
    )
    assert found.row.weights.endswith(f" + {pinned}")
    folder = WeightsStore(places).resolve(found.row)
    assert json.loads((folder / "model_index.json").read_text())["_class_name"]


def test_flux_in_one_file(tmp_path):
    base = tmp_path / "base"
    part = {
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder_2": ["transformers", "T5EncoderModel"],
    }
    (base / "transformer").mkdir(parents=True)
    (base / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline", **part}))
    for name, file in (("vae", "diffusion_pytorch_model"), ("text_encoder_2", "model")):
        (base / name).mkdir()
        (base / name / f"{file}.safetensors").write_bytes(b"x" * 100)
    for tensors, guided, family, steps in (
        (FLUX, False, "flux", 4), (GUIDED, True, "flux-dev", 28),
    ):  # fmt: skip
        (base / "transformer/config.json").write_text(json.dumps({"guidance_embeds": guided}))
        for prefix in ("", UNET):
            file = single_files.save(dressed(prefix, **tensors), tmp_path / "flux.safetensors")
            mine = Machine("cuda", "bfloat16", base=f"file://{base}")
            row = describe(addresses.parse(f"file://{file}"), nowhere(tmp_path), mine).row
            assert (row.options["family"], row.defaults["steps"]) == (family, steps)
            assert row.weights_bytes == file.stat().st_size + 200
            assert "transformer/config.json" not in row.files


def test_diffusers_reads_the_same_kind_from_the_names(made):
    from diffusers.loaders.single_file_utils import infer_diffusers_model_type

    from models.repository.single_file import family_of
    from models.weights.header import Header, Tensor

    for tensors, kind, family in (
        (header(**FLUX), "flux-schnell", "flux"),
        (
            header(**GUIDED, guidance_in__in_layer__bias=(2,)) | header(img_in__weight=(8, 64)),
            "flux-dev",
            "flux-dev",
        ),
    ):
        described = {name: Tensor("F32", tuple(one.shape), 0) for name, one in tensors.items()}
        assert family_of(Header(described, {}, 0)) == family
        assert infer_diffusers_model_type(tensors) == kind
