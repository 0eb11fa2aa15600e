"""Models that the operator names, and the catalog does not have: variables, files, the gateway."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from handler.assemble import assemble
from handler.check import check
from handler.settings.foreign import FOREIGN, notes, translated
from handler.settings.spelling import misspelt
from handler.settings.variable import SettingsError
from handler.settings.variables import Settings
from models.chat.engine_arguments import ALLOWED, engine_arguments
from models.repository.rows import Wanted, listed
from tests.conftest import ROOT, decoded, needs
from tests.support import repositories as made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's cache with a chat model, an encoder and a reranker."""
    home = tmp_path_factory.mktemp("home")
    made.chat(made.snapshot(home, "Me/Chat"))
    made.encoder(made.snapshot(home, "Me/Embed"))
    made.reranker(made.snapshot(home, "Me/Rank"))
    return home


@pytest.fixture
def here(home, tmp_path) -> dict[str, str]:
    return {
        "HF_HOME": str(home), "QUARTET_CACHE": str(tmp_path / "cache"), "DEVICE": "cpu",
        "HF_ENDPOINT": "http://127.0.0.1:9", "VOLUME_DIR": str(tmp_path / "no-volume"),
    }  # fmt: skip


def start(here: dict[str, str], **env: str):
    return assemble(Settings.from_env({**here, **env})).endpoint


PIN = made.COMMIT


# One model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "env",
    [
        {"MODEL": "Me/Chat"},
        {"MODEL": f"Me/Chat@{PIN}"},
        {"MODEL": f"hf://Me/Chat@{PIN}"},
        {"MODEL": "me/chat", "MODEL_REVISION": "main"},
        {"MODEL_NAME": "Me/Chat"},
        {"MODEL_NAMES": "Me/Chat;"},
        {"MODELS": "Me/Chat"},
        {"MODEL_HUGGINGFACE_MODEL": "Me/Chat"},
        {"HUGGINGFACE_MODEL": "Me/Chat"},
        {"MODEL_SLUG": "Me/Chat"},
        {"MODEL_OPEN_SOURCE_REPO": "Me/Chat", "MODEL_OPEN_SOURCE_REVISION": PIN},
        {"MODEL_OPEN_SOURCE_IMAGE_TAG": f"hf://Me/Chat@{PIN}#model.safetensors"},
        {"BAKED_MODEL": "Me/Chat"},
    ],
    ids=lambda env: ",".join(env),
)
def test_any_of_the_variables_names_a_repository(here, env):
    served = start(here, **env)
    assert list(served.surfaces) == ["chat"]
    [row] = served.catalog.rows
    assert row.weights.lower() == f"hf://me/chat@{PIN}"
    assert served.pick("chat", None) == row
    assert served.pick("chat", "me/CHAT") == row


def test_the_gateways_slug_is_the_models_name(here):
    env = {
        "MODEL_SLUG": "My_Chat_8B",
        "MODEL_TASKS": "chat",
        "MODEL_OPEN_SOURCE_REPO": "Me/Chat",
        "MODEL_OPEN_SOURCE_REVISION": PIN,
        "MODEL_OPEN_SOURCE_IMAGE_TAG": f"hf://Me/Chat@{PIN}#model.safetensors",
        "HUGGINGFACE_MODEL": "Me/Chat",
    }
    row = start(here, **env).pick("chat", "My_Chat_8B")
    assert row.slug == "My_Chat_8B"
    assert row.answers_to("Me/Chat")


def test_a_model_of_the_catalog_is_the_catalogs(here):
    slug = start(here, MODEL="All_MiniLM_L6_v2").pick("embeddings", None)
    repo = start(here, MODEL="sentence-transformers/all-MiniLM-L6-v2").pick("embeddings", None)
    assert slug == repo
    pinned = start(here, MODEL=f"BAAI/bge-large-en-v1.5@{'d' * 40}").pick("embeddings", None)
    assert pinned.slug == "BGE_Large"
    assert pinned.weights.endswith("d" * 40)


