"""What a repository lacks, or is: a line each that says what to do, and nothing is loaded."""

from __future__ import annotations

import json
import pickle
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import QuartetError, RepositoryUnsuited, WeightsGated, WeightsUnavailable
from models.repository import address as addresses
from models.repository.describe import describe
from models.repository.machine import Machine
from models.weights.places import Places
from models.weights.store import WeightsStore
from tests.support import repositories as made
from tests.support.hub import COMMIT, hub
from tests.support.servers import serve

MACHINE = Machine("cpu", "float32")


def change(name: str, **values: object) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        file = folder / name
        made.write(
            folder, name, {**(json.loads(file.read_text()) if file.exists() else {}), **values}
        )

    return do


def drop(*names: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return do


def put(name: str, content: object, *gone: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        drop(*gone)(folder)
        made.write(folder, name, content)

    return do


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def poison(folder: Path) -> None:
    """Replace an encoder's weights by a pickle that would run a function, in torch's own form."""
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"x": Evil()}, protocol=2))


def other_ctranslate2(folder: Path) -> None:
    put("model.bin", "x")(folder)
    put("vocabulary.json", [])(folder)


def old_poison(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))


CODE = {"AutoModel": "modeling_mine.MineModel"}
SHARDED = {
    "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
}
FLAX = {"_class_name": "KandinskyPipeline"}
SDXL = {"_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
DEFECTS = {
    "no config": ("chat", drop("config.json"), "There is no config.json and no model_index.json"),
    "config no json": ("chat", put("config.json", "{no"), "config.json is no JSON"),
    "config a list": ("chat", put("config.json", [1]), "config.json holds no JSON object"),
    "an adapter": (
        "chat",
        put("adapter_config.json", {"base_model_name_or_path": "org/base"}, "config.json"),
        "LoRA adapter: set MODEL to org/base, and name this one in LORA_ADAPTERS",
    ),
    "unknown architecture": (
        "chat", change("config.json", architectures=["T5ForQuestionAnswering"], model_type="t5"),
        "names T5ForQuestionAnswering, which no engine here serves: they serve",
    ),
    "unknown language model": (
        "chat", change("config.json", architectures=["MineForCausalLM"], model_type="mine"),
        "transformers has no causal language model of the type 'mine'",
    ),
    "custom code": (
        "chat",
        change("config.json", architectures=["MineForCausalLM"], model_type="mine", auto_map=CODE),
        "modeling_mine.MineModel, which is code of the repository; .* TRUST_REMOTE_CODE=1",
    ),
    "custom modules": (
        "encoder", put("modules.json", [{"type": "mine.Pool", "path": ""}]),
        "modules.json names mine.Pool, which is code .* TRUST_REMOTE_CODE=1",
    ),
    "no template": ("chat", drop("chat_template.jinja"), "There is no chat template .* set CHAT_TEMPLATE"),
    "no tokenizer": ("chat", drop("tokenizer.json"), "There is no tokenizer"),
    "no context": (
        "chat", change("config.json", max_position_embeddings=None), "set CHAT_CONTEXT_TOKENS",
    ),
    "awq without its library": (
        "chat", change("config.json", quantization_config={"quant_method": "awq"}),
        "stored as awq, which transformers reads with gptqmodel, not installed here; use the image",
    ),
    "fp8 without a GPU": (
        "chat", change("config.json", quantization_config={"quant_method": "fp8"}),
        "stored as fp8, which needs a GPU",
    ),
    "no weights": ("chat", drop("model.safetensors"), r"no weights .* fetch the repository again"),
    "a part missing": (
        "chat", put("model.safetensors.index.json", SHARDED, "model.safetensors"),
        "not whole: model-00001-of-00002.safetensors and 1 more missing",
    ),
    "a pointer": (
        "chat", put("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"), "git lfs pull",
    ),
    "a pickle of a language model": (
        "chat", put("pytorch_model.bin", "x", "model.safetensors"),
        "pytorch_model.bin is a pickle, which can hold code; save it as safetensors",
    ),
    "gguf": ("chat", put("model.Q4.gguf", "x", "model.safetensors"), "GGUF files; name the repository"),
    "mistral's form": (
        "chat", put("consolidated.safetensors", "x", "model.safetensors"), "in transformers' form",
    ),
    "a pickle with code": ("encoder", poison, "pytorch_model.bin would call '.*print'"),
    "an old pickle with code": ("encoder", old_poison, "pytorch_model.bin would call '.*print'"),
    "no checkpoint": (
        "encoder", put("pytorch_model.bin", "nonsense", "model.safetensors"), "no checkpoint of torch's",
    ),
    "classes": (
        "ranker", change("config.json", id2label={"0": "a", "1": "b"}), "classifier of 2 classes",
    ),
    "a classifier of another type": (
        "ranker", change("config.json", model_type="llama"), "A classifier of the type 'llama'",
    ),
    "a ranker without a fast tokenizer": ("ranker", drop("tokenizer.json"), "There is no tokenizer.json"),
    "a pipeline that is not served": (
        "chat", put("model_index.json", FLAX), "names KandinskyPipeline; pipelines that are served: Flux",
    ),
    "a pipeline of its own": (
        "chat", put("model_index.json", {"_class_name": ["mine", "P"]}), "which is code of the repository",
    ),
    "a pipeline without weights": ("chat", put("model_index.json", SDXL), "weights of unet are missing"),
    "ctranslate2's other models": (
        "chat",
        other_ctranslate2,
        "of ctranslate2's and not Whisper's",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "spoil", "says"), DEFECTS.values(), ids=DEFECTS, indirect=["folder"]
)
def test_a_defect_is_named_in_one_line(folder, spoil, says, tmp_path):
    spoil(folder)
    where = f"file://{folder}"
    with pytest.raises(RepositoryUnsuited, match=says) as caught:
        describe(addresses.parse(where), nowhere(tmp_path), MACHINE)
    assert caught.value.message.startswith(f"{where}: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("folder", ["chat"], indirect=True)
def test_code_that_the_operator_trusts_is_no_defect(folder, tmp_path):
    change("config.json", auto_map=CODE)(folder)
    native = describe(addresses.parse(f"file://{folder}"), nowhere(tmp_path), MACHINE).row
    assert "trust_remote_code" not in native.options, "transformers has this model itself"
    change("config.json", model_type="mine", architectures=["MineModel"])(folder)
    made.write(folder, "modules.json", [{"type": "mine.Pool", "path": ""}])
    trusting = Machine("cpu", "float32", trusts_code=True)
    row = describe(addresses.parse(f"file://{folder}"), nowhere(tmp_path), trusting).row
    assert row.options["trust_remote_code"] is True
    assert "*.py" in row.files


@pytest.mark.parametrize("folder", ["encoder"], indirect=True)
def test_a_pickle_of_tensors_alone_is_read(folder, tmp_path):
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    row = describe(addresses.parse(f"file://{folder}"), nowhere(tmp_path), MACHINE).row
    assert "pytorch_model*.bin" in row.files
    assert row.weights_bytes == (folder / "pytorch_model.bin").stat().st_size


@pytest.mark.parametrize("folder", ["encoder"], indirect=True)
def test_a_pickle_that_a_few_bytes_would_make_huge_is_not_read(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    assert (folder / "pytorch_model.bin").stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(RepositoryUnsuited, match="compressed"):
            describe(addresses.parse(f"file://{folder}"), nowhere(tmp_path), MACHINE)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("just-a-name", "no address of a model"),
        ("a/b/c", "no address of a model"),
        ("../b", "no address of a model"),
        ("ftp://host/model", "no address of a model"),
        ("file://relative", "an absolute path"),
        ("file:///models/../etc", r"no \.\."),
    ],
)
def test_what_is_no_address(given, says):
    with pytest.raises(RepositoryUnsuited, match=says):
        addresses.parse(given)


def test_folders_outside_of_those_allowed(tmp_path):
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    allowed.mkdir()
    outside.mkdir()
    (allowed / "link").symlink_to(outside)
    (allowed / "model").mkdir()
    assert addresses.parse(f"file://{allowed}/model", folders=[allowed]).folder == allowed / "model"
    for where in (outside, allowed / "link"):
        with pytest.raises(RepositoryUnsuited, match="outside of MODEL_FOLDERS"):
            addresses.parse(f"file://{where}", folders=[allowed])


def test_a_folder_that_is_none_of_a_model_is_not_searched(tmp_path):
    from models.repository import copies

    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/config.json").write_text("{}")
    (tmp_path / "file").write_text("")
    found = copies.find(addresses.parse(f"file://{tmp_path}"), nowhere(tmp_path / "x"))
    assert list(found.sizes) == ["file"]


def test_forms_of_an_address():
    plain, at, scheme = (addresses.parse(one) for one in ("a/B.c", "a/b@v1.0/x", "hf://a/b@main"))
    assert (plain.repo, plain.revision, plain.name) == ("a/B.c", None, "B.c")
    assert (at.repo, at.revision, str(at)) == ("a/b", "v1.0/x", "a/b@v1.0/x")
    assert (scheme.given, scheme.revision) == ("a/b", "main")
    assert addresses.parse("a/b@v1", "other").revision == "v1", "the address has precedence"
    assert addresses.parse("a/b", "other").revision == "other"
    assert addresses.parse("file:///m/My Model").name == "My-Model"


# Copies and the hub ------------------------------------------------------------------------------


def nowhere(tmp_path: Path, **more: object) -> Places:
    usual = {
        "hub_caches": (),
        "baked": tmp_path / "baked",
        "volume": None,
        "cache": tmp_path / "cache",
    }
    return Places(**{**usual, "endpoint": "http://127.0.0.1:9", **more})


def test_the_hub_is_asked_for_small_files_alone_and_the_commit_is_kept(models, tmp_path):
    asked: list[str] = []
    with serve(hub(models / "chat", COMMIT, asked=asked)) as url:
        here = nowhere(tmp_path, endpoint=url)
        found = describe(addresses.parse("Me/Mine@v2"), here, MACHINE)
        assert asked[0] == "v2"
        assert "model.safetensors" not in asked
        assert found.row.weights == f"hf://Me/Mine@{COMMIT}"
        assert (found.row.licence, found.sources["licence"]) == ("mit", "the hub")
        assert found.row.weights_bytes == (models / "chat/model.safetensors").stat().st_size
        assert not here.cache.exists(), "a description stores nothing"
        store = WeightsStore(here)
        folder = store.resolve(found.row)
    assert folder.name == f"hf--me--mine--{COMMIT}"
    again = describe(addresses.parse("Me/Mine"), nowhere(tmp_path), MACHINE)
    assert again.row.weights == found.row.weights, "the copy says its commit, without the hub"
    assert store.resolve(again.row) == folder


@pytest.mark.parametrize(
    ("where", "refuse", "error", "says"),
    [
        ("Me/Mine", "GatedRepo", WeightsGated, "Me/Mine is gated: set HF_TOKEN"),
        ("Me/Mine", "RepoNotFound", RepositoryUnsuited, "has no repository Me/Mine"),
        ("Me/Mine@v3", None, RepositoryUnsuited, "Me/Mine has no revision v3; name a branch"),
    ],
)
def test_what_the_hub_refuses(models, tmp_path, where, refuse, error, says):
    with serve(hub(models / "chat", COMMIT, refuse)) as url:
        with pytest.raises(error, match=says):
            describe(addresses.parse(where), nowhere(tmp_path, endpoint=url), MACHINE)


def test_no_copy_and_no_hub(tmp_path):
    with pytest.raises(
        WeightsUnavailable, match="not on this machine and the hub cannot be reached"
    ):
        describe(addresses.parse("Me/Mine"), nowhere(tmp_path), MACHINE)
    with pytest.raises(RepositoryUnsuited, match="no folder of this machine"):
        describe(addresses.parse("file:///nowhere/at/all"), nowhere(tmp_path), MACHINE)


def test_revisions_of_the_hubs_own_cache(models, tmp_path):
    home = tmp_path / "home"
    for commit in ("a1" * 20, "b2" * 20):
        shutil.copytree(models / "chat", made.snapshot(home, "Me/Mine", commit), dirs_exist_ok=True)
    refs = home / "hub/models--Me--Mine/refs"
    (refs / "v1").write_text("a1" * 20)
    here = nowhere(tmp_path, hub_caches=(home / "hub",))

    def commit(where: str) -> str:
        return describe(addresses.parse(where), here, MACHINE).row.weights.partition("@")[2]

    assert commit("Me/Mine") == "b2" * 20, "the main branch"
    assert commit("me/mine@v1") == "a1" * 20, "a tag"
    assert commit(f"Me/Mine@{'a1' * 20}") == "a1" * 20
    (refs / "main").unlink()
    with pytest.raises(QuartetError, match="hub cannot be reached"):
        commit("Me/Mine")  # nothing says which
    with pytest.raises(QuartetError, match="hub cannot be reached"):
        commit("Me/Mine@v9")


def test_nothing_is_downloaded_that_does_not_fit_the_disk(models, tmp_path, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(
        "shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 10)
    )
    with serve(hub(models / "chat", COMMIT, asked=asked)) as url:
        here = nowhere(tmp_path, endpoint=url)
        row = describe(addresses.parse("Me/Mine"), here, MACHINE).row
        del asked[:]
        with pytest.raises(WeightsUnavailable, match="the disk has 0.0 GB free"):
            WeightsStore(here).resolve(row)
    assert asked == []
