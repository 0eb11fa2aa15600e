"""Every model that the gateway lists, on a worker that has the gateway's variables alone.

A model's tiny likeness lies where its weights are baked into an image, under the address that the
catalog pins. To add a model, add a row to ``MODELS``.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from handler.assemble import assemble
from handler.settings.variables import Settings
from models.catalog import CATALOG
from models.row import Catalog
from models.weights.sources import HubSource, parse
from tests.conftest import ROOT, decoded
from tests.conftest import row as row_of
from tests.support.drawings import drawing, encoded
from tests.support.onnx_exports import export

pytestmark = pytest.mark.anyio

PICTURE = "data:image/png;base64," + base64.b64encode(encoded(drawing(24, 24))).decode()
RECORDING = json.loads((ROOT / "examples/transcribe.json").read_text())["input"]["audioUrl"]
Lay = Callable[[Any, Path], None]


def of_recipe(name: str) -> Lay:
    """Lay the files of a recipe of ``models.tiny`` out as a repository's."""

    def lay(store: Any, folder: Path) -> None:
        source = store.resolve(replace(row_of("Tiny_Flux"), weights=f"tiny://{name}"))
        shutil.copytree(source, folder, dirs_exist_ok=True)

    return lay


def int8(store: Any, folder: Path) -> None:
    """The file of BGE-M3 in ONNX."""
    export(store.resolve(row_of("Tiny_BGE_M3")), folder, "normalised", int8=True)
    graph = next(folder.glob("*.onnx"))
    graph.rename(folder / "model_quantized.onnx")


@dataclass(frozen=True)
class Listed:
    """A model of the gateway's list.

    Attributes:
        repo, revision, artifact, tasks: as the gateway's variables have them.
        lay: puts tiny weights into a folder.
        body: a job's input, as the gateway hands it on: without ``model``.
        answered: whether an answer is right.
        tiny: the row of the likeness, whose options and defaults go with its weights.
        defaults: further ones, so that a rehearsal is small.
    """

    repo: str
    revision: str
    artifact: str
    tasks: str
    lay: Lay
    body: dict[str, Any]
    answered: Callable[[Any], bool]
    tiny: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)


def pictured(answer: Any) -> bool:
    return bool(base64.b64decode(answer["data"][0]["b64_json"]))


MODELS = {
    "Ben2": Listed(
        "PramaLLC/BEN2", "e48a20765fb421d19dcdb0bf3cc61e802ca5ec8f", "model.safetensors",
        "img-rmbg", of_recipe("ben2"), {"prompt": "-", "image": PICTURE}, pictured, "Tiny_Ben2",
    ),
    "Flux_2_Klein_4B_BF16": Listed(
        "black-forest-labs/FLUX.2-klein-4B", "e7b7dc27f91deacad38e78976d1f2b499d76a294", "",
        "txt2img,img2img", of_recipe("flux2-klein"),
        {"prompt": "a fox", "n": 1, "width": 64, "height": 64, "seed": 42}, pictured,
        defaults={"size": "64x64"},
    ),
    "ZImageTurbo_INT8": Listed(
        "Disty0/Z-Image-Turbo-SDNQ-int8", "43d0947f91c14b93da75704be27565ee30694f21", "",
        "txt2img", of_recipe("z-image"),
        {"prompt": "a fox", "n": 1, "width": 64, "height": 64, "seed": 42}, pictured,
        defaults={"size": "64x64"},
    ),
    "Ltx2_3_22B_Dist_INT8": Listed(
        "dryAPI-ai/ltx2-3-22b-dist-int8", "04676ace2a25544f56a8f59eccde925bc7ed8177",
        "ltx-2.3-22b-distilled_qint8.safetensors", "txt2video,img2video", of_recipe("ltx2"),
        {"prompt": "waves", "width": 96, "height": 64, "frames": 9, "fps": 24, "steps": 8,
         "guidance": 1, "seed": 1},
        pictured, "Tiny_Ltx2",
    ),
    "RealESRGAN_x4": Listed(
        "qualcomm/Real-ESRGAN-x4plus", "c2805898fa5d7d0d363af09e96200f831ad86edb", "",
        "img-upscale", of_recipe("esrgan"), {"prompt": "-", "image": PICTURE}, pictured,
    ),
    "Bge_M3_INT8": Listed(
        "gpahal/bge-m3-onnx-int8", "2b34e84df040034d4b9eabb62383a87c18955822",
        "model_quantized.onnx", "txt2embedding", int8, {"input": "a fox"},
        lambda answer: bool(answer["data"][0]["embedding"]),
    ),
    "WhisperLargeV3": Listed(
        "openai/whisper-large-v3", "06f233fe06e710322aca913c1bc4249a0d71fce1", "",
        "vid2txt", of_recipe("whisper"), {"audioUrl": RECORDING, "response_format": "verbose_json"},
        lambda answer: answer["duration"] > 5,
    ),
    "Nanonets_Ocr_S_F16": Listed(
        "nanonets/Nanonets-OCR-s", "3baad182cc87c65a1861f0c30357d3467e978172",
        "model.safetensors.index.json", "img2txt", of_recipe("qwen-vl"),
        {"image": PICTURE, "language": "en", "format": "text", "max_tokens": 4},
        lambda answer: "content" in answer["choices"][0]["message"], "Tiny_Qwen_VL",
    ),
    "AceStep_1_5_Turbo": Listed(
        "ACE-Step/acestep-v15-turbo-continuous", "f8e893768347fd42f5988e07d1d80675fc3e5718",
        "model.safetensors", "txt2music", of_recipe("acestep"),
        {"caption": "lofi", "lyrics": "[Instrumental]", "duration": 10, "inference_steps": 8,
         "guidance_scale": 1, "seed": -1, "format": "flac"},
        lambda answer: base64.b64decode(answer["b64_json"])[:4] == b"fLaC", "Tiny_AceStep",
    ),
}  # fmt: skip