def test_a_folder_is_a_model(here, home):
    folder = home / f"hub/models--Me--Embed/snapshots/{PIN}"
    row = start(here, MODEL=f"file://{folder}").pick("embeddings", None)
    assert row.weights == f"file://{folder}"
    with pytest.raises(SettingsError, match="MODEL: .*outside of MODEL_FOLDERS"):
        start(here, MODEL=f"file://{folder}", MODEL_FOLDERS="/models,/runpod-volume")


def test_the_start_says_the_row_in_three_lines(here, caplog):
    with caplog.at_level(logging.INFO):
        start(here, MODEL="Me/Chat")
    lines = [one.getMessage() for one in caplog.records if one.getMessage().startswith("Chat: ")]
    assert len(lines) == 3
    assert "chat (chat) by TransformersChat" in lines[0]
    assert f"hf://Me/Chat@{PIN}" in lines[1]
    assert "in a hub cache" in lines[1]
    assert "tools and thoughts" in lines[2]


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"MODEL": "nonsense"}, "MODEL: 'nonsense' is no address"),
        ({"MODEL": "Me/Missing"}, "MODEL: Me/Missing is not on this machine and the hub"),
        ({"MODEL": "Me/Chat@v7"}, "MODEL: Me/Chat is not on this machine"),
        ({"MODEL": "Me/Chat", "SURFACE": "images"}, "Chat serves chat, SURFACE says images"),
        ({"MODEL": "Me/Chat", "MODEL_TASKS": "txt2img"}, "Chat does chat, not txt2img"),
        ({"MODEL": "Me/Chat", "MODEL_SLUG": "BGE_M3"}, "cannot both be meant"),
        ({"MODEL": "Me/Chat", "MODELS": "Me/Rank"}, "MODEL: MODELS names several"),
        ({"MODELS": "a=Me/Chat,a=Me/Embed"}, "MODELS: two models are named a"),
        ({"MODELS": "=Me/Chat"}, "must be slug=address"),
        ({"MODELS": "Me/Chat,Me/Rank", "SURFACE": "images"}, "SURFACE: .images. is none of"),
        ({"MODEL": "Me/Chat", "MODEL_REVISION": "a b"}, "MODEL_REVISION"),
        ({"MODEL": "Me/Chat", "MODEL_BASE": "nonsense"}, "MODEL_BASE: 'nonsense' is no address"),
        (
            {"MODEL": "Me/Chat", "MODEL_BASE": "file:///base", "MODEL_FOLDERS": "/models"},
            "MODEL_BASE: file:///base is outside of MODEL_FOLDERS",
        ),
        ({"MODEL": "s3://models/mine"}, "MODEL: s3://models/mine needs BUCKET_ENDPOINT_URL"),
        ({"MODEL": "http://host/x.safetensors"}, "MODEL: .*over https only"),
        ({"MODELS": "a=https://host/x?t=1"}, "MODELS: https://host/x: the address of a folder"),
        (
            {"MODEL": "Me/Chat", "CHAT_TEMPLATE": "/nowhere.jinja"},
            "CHAT_TEMPLATE: /nowhere.jinja: No such",
        ),
        (
            {"MODEL": "Me/Chat", "MODEL_ROW": "/nowhere.toml"},
            "MODEL_ROW|/nowhere.toml: No such file",
        ),
        (
            {"MODEL_OPEN_SOURCE_IMAGE_TAG": "gh://some/network@v1#x.pth"},
            "MODEL_SLUG: this worker holds no some/network",
        ),
        (
            {"MODEL_SLUG": "No_Such_Slug"},
            "MODEL_SLUG: this worker holds no No_Such_Slug; the nearest",
        ),
    ],
)
def test_what_stops_the_start(here, env, says):
    with pytest.raises(SettingsError, match=says) as caught:
        start(here, **env)
    assert "\n" not in str(caught.value)


def test_the_check_says_the_same(here, home, tmp_path):
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(home / f"hub/models--Me--Chat/snapshots/{PIN}", bare)
    (bare / "chat_template.jinja").unlink()
    [finding] = check({**here, "MODEL": f"file://{bare}"})
    assert finding.fatal
    assert "There is no chat template" in finding.found
    assert "set CHAT_TEMPLATE" in finding.found
    found = check({**here, "MODEL": "Me/Chat", "TOOL_CALL_PARSER": "hermes"})
    said = [one.found for one in found]
    assert "Chat serves chat; licence apache-2.0" in said
    assert any("TOOL_CALL_PARSER of worker-vllm has no meaning here" in one for one in said)


