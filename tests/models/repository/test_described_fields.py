"""Every field of a description, and its source: embeddings, reranking, transcription, images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models import tiny
from models.repository import address as addresses
from models.repository.describe import Description, describe
from models.repository.machine import Machine
from models.weights.places import Places
from tests.support import repositories as made

MACHINE = Machine("cpu", "float32")
HALF = Machine("cuda", "bfloat16")
QUARTER_GB = 250_000_000
NAMES = {"slug": "its name", "names": "its address"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def described(home: Path, repo: str, machine: Machine = MACHINE) -> Description:
    nowhere = home / "nowhere"
    places = Places((home / "hub",), nowhere, None, home / "cache", endpoint="http://127.0.0.1:9")
    return describe(addresses.parse(repo), places, machine)


def fields(found: Description) -> dict[str, object]:
    """What a row says, without what every row of a repository in a cache says alike."""
    row = found.row
    assert row.names == (f"Me/{row.slug}",)
    assert (row.mirrors, row.default_on, row.stand_in, row.notice, dict(row.adapters)) == (
        (), frozenset(), None, None, {},
    )  # fmt: skip
    assert row.gated is False
    return {
        "surface": row.surface, "tasks": set(row.tasks), "engine": row.engine.rpartition(":")[2],
        "timeout_s": row.timeout_s, "licence": row.licence, "options": dict(row.options),
        "defaults": dict(row.defaults), "weights": row.weights,
    }  # fmt: skip


def size(folder: Path, name: str = "model.safetensors") -> int:
    return (folder / name).stat().st_size


def test_an_embedder_of_sentence_transformers(home):
    folder = made.snapshot(home, "Me/Embed")
    made.last_token_embedder(folder)
    made.write(folder, "README.md", "---\nlicense: other\nlicense_name: my-licence\n---\n")
    found = described(home, "Me/Embed")
    assert fields(found) == {
        "surface": "embeddings", "tasks": {"txt2embedding", "rerank"}, "engine": "TorchEmbeddings",
        "timeout_s": 120.0, "licence": "my-licence", "defaults": {},
        "weights": f"hf://Me/Embed@{made.COMMIT}",
        "options": {
            "pooling": "lasttoken", "max_tokens": 512,
            "prefixes": {"query": "Instruct: find\nQuery:"},
        },
    }  # fmt: skip
    assert found.row.weights_bytes == size(folder)
    assert found.row.memory_bytes == size(folder) * 3 // 2 + QUARTER_GB
    assert found.sources == {
        **NAMES,
        "weights": f"in a hub cache: {folder}",
        "surface": "config.json: architectures",
        "engine": "config.json: architectures",
        "files": "the engine",
        "timeout_s": "ours, for embeddings",
        "weights_bytes": "the sizes of model.safetensors",
        "memory_bytes": "weights in float32, half as much",
        "tasks": "modules.json",
        "options.pooling": "1_Pooling/config.json",
        "options.max_tokens": "tokenizer_config.json: model_max_length",
        "options.prefixes": "config_sentence_transformers.json: prompts",
        "licence": "README.md",
    }
    half = described(home, "Me/Embed", HALF).row
    assert half.memory_bytes == size(folder) // 2 * 3 // 2 + QUARTER_GB


def test_a_plain_encoder(home):
    folder = made.snapshot(home, "Me/Plain")
    made.encoder(folder)
    saved = json.loads((folder / "config.json").read_text())
    made.write(folder, "config.json", {**saved, "matryoshka_dimensions": [16, 8]})
    found = described(home, "Me/Plain")
    options = {"pooling": "mean", "max_tokens": 512, "dimensions": (16, 8)}
    assert fields(found)["options"] == options
    assert found.sources["options.pooling"] == "no modules.json: sentence-transformers' own"
    assert found.sources["options.dimensions"] == "config.json: matryoshka_dimensions"
    assert found.sources["tasks"] == "config.json: architectures"
    assert (found.row.licence, found.sources["licence"]) == ("not said", "README.md names none")


@pytest.mark.parametrize(("model_type", "tokens"), [("bert", 512), ("xlm-roberta", 510)])
def test_a_reranker(home, model_type, tokens):
    folder = made.snapshot(home, "Me/Rank")
    made.reranker(folder, model_type)
    found = described(home, "Me/Rank")
    assert fields(found) == {
        "surface": "embeddings", "tasks": {"rerank"}, "engine": "CrossEncoder",
        "timeout_s": 120.0, "licence": "not said", "defaults": {},
        "weights": f"hf://Me/Rank@{made.COMMIT}", "options": {"max_tokens": tokens},
    }  # fmt: skip
    assert found.row.weights_bytes == size(folder)
    assert found.row.memory_bytes == size(folder) * 3 // 2 + QUARTER_GB
    assert found.sources == {
        **NAMES,
        "weights": f"in a hub cache: {folder}",
        "surface": "config.json: architectures",
        "engine": "config.json: architectures",
        "files": "the engine",
        "timeout_s": "ours, for embeddings",
        "weights_bytes": "the sizes of model.safetensors",
        "memory_bytes": "weights in float32, half as much",
        "tasks": "config.json: one label",
        "options.max_tokens": "config.json: max_position_embeddings",
        "licence": "README.md names none",
    }


def test_a_judge(home):
    folder = made.snapshot(home, "Me/My-Reranker")
    made.judge(folder)
    made.write(folder, "config_sentence_transformers.json", {
        "model_type": "CrossEncoder", "prompts": {"query": "Is it about cats?"},
    })  # fmt: skip
    found = described(home, "Me/My-Reranker")
    assert fields(found) == {
        "surface": "embeddings", "tasks": {"rerank"}, "engine": "Judge",
        "timeout_s": 120.0, "licence": "apache-2.0", "defaults": {},
        "weights": f"hf://Me/My-Reranker@{made.COMMIT}",
        "options": {"max_tokens": 512, "instruction": "Is it about cats?"},
    }  # fmt: skip
    assert found.sources["tasks"] == "its name, template or modules: a reranker"
    assert found.sources["options.max_tokens"] == "config.json: max_position_embeddings"
    assert found.sources["options.instruction"] == "config_sentence_transformers.json: prompts"
    assert found.row.memory_bytes == size(folder) * 3 // 2 + QUARTER_GB


def whisper(folder: Path) -> None:
    import torch

    from models.tiny import whisper

    with torch.random.fork_rng():
        torch.manual_seed(tiny.SEED)
        whisper.save(folder)


def test_a_whisper_of_transformers(home):
    folder = made.snapshot(home, "Me/Whisper")
    whisper(folder)
    found = described(home, "Me/Whisper")
    assert fields(found) == {
        "surface": "transcribe", "tasks": {"transcribe", "translate", "vid2txt"},
        "engine": "FasterWhisper", "timeout_s": 240.0, "licence": "not said", "defaults": {},
        "weights": f"hf://Me/Whisper@{made.COMMIT}?convert=whisper-ct2", "options": {},
    }  # fmt: skip
    assert found.row.files == ("*.json", "*.txt", "model.safetensors")
    half = size(folder) // 2
    assert found.row.weights_bytes == size(folder)
    assert found.row.memory_bytes == half + int(half / 12 * 4) + QUARTER_GB
    assert found.sources == {
        **NAMES,
        "weights": f"in a hub cache: {folder}; converted once",
        "surface": "its files",
        "engine": "its files",
        "timeout_s": "ours, for transcription",
        "weights_bytes": "the size of the weights' file",
        "memory_bytes": "weights in half precision, 4 windows of sound",
        "files": "the conversion",
        "tasks": "config.json: vocab_size, layers",
        "licence": "README.md names none",
    }
    more = described(home, "Me/Whisper", HALF)
    assert more.row.memory_bytes == half + int(half / 12 * 16) + QUARTER_GB
    assert more.sources["memory_bytes"] == "weights in half precision, 16 windows of sound"


def test_a_whisper_of_ctranslate2s_form(home):
    folder = made.snapshot(home, "Me/Whisper-Distil")
    made.write(folder, "config.json", {"suppress_ids": [], "lang_ids": [1, 2]})
    made.write(folder, "vocabulary.json", [])
    (folder / "model.bin").write_bytes(b"x" * 1200)
    found = described(home, "Me/Whisper-Distil")
    assert fields(found) == {
        "surface": "transcribe", "tasks": {"transcribe", "vid2txt"}, "engine": "FasterWhisper",
        "timeout_s": 240.0, "licence": "not said", "defaults": {},
        "weights": f"hf://Me/Whisper-Distil@{made.COMMIT}", "options": {},
    }  # fmt: skip
    assert found.row.weights_bytes == 1200
    assert found.row.memory_bytes == 1200 + 400 + QUARTER_GB
    assert found.row.files == (
        "model.bin", "vocabulary.*", "config.json", "tokenizer.json", "preprocessor_config.json",
    )  # fmt: skip
    assert found.sources["files"] == "the engine"
    assert found.sources["tasks"] == "config.json: lang_ids"
    assert found.notes == ("translations: the decoder is cut, and such models make none",)


def test_a_pipeline_of_diffusers(home):
    folder = made.snapshot(home, "Me/Paint")
    tiny.build("flux", folder)
    found = described(home, "Me/Paint")
    parts = {one.parent.name: one.stat().st_size for one in folder.glob("*/*.safetensors")}
    share = 5_000_000_000
    assert fields(found) == {
        "surface": "images", "tasks": {"txt2img", "img2img", "inpaint"},
        "engine": "DiffusersImages", "timeout_s": 300.0, "licence": "not said",
        "weights": f"hf://Me/Paint@{made.COMMIT}",
        "defaults": {"size": "1024x1024", "steps": 4, "guidance": 0.0},
        "options": {
            "family": "flux", "prompt_tokens": 256, "most_pixels": 4 * 1024 * 1024,
            "offloaded_bytes": max(parts.values()) + share,
            "denoiser_bytes": parts["transformer"],
            "encoder_bytes": max(bytes_ for name, bytes_ in parts.items() if name != "transformer"),
        },
    }  # fmt: skip
    assert found.row.weights_bytes == sum(parts.values())
    assert found.row.memory_bytes == sum(parts.values()) + share
    assert {name for name in found.row.files if name.endswith(".safetensors")} == {
        str(one.relative_to(folder)) for one in folder.glob("*/*.safetensors")
    }
    assert found.sources == {
        **NAMES,
        "weights": f"in a hub cache: {folder}",
        "surface": "model_index.json",
        "tasks": "model_index.json: _class_name",
        "engine": "model_index.json: _class_name",
        "options.family": "model_index.json: _class_name",
        "options.prompt_tokens": "the family flux",
        "options.most_pixels": "the family flux",
        "timeout_s": "ours, for images",
        "defaults.size": "the family flux",
        "defaults.steps": "the family flux",
        "defaults.guidance": "the family flux",
        "files": "the engine",
        "weights_bytes": "the sizes of the parts' safetensors",
        "memory_bytes": "weights, and a picture of 1024x1024",
        "options.offloaded_bytes": "the largest part, and a picture",
        "options.denoiser_bytes": "the size of the part that denoises",
        "options.encoder_bytes": "the largest other part",
        "licence": "README.md names none",
    }