def variables(slug: str, model: Listed) -> dict[str, str]:
    """What the gateway sets on an endpoint."""
    tag = f"hf://{model.repo}@{model.revision}"
    return {
        "MODEL_SLUG": slug,
        "MODEL_DISPLAY_NAME": slug.replace("_", " "),
        "MODEL_TASKS": model.tasks,
        "MODEL_HUGGINGFACE_MODEL": model.repo,
        "HUGGINGFACE_MODEL": model.repo,
        "MODEL_OPEN_SOURCE_KIND": "huggingface",
        "MODEL_OPEN_SOURCE_REPO": model.repo,
        "MODEL_OPEN_SOURCE_REVISION": model.revision,
        "MODEL_OPEN_SOURCE_ARTIFACT": model.artifact,
        "MODEL_OPEN_SOURCE_IMAGE_TAG": tag + (f"#{model.artifact}" if model.artifact else ""),
        "MODEL_MIN_CUDA_VERSION": "12.8",
        "MODEL_GPU_CANDIDATES": "ADA_24,AMPERE_48",
        "MODEL_QUEUE_DELAY_SECONDS": "4",
        "MODEL_BATCH_WINDOW_SECONDS": "0",
        "MODEL_MAX_BATCH_SIZE": "1",
        "MODEL_FLASHBOOT": "true",
        "MODEL_WORKER_CLASS": "any",
    }


def catalog(slug: str, model: Listed) -> Catalog:
    """The catalog, in which the model knows the sizes of its tiny likeness."""
    tiny = None if model.tiny is None else CATALOG.find(model.tiny)
    options, defaults = ({}, {}) if tiny is None else (tiny.options, tiny.defaults)
    changed = replace(
        row_of(slug),
        options={**row_of(slug).options, **options},
        defaults={**row_of(slug).defaults, **defaults, **model.defaults},
    )
    return Catalog(changed if row.slug == slug else row for row in CATALOG.rows)


def place(slug: str, root: Path) -> Path:
    """Where a copy of a model's weights lies below a folder of such copies."""
    return root / parse(CATALOG.find(slug).weights).key


@pytest.mark.parametrize("slug", MODELS)
async def test_the_gateways_variables_alone_make_a_worker_that_answers(
    store, tmp_path, monkeypatch, slug
):
    model = MODELS[slug]
    folder = place(slug, tmp_path)
    folder.mkdir(parents=True)
    model.lay(store, folder)
    monkeypatch.setattr("handler.assemble.CATALOG", catalog(slug, model))
    # Beside the gateway's variables stands what this machine lacks: weights, and a GPU's memory.
    machine = {"QUARTET_CACHE": str(tmp_path), "DEVICE": "cpu", "MEMORY_BUDGET_GB": "200"}
    worker = assemble(Settings.from_env({**variables(slug, model), **machine}))
    await worker.warm()
    assert [one.slug for one in worker.endpoint.catalog.rows if one.slug == slug] == [slug]
    [warm] = worker.dispatcher.pool.models()
    assert warm.row.slug == slug, "ready before its first job"
    answer = decoded(await worker.answer({"id": "j", "input": model.body}))
    assert "error" not in answer, answer
    assert model.answered(answer)
    assert answer.get("model", slug) == slug


def test_every_pinned_revision_is_the_gateways():
    for slug, model in MODELS.items():
        source = parse(CATALOG.find(slug).weights)
        if isinstance(source, HubSource) and source.repo == model.repo:
            assert source.revision == model.revision