# Several models ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "env",
    [
        {"MODELS": f"mine=Me/Embed@{PIN}, Me/Rank , chat = Me/Chat"},
        {"MODELS": "mine=Me/Embed;Me/Rank;chat=Me/Chat"},
    ],
    ids=["commas", "semicolons"],
)
def test_several_models_of_one_worker(here, env):
    served = start(here, **env)
    assert {row.slug for row in served.catalog.rows} == {"mine", "Rank", "chat"}
    assert set(served.surfaces) == {"embeddings", "chat"}
    assert served.pick("embeddings", None, "txt2embedding").slug == "mine"
    assert served.pick("embeddings", None, "rerank").slug == "mine", "it ranks too, and is first"
    assert served.pick("embeddings", "Rank").slug == "Rank"
    assert served.pick("chat", None).slug == "chat"
    other = start(here, **env, BAKED_MODEL="BGE_Large")
    assert other.pick("embeddings", None).slug == "mine", "the image's model is none of them"


@pytest.mark.anyio
async def test_they_answer(here, make_worker):
    env = {**here, "MODELS": "embed=Me/Embed,rank=Me/Rank"}
    worker = make_worker(FAKE_ENGINES="0", **env)
    for body, name in (
        ({"input": "hi"}, "embed"),
        ({"query": "a", "documents": ["b"], "model": "rank"}, "rank"),
    ):
        answer = decoded(await worker.answer({"id": "1", "input": body}))
        assert answer["model"] == name


def test_models_in_one_line():
    assert list(listed("a=x/y@1, x/z;", "V")) == [
        Wanted("x/y@1", "a", variable="V"),
        Wanted("x/z", variable="V"),
    ]


# MODEL_ROW ---------------------------------------------------------------------------------------

TOML = """
slug = "Support"
memory_gb = 1.5
licence = "proprietary"
timeout_s = 90
names = ["support-bot"]
[defaults]
temperature = 0.2
[options]
family = "hermes"
"""
YAML = """
slug: Support
memory_gb: 1.5
licence: proprietary
timeout_s: 90
names: [support-bot]
defaults: {temperature: 0.2}
options: {family: hermes}
"""


@pytest.mark.parametrize(("name", "text"), [("row.toml", TOML), ("row.yaml", YAML)])
def test_a_file_replaces_what_the_files_say(here, tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    row = start(here, MODEL="Me/Chat", MODEL_ROW=str(file)).pick("chat", "support-bot")
    assert row.slug == "Support"
    assert row.memory_bytes == 1_500_000_000
    assert (row.licence, row.timeout_s) == ("proprietary", 90)
    assert dict(row.defaults) == {"temperature": 0.2}
    assert row.options["family"] == "hermes"
    assert row.options["context"] == 512, "what the file leaves out stays"


def test_a_file_names_several_models(here, tmp_path):
    file = tmp_path / "rows.toml"
    file.write_text(
        '[[model]]\nslug = "a"\nweights = "Me/Embed"\n'
        f'[[model]]\nslug = "b"\nweights = "Me/Rank"\nrevision = "{PIN}"\n'
    )
    served = start(here, MODEL_ROW=str(file))
    assert [row.slug for row in served.catalog.rows] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[x", "row.toml: "),
        ("slog = 1", "slog is no field of a row; it may say slug"),
        ('engine = "os:system"', "engine is not the file's to say"),
        ('memory_gb = "1"', "memory_gb must be int or float; got '1'"),
        ("memory_gb = true", "memory_gb must be int or float"),
        ("model = 1", "model must be a table"),
        ("memory_gb = 1", "a table needs weights, or MODEL to be set"),
    ],
)
def test_a_file_that_makes_no_sense(here, tmp_path, text, says):
    file = tmp_path / "row.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(says)):
        start(here, MODEL_ROW=str(file))


