"""The catalog's rows: pinned, whole, unambiguous."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module

import pytest

from handler.contract import SURFACES
from models.catalog import CATALOG
from models.chat.families import FAMILIES
from models.errors import ModelNotFound
from models.images.diffusion.families import FAMILIES as IMAGE_FAMILIES
from models.row import Catalog
from models.weights.sources import FileSource, HubSource, TinySource, WheelSource, parse

# The gateway's and our pins, typed again, so that a slip in the catalog shows.
PINS = {
    "Llama3_8B_Instruct": "meta-llama/Meta-Llama-3-8B-Instruct@8afb486c1db24fe5011ec46dfbe5b5dccdb575c2",
    "Flux1schnell": "black-forest-labs/FLUX.1-schnell@741f7c3ce8b383c54771c7003378a50191e9efe9",
    "Flux_2_Klein_4B_BF16": "black-forest-labs/FLUX.2-klein-4B@e7b7dc27f91deacad38e78976d1f2b499d76a294",
    "WhisperLargeV3": "Systran/faster-whisper-large-v3@edaa852ec7e145841d8ffdb056a99866b5f0a478",
    "Qwen3_TTS_12Hz_1_7B_CustomVoice": "Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice@0c0e3051f131929182e2c023b9537f8b1c68adfe",
    "BGE_Large": "BAAI/bge-large-en-v1.5@d4aa6901d3a41ba39fb536a557fa166f842b0e09",
    "BGE_M3": "BAAI/bge-m3@5617a9f61b028005a4858fdac845db406aefb181",
}  # fmt: skip


def test_pins():
    for slug, pin in PINS.items():
        assert CATALOG.find(slug).weights == f"hf://{pin}"


@pytest.mark.parametrize("row", CATALOG.rows, ids=lambda row: row.slug)
def test_every_row_is_whole(row):
    source = parse(row.weights)
    if isinstance(source, HubSource):
        assert re.fullmatch(r"[0-9a-f]{40}", source.revision)
    elif isinstance(source, WheelSource):
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
    else:
        assert isinstance(source, TinySource)
    assert row.surface in {*SURFACES, "safety", "speakers"}
    assert row.tasks
    assert row.licence
    assert row.memory_bytes > 0
    module, _, name = row.engine.partition(":")
    engine = getattr(import_module(module), name)
    works = ("admit", "drop", "step") if hasattr(engine, "step") else ("run",)
    assert all(callable(getattr(engine, verb)) for verb in ("load", "prepare", *works, "close"))
    families = IMAGE_FAMILIES if row.surface == "images" else FAMILIES
    assert row.options.get("family") in (None, *families)


def test_no_name_means_two_models():
    for row in CATALOG.rows:
        for name in (row.slug, row.repo, *row.names):
            if name:
                assert [one.slug for one in CATALOG.rows if one.answers_to(name)] == [row.slug]


def test_adding_a_model_touches_one_row():
    added = replace(CATALOG.find("BGE_Large"), slug="Invented_Large", weights="file:///invented")
    catalog = Catalog([*CATALOG.rows, added])
    assert catalog.of("embeddings").find("invented_large") is added
    with pytest.raises(ModelNotFound, match="It holds: .*All_MiniLM_L6_v2"):
        CATALOG.of("embeddings").find("Invented_Large")


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("hf://a/b@c", HubSource("a/b", "c")),
        ("hf://a/b.c@d#e/f.bin", HubSource("a/b.c", "d", "e/f.bin")),
        ("pypi://a==1.0#b/c?sha256=d", WheelSource("a", "1.0", "b/c", "d")),
        ("pypi://a==1#b?sha256=d&convert=e", WheelSource("a", "1", "b", "d", "e")),
        (
            "pypi://a==1#b?sha256=d&convert=e&made=f + pypi://g==2#h?sha256=i",
            WheelSource("a", "1", "b", "d", "e", "f", (WheelSource("g", "2", "h", "i"),)),
        ),
        ("file:///a/b", FileSource("/a/b")),
        ("tiny://flux", TinySource("flux")),
    ],
)
def test_addresses(address, source):
    assert parse(address) == source


@pytest.mark.parametrize(
    "address", ["", "hf://a/b", "hf://a@b", "pypi://a#b", "file://a", "https://x.y/z", "tiny://"]
)
def test_bad_addresses(address):
    with pytest.raises(ValueError, match="not a weights address"):
        parse(address)


def test_a_request_without_a_model_is_told_what_there_is_no_default_for():
    held = Catalog(row for row in CATALOG.rows if row.slug == "Llama3_8B_Instruct")
    with pytest.raises(
        ModelNotFound, match="no default model for img2txt; name a model. It holds: Ll"
    ):
        held.default("chat", "cuda", "img2txt")