def test_the_pages_example_of_a_file_is_read(tmp_path):
    from models.repository import choices

    page = (ROOT / "docs/own-models.md").read_text()
    [text] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    file = tmp_path / "rows.toml"
    file.write_text(text)
    [values] = choices.read(file)
    assert values["memory_bytes"] == 24 * 10**9
    assert values["defaults.temperature"] == 0.2
    named = {"memory_gb", "weights_gb"} | set(choices._KINDS)
    assert all(f"`{name}`" in page for name in named)


@needs("All_MiniLM_L6_v2")
def test_the_readmes_example_answers():
    import os

    [command] = re.findall(r"```sh\n(MODEL=file.*?)\n```", (ROOT / "README.md").read_text())
    command = command.replace(".venv/bin/python", sys.executable)
    env = {**os.environ, "DEVICE": "cpu"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "model"
    assert "model: embeddings (rerank, txt2embedding) by TorchEmbeddings" in done.stderr


# Other workers' variables ------------------------------------------------------------------------

VALUES = {
    "MODEL_NAME": ("Me/Chat", "Me/Chat"),
    "OPENAI_SERVED_MODEL_NAME_OVERRIDE": ("bot", "bot=Me/Chat"),
    "CUSTOM_CHAT_TEMPLATE": ("{{ messages }}", "{{ messages }}"),
    "MAX_MODEL_LEN": ("4096", "4096"),
    "MAX_CONCURRENCY": ("30", "30"),
    "REQUEST_TIMEOUT": ("3600", "3600"),
    "HUGGING_FACE_HUB_TOKEN": ("hf_x", "hf_x"),
    "BASE_PATH": ("/runpod-volume", "/runpod-volume"),
    "MODEL_NAMES": ("a/b;c/d;", "a/b;c/d;"),
    "DTYPES": ("float16;auto", "float16"),
    "RUNPOD_MAX_CONCURRENCY": ("300", "300"),
    "QUANTIZATION": ("awq", {"quantization": "awq"}),
    "KV_CACHE_DTYPE": ("fp8", {"kv_cache_dtype": "fp8"}),
    "ENFORCE_EAGER": ("True", {"enforce_eager": True}),
    "ENABLE_PREFIX_CACHING": ("false", {"enable_prefix_caching": False}),
    "ENABLE_CHUNKED_PREFILL": ("true", {"enable_chunked_prefill": True}),
    "MAX_NUM_SEQS": ("256", {"max_num_seqs": 256}),
    "MAX_NUM_BATCHED_TOKENS": ("8192", {"max_num_batched_tokens": 8192}),
    "SPECULATIVE_CONFIG": ('{"method": "ngram"}', {"speculative_config": {"method": "ngram"}}),
    "ENABLE_EXPERT_PARALLEL": ("true", {"enable_expert_parallel": True}),
    "PIPELINE_PARALLEL_SIZE": ("1", {"pipeline_parallel_size": 1}),
}
READ = {one.name: one for one in FOREIGN if one.ours is not None}


def test_every_line_of_the_table_has_a_value_here():
    assert VALUES.keys() == READ.keys()


@pytest.mark.parametrize("name", READ)
def test_a_variable_of_another_worker_has_our_meaning(name):
    value, meant = VALUES[name]
    model = {} if name in ("MODEL_NAMES", "MODEL_NAME") else {"MODEL": "Me/Chat"}
    made_of = translated({**model, name: value})
    got = made_of[READ[name].ours]
    assert (json.loads(got) if isinstance(meant, dict) else got) == meant
    settings = Settings.from_env({**model, name: value})
    if isinstance(meant, dict):
        assert engine_arguments(settings.vllm_args, 1) == meant


@pytest.mark.parametrize(
    "one", [one for one in FOREIGN if one.ours is None], ids=lambda one: one.name
)
def test_a_variable_without_a_meaning_is_named(one):
    [note] = notes({one.name: "1"})
    assert note == f"{one.name} of {one.worker} has no meaning here: {one.note}"
    assert translated({one.name: "1"}) == {one.name: "1"}
    assert list(misspelt({one.name: "1"})) == []


def test_our_own_variable_has_precedence():
    both = {
        "MODEL": "a/b",
        "MODEL_NAME": "c/d",
        "VLLM_ARGS": '{"max_num_seqs": 1}',
        "MAX_NUM_SEQS": "2",
    }
    settings = Settings.from_env(both)
    assert settings.model == "a/b"
    assert settings.vllm_args == {"max_num_seqs": 1}


@pytest.mark.parametrize(
    ("given", "read"),
    [("half", "float16"), ("float", "float32"), ("auto", None), ("bfloat16", "bfloat16")],
)
def test_dtypes_in_vllms_words(given, read):
    assert Settings.from_env({"DTYPE": given}).dtype == read


def test_the_readme_of_worker_vllm_starts_this_worker(here):
    env = {
        "MODEL_NAME": "Me/Chat", "MODEL_REVISION": "main", "MAX_MODEL_LEN": "256", "DTYPE": "auto",
        "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "my-bot", "GPU_MEMORY_UTILIZATION": "0.9",
        "MAX_CONCURRENCY": "30",
    }  # fmt: skip
    row = start(here, **env).pick("chat", "my-bot")
    assert row.slug == "Chat"
    assert row.options["context"] == 256


def test_the_readme_of_worker_infinity_starts_this_worker(here):
    served = start(here, MODEL_NAMES="Me/Embed;Me/Rank;", BATCH_SIZES="32;32;", BACKEND="torch")
    assert served.pick("embeddings", "Me/Embed").slug == "Embed"
    assert served.pick("embeddings", "Me/Rank").slug == "Rank"


# VLLM_ARGS ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"max_num_seq": 1}, "max_num_seq is none of async_scheduling"),
        ({"worker_cls": "x"}, "worker_cls is none of"),
        ({"max_model_len": 1}, "max_model_len is not set here; set CHAT_CONTEXT_TOKENS"),
        ({"tensor-parallel-size": 1}, "tensor_parallel_size is not set here; set RUNPOD_GPU_COUNT"),
        ({"max_num_seqs": "64"}, "max_num_seqs must be int; got '64'"),
        ({"max_num_seqs": True}, "max_num_seqs must be int; got True"),
        ({"pipeline_parallel_size": 3}, "pipeline_parallel_size must divide the 4 GPUs; got 3"),
    ],
)
def test_arguments_that_are_refused(given, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        engine_arguments(given, 4)


def test_arguments_that_are_passed():
    given = {"max-num-seqs": 64, "kv_cache_dtype": "fp8", "pipeline_parallel_size": 2}
    assert engine_arguments(given, 4) == {
        "max_num_seqs": 64, "kv_cache_dtype": "fp8", "pipeline_parallel_size": 2,
        "tensor_parallel_size": 2,
    }  # fmt: skip
    with pytest.raises(SettingsError, match="VLLM_ARGS: must be a JSON object"):
        Settings.from_env({"VLLM_ARGS": "[1]"})


def test_arguments_without_vllm_are_said_to_have_no_effect(here, caplog):
    start(here, MODEL="Me/Chat", VLLM_ARGS='{"max_num_seqs": 64}')
    assert "VLLM_ARGS has no effect on Chat" in caplog.text
    with pytest.raises(SettingsError, match="VLLM_ARGS: nonsense is none of"):
        start(here, MODEL="Me/Chat", VLLM_ARGS='{"nonsense": 64}')


def test_arguments_reach_vllm(home):
    from dataclasses import replace

    from models.chat.vllm import start as vllm_start
    from models.device.hardware import Device
    from tests.conftest import row

    options = {"vllm_args": {"max_num_seqs": 7, "enforce_eager": False}, "trust_remote_code": True}
    mine = replace(row("Tiny_Llama"), options=options)
    cpu = Device("cpu", memory_bytes=8 * 10**9, bf16=False)
    folder = home / f"hub/models--Me--Chat/snapshots/{PIN}"
    given = vllm_start.arguments(folder, mine, cpu)
    assert (given["max_num_seqs"], given["enforce_eager"]) == (7, False)
    assert given["trust_remote_code"] is True


def test_an_argument_that_this_vllm_does_not_have(monkeypatch):
    import types

    from models.chat.vllm import start
    from models.errors import ModelLoadFailed

    def arguments(model: str) -> None: ...

    usage = types.SimpleNamespace(UsageContext=None)
    client = types.SimpleNamespace(LLMEngine=None)
    monkeypatch.setitem(sys.modules, "vllm", types.SimpleNamespace(EngineArgs=arguments))
    monkeypatch.setitem(sys.modules, "vllm.usage.usage_lib", usage)
    monkeypatch.setitem(sys.modules, "vllm.v1.engine.llm_engine", client)
    with pytest.raises(
        ModelLoadFailed, match="VLLM_ARGS: .*unexpected keyword argument 'block_size'"
    ):
        start._client({"model": "x", "block_size": 16})


def test_the_page_names_every_argument():
    page = (ROOT / "docs/chat.md").read_text()
    assert all(f"`{name}`" in page for name in ALLOWED)


# The builder -------------------------------------------------------------------------------------


def builder(here: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "builder", *words],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **here},
    )  # fmt: skip


def test_the_builder_describes_a_repository(here):
    done = builder(here, "describe", "Me/Chat")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["weights"].startswith(f"hf://Me/Chat@{PIN}  — in a hub cache: ")
    assert lines["options.context"] == "512  — config.json: max_position_embeddings"
    assert lines["licence"] == "apache-2.0  — README.md"
    refused = builder(here, "describe", "file:///nowhere")
    assert refused.returncode == 1
    assert (
        refused.stderr.strip() == "builder: file:///nowhere is no folder of this machine; mount it."
    )


def test_nothing_is_downloaded_that_does_not_fit_the_memory(home, tmp_path, make_worker):
    from tests.support.hub import COMMIT, hub
    from tests.support.servers import serve

    asked: list[str] = []
    folder = home / f"hub/models--Me--Chat/snapshots/{PIN}"
    with serve(hub(folder, COMMIT, asked=asked)) as url:
        env = {
            "HF_ENDPOINT": url,
            "HF_HOME": str(tmp_path),
            "QUARTET_CACHE": str(tmp_path / "cache"),
        }
        worker = make_worker(FAKE_ENGINES="0", MODEL="Me/Mine", MEMORY_BUDGET_GB="0.01", **env)
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        output = asyncio.run(worker.answer({"id": "1", "input": body}))
    refused = json.loads(output["error"])
    assert refused["code"] == "model_does_not_fit"
    assert "config.json" in asked
    assert "model.safetensors" not in asked


def test_the_builder_fetches_a_repository_at_its_commit(home, tmp_path, monkeypatch, caplog):
    from builder import __main__ as builder
    from tests.support.hub import COMMIT, hub
    from tests.support.servers import serve

    folder, to = home / f"hub/models--Me--Chat/snapshots/{PIN}", tmp_path / "models"
    status = []
    with serve(hub(folder, COMMIT)) as url:
        monkeypatch.setattr(builder, "_ENV", {"HF_ENDPOINT": url})
        for surface in ("images", "chat"):
            fetch = [
                "builder",
                "fetch",
                "--surface",
                surface,
                "--model",
                "Me/Mine",
                "--to",
                str(to),
            ]
            monkeypatch.setattr("sys.argv", fetch)
            status.append(builder.main())
    assert status == [1, 0]
    assert "Mine serves chat, --surface says images" in caplog.text
    fetched = to / f"hf--me--mine--{COMMIT}"
    weights = (folder / "model.safetensors").read_bytes()
    assert (fetched / "model.safetensors").read_bytes() == weights
    assert not (fetched / "README.md").exists()
    env = {"BAKED_MODEL": "Me/Mine", "WEIGHTS_DIR": str(to), "HF_ENDPOINT": "http://127.0.0.1:9"}
    served = assemble(Settings.from_env({**env, "DEVICE": "cpu", "SURFACE": "chat"})).endpoint
    assert served.pick("chat", None).weights == f"hf://Me/Mine@{COMMIT}"
