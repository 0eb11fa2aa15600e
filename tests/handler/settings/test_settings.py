"""The environment: what configures an endpoint, and what stops the start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from handler.assemble import assemble
from handler.contract import SURFACES
from handler.entry import Worker
from handler.job import Origin
from handler.settings.document import PLATFORM, document
from handler.settings.endpoint import Endpoint
from handler.settings.engines import fitted
from handler.settings.names import renamed
from handler.settings.variable import SettingsError
from handler.settings.variables import Settings
from models import fake
from models.catalog import CATALOG, GB
from models.chat.options import TRANSFORMERS, VLLM
from models.device.hardware import Device
from models.errors import ModelNotFound
from models.row import Row
from models.warm.pool import Pool
from tests.conftest import ROOT

SERVED_ROWS = [row for row in CATALOG.rows if row.surface in SURFACES]
HUB_ROWS = [row for row in SERVED_ROWS if row.repo]


def endpoint(**env: str) -> Endpoint:
    return Endpoint.build(Settings.from_env(env), SURFACES, CATALOG, "cpu")


def gateway(slug: str, repo: str, revision: str, tasks: str) -> dict[str, str]:
    """Every variable that the gateway sets on an endpoint."""
    return {
        "MODEL_SLUG": slug,
        "MODEL_DISPLAY_NAME": slug.replace("_", " "),
        "MODEL_TASKS": tasks,
        "MODEL_HUGGINGFACE_MODEL": repo,
        "HUGGINGFACE_MODEL": repo,
        "MODEL_OPEN_SOURCE_KIND": "huggingface",
        "MODEL_OPEN_SOURCE_REPO": repo,
        "MODEL_OPEN_SOURCE_REVISION": revision,
        "MODEL_OPEN_SOURCE_ARTIFACT": "",
        "MODEL_OPEN_SOURCE_IMAGE_TAG": f"hf://{repo}@{revision}",
        "MODEL_MIN_CUDA_VERSION": "12.8",
        "MODEL_GPU_CANDIDATES": "ADA_24,AMPERE_48",
        "MODEL_QUEUE_DELAY_SECONDS": "4",
        "MODEL_BATCH_WINDOW_SECONDS": "0",
        "MODEL_MAX_BATCH_SIZE": "1",
        "MODEL_FLASHBOOT": "true",
        "MODEL_WORKER_CLASS": "diffusers-image",
    }


@pytest.mark.parametrize("row", HUB_ROWS, ids=lambda row: row.slug)
def test_the_gateways_variables_alone_serve_the_model(row):
    revision = re.split("[# ]", row.weights.partition("@")[2])[0]
    env = gateway(row.slug, row.repo, revision, ",".join(sorted(row.tasks)))
    served = endpoint(**env)
    assert list(served.surfaces) == [row.surface]
    assert served.pick(row.surface, None) == row
    assert [one.slug for one in served.catalog.rows] == [row.slug]
    assert Settings.from_env(env).max_batch_size == 1


@pytest.mark.parametrize("row", SERVED_ROWS, ids=lambda row: row.slug)
@pytest.mark.parametrize("name", ["MODEL_SLUG", "MODEL_HUGGINGFACE_MODEL", "HUGGINGFACE_MODEL"])
def test_any_one_of_the_names_serves_the_model(row, name):
    called = row.slug if name == "MODEL_SLUG" or not row.repo else row.repo.upper()
    assert endpoint(**{name: called}).pick(row.surface, None).slug == row.slug


def test_the_gateways_int8_embeddings_are_the_file_that_it_pins():
    env = gateway(
        "Bge_M3_INT8",
        "gpahal/bge-m3-onnx-int8",
        "2b34e84df040034d4b9eabb62383a87c18955822",
        "txt2embedding",
    )
    env["MODEL_OPEN_SOURCE_ARTIFACT"] = "model_quantized.onnx"
    env["MODEL_OPEN_SOURCE_IMAGE_TAG"] = (
        "hf://gpahal/bge-m3-onnx-int8@2b34e84df040034d4b9eabb62383a87c18955822#model_quantized.onnx"
    )
    served = endpoint(**env)
    assert list(served.surfaces) == ["embeddings"]
    assert served.configured == CATALOG.find("Bge_M3_INT8")


def test_the_gateways_revision_wins_in_the_same_repo():
    row = CATALOG.find("BGE_Large")
    moved = endpoint(**gateway(row.slug, row.repo, "a" * 40, "txt2embedding"))
    assert moved.configured.weights == f"hf://BAAI/bge-large-en-v1.5@{'a' * 40}"


@pytest.mark.parametrize(
    "env",
    [
        {"MODEL_SLUG": "BGE_Large"},
        {"HUGGINGFACE_MODEL": "BAAI/bge-large-en-v1.5"},
        {"MODEL_SLUG": "BGE_Large", "MODEL_OPEN_SOURCE_REPO": "BAAI/bge-large-en-v1.5"},
    ],
)
def test_a_revision_is_never_ignored(env):
    row = endpoint(**env, MODEL_OPEN_SOURCE_REVISION="b" * 40).configured
    assert row.weights.endswith("@" + "b" * 40)


def test_a_revision_of_another_repo_is_not_ours():
    env = {
        "HUGGINGFACE_MODEL": "Systran/faster-whisper-small",
        "MODEL_OPEN_SOURCE_REPO": "openai/whisper-small",
        "MODEL_OPEN_SOURCE_REVISION": "b" * 40,
    }
    assert endpoint(**env).configured == CATALOG.find("Whisper_Small")


def test_the_gateways_whisper_is_our_whisper_at_our_revision():
    """It pins OpenAI's repo, which needs converting; ours holds the converted weights."""
    env = gateway(
        "WhisperLargeV3",
        "openai/whisper-large-v3",
        "06f233fe06e710322aca913c1bc4249a0d71fce1",
        "vid2txt",
    )
    assert endpoint(**env).configured == CATALOG.find("WhisperLargeV3")


def test_another_revision_of_the_gateways_whisper_is_that_one_converted():
    env = gateway("WhisperLargeV3", "openai/whisper-large-v3", "c" * 40, "vid2txt")
    configured = endpoint(**env).configured
    assert configured.weights == f"hf://openai/whisper-large-v3@{'c' * 40}?convert=whisper-ct2"
    assert configured.mirrors == ()


def test_an_endpoint_holds_its_configured_model_only():
    from models.errors import ModelNotFound

    served = endpoint(MODEL_SLUG="BGE_Large")
    with pytest.raises(ModelNotFound, match=r"It holds: BGE_Large\.$"):
        served.pick("embeddings", "BGE_M3")


def test_a_further_name_means_its_model_before_any_other():
    settings = Settings.from_env({"SERVED_NAMES": "Ben2=Tiny_Ben2, small = Tiny_BGE_M3"})
    catalog = renamed(CATALOG, settings.further_names())
    assert catalog.find("ben2").slug == "Tiny_Ben2"
    assert catalog.find("Tiny_Ben2").slug == "Tiny_Ben2"
    assert catalog.find("small").slug == "Tiny_BGE_M3"
    assert {row.slug for row in catalog.rows} == {row.slug for row in CATALOG.rows}
    settings = Settings.from_env({"SERVED_NAMES": "Ben2=Tiny_Ben2", "MODEL_SLUG": "Ben2"})
    served = Endpoint.build(settings, SURFACES, catalog, "cpu")
    assert served.configured.slug == "Tiny_Ben2"


def test_a_further_name_means_its_model_before_openais_name_means_the_default():
    settings = Settings.from_env({"SERVED_NAMES": "Whisper-1=Whisper_Small"})
    catalog = renamed(CATALOG, settings.further_names())
    served = Endpoint.build(settings, SURFACES, catalog, "cpu")
    assert served.pick("transcribe", "whisper-1").slug == "Whisper_Small"
    assert served.find("whisper-1").slug == "Whisper_Small"
    assert served.pick("transcribe", "gpt-4o-transcribe").slug == "Whisper_Base"


@pytest.mark.parametrize("given", ["Ben2", "=Tiny_Ben2", "Ben2="])
def test_a_further_name_without_a_model_is_refused(given):
    with pytest.raises(SettingsError, match="SERVED_NAMES: must be NAME=MODEL"):
        Settings.from_env({"SERVED_NAMES": given})


def test_a_further_name_of_an_unknown_model_is_refused():
    with pytest.raises(SettingsError, match="holds no Tiny_Ben; the nearest: Tiny_Ben2"):
        renamed(CATALOG, {"Ben2": "Tiny_Ben"})


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("surface", SURFACES)
def test_every_task_has_one_default_on_every_device(surface, device):
    defaults = [r for r in CATALOG.of(surface).rows if device in r.default_on]
    tasks = [task for one in defaults for task in one.tasks]
    assert defaults
    assert len(tasks) == len(set(tasks))
    assert not any(one.slug.startswith("Tiny") for one in defaults if device == "cuda")
    assert not any(one.gated for one in defaults if device == "cpu")


@pytest.mark.parametrize(("device", "slug"), [("cpu", "U2Net_P"), ("cuda", "Ben2")])
def test_a_route_may_have_a_default_of_its_own(device, slug):
    served = Endpoint.build(Settings.from_env({}), SURFACES, CATALOG, device)
    assert served.pick("images", None, "img-rmbg").slug == slug
    assert served.pick("images", "Ben2", "img-rmbg").slug == "Ben2"


def test_the_gateways_upscaler_is_one_whose_weights_can_be_had():
    env = gateway(
        "RealESRGAN_x4",
        "qualcomm/Real-ESRGAN-x4plus",
        "c2805898fa5d7d0d363af09e96200f831ad86edb",
        "img-upscale",
    )
    row = endpoint(**env).pick("images", None)
    assert row.slug == "RealESRGAN_x4"
    assert row.weights == CATALOG.find("RealESRGAN_x4").weights


@pytest.mark.parametrize(
    ("here", "serves"),
    [
        ({"SmolLM2_135M_Instruct", "Tiny_Llama"}, "SmolLM2_135M_Instruct"),
        ({"Tiny_Llama"}, "Tiny_Llama"),  # the set-up could not fetch the real one
        (set(), "SmolLM2_135M_Instruct"),  # no set-up yet: fetched with the first job
    ],
)
def test_a_stand_in_serves_where_only_it_is_there(here, serves):
    def build(**env: str) -> Endpoint:
        settings = Settings.from_env(env)
        return Endpoint.build(settings, SURFACES, CATALOG, "cpu", lambda row: row.slug in here)

    assert build().pick("chat", None).slug == serves
    assert build(SURFACE="chat").pick("chat", None).slug == serves
    assert build().pick("chat", "SmolLM2_135M_Instruct").slug == "SmolLM2_135M_Instruct"
    named = build(MODEL_SLUG="SmolLM2_135M_Instruct")
    assert named.pick("chat", None).slug == "SmolLM2_135M_Instruct"


def test_a_stand_in_says_what_it_is():
    for row in CATALOG.rows:
        if row.stand_in is not None:
            stand_in = CATALOG.find(row.stand_in)
            assert stand_in.surface == row.surface
            assert "random weights" in stand_in.notice
            assert row.tasks <= stand_in.tasks


@pytest.mark.parametrize("name", ["bge_large", "BAAI/BGE-large-EN-v1.5", "BGE_LARGE"])
def test_models_are_found_by_slug_and_repo_in_any_case(name):
    assert endpoint().pick("embeddings", name).slug == "BGE_Large"


def test_tasks_alone_choose_the_default_that_does_them():
    assert endpoint(MODEL_TASKS="img-upscale").pick("images", None).slug == "RealESRGAN_x4_Anime"
    assert endpoint(MODEL_TASKS="img-rmbg").pick("images", None).slug == "U2Net_P"
    assert endpoint(MODEL_TASKS="img2img,txt2img").pick("images", None).slug == "Tiny_Flux"
    upscales = endpoint(MODEL_TASKS="img-upscale")
    assert upscales.pick("images", None, "img-rmbg").slug == "U2Net_P"  # as its route says


def test_the_model_in_the_image_is_the_default_of_its_surface():
    baked = endpoint(SURFACE="embeddings", BAKED_MODEL="BGE_Large")
    assert baked.pick("embeddings", None).slug == "BGE_Large"
    assert baked.pick("embeddings", "BGE_M3").slug == "BGE_M3"
    assert baked.seen_at(Origin("embeddings")).pick("embeddings", None).slug == "BGE_Large"
    other = endpoint(
        SURFACE="embeddings", BAKED_MODEL="BAAI/bge-large-en-v1.5", MODEL_SLUG="BGE_M3"
    )
    assert other.pick("embeddings", None).slug == "BGE_M3"


def test_a_model_in_the_image_is_no_default_of_what_it_does_not_do():
    baked = endpoint(BAKED_MODEL="RealESRGAN_x4_Anime")
    assert baked.pick("images", None, "img-upscale").slug == "RealESRGAN_x4_Anime"
    assert baked.pick("images", None, "txt2img").slug == "Tiny_Flux"
    assert baked.pick("chat", None).slug == endpoint().pick("chat", None).slug


def test_a_baked_model_that_the_catalog_has_not_is_named():
    with pytest.raises(SettingsError, match="^BAKED_MODEL: this worker holds no Nothing"):
        endpoint(BAKED_MODEL="Nothing")


def test_surface_lists():
    assert list(endpoint(SURFACE="chat").surfaces) == ["chat"]
    assert list(endpoint(SURFACE=" images , chat ").surfaces) == ["images", "chat"]
    assert list(endpoint(SURFACE="").surfaces) == list(SURFACES)
    assert list(endpoint(SURFACE="all").surfaces) == list(SURFACES)
    assert list(endpoint(SURFACE="all", MODEL_SLUG="BGE_M3").surfaces) == ["embeddings"]
    assert list(endpoint(MODEL_TASKS="txt2embedding").surfaces) == ["embeddings"]


@pytest.mark.parametrize(
    ("env", "nearest"),
    [
        ({"MODEL_SLUG": "Bge_M3_INT4"}, "Bge_M3_INT8"),
        ({"MODEL_SLUG": "WhisperLarge"}, "WhisperLargeV3"),
        ({"MODEL_SLUG": "Flux1schnel"}, "Flux1schnell"),
        ({"HUGGINGFACE_MODEL": "BAAI/bge-large-en"}, "BGE_Large"),
        ({"MODEL_SLUG": "WhisperLarge", "MODEL_TASKS": "txt2embedding"}, "E5_Large"),
    ],
)
def test_a_model_that_is_not_held_names_the_nearest(env, nearest):
    with pytest.raises(SettingsError) as caught:
        endpoint(**env)
    message = str(caught.value)
    assert message.startswith(f"MODEL_SLUG: this worker holds no {next(iter(env.values()))}; ")
    named = message.partition("the nearest: ")[2].split(", ")
    assert named[0] == nearest
    assert len(named) == 3
    assert "\n" not in message


NONSENSE = [
    ({"SURFACE": "video"}, "SURFACE"),
    ({"MODEL_SLUG": "Nobody_7B"}, "MODEL_SLUG"),
    (
        {"HUGGINGFACE_MODEL": "nobody/nothing", "HF_ENDPOINT": "http://127.0.0.1:9"},
        "MODEL_SLUG",
    ),
    ({"MODEL_SLUG": "BGE_Large", "SURFACE": "chat"}, "MODEL_SLUG"),
    ({"MODEL_SLUG": "BGE_Large", "HUGGINGFACE_MODEL": "BAAI/bge-m3"}, "MODEL_SLUG"),
    ({"MODEL_SLUG": "Nobody_7B", "HUGGINGFACE_MODEL": "BAAI/bge-m3"}, "MODEL_SLUG"),
    ({"MODEL_SLUG": "BGE_Large", "MODEL_TASKS": "txt2img"}, "MODEL_TASKS"),
    ({"MODEL_SLUG": "BGE_Large", "HUGGINGFACE_MODEL": "someone/fork-of-bge"}, "MODEL_SLUG"),
    ({"MODEL_TASKS": "txt2scent"}, "MODEL_TASKS"),
    ({"MEDIA_PRIVATE_HOSTS": "127.0.0.1:8977"}, "MEDIA_PRIVATE_HOSTS"),
    ({"MEDIA_PRIVATE_HOSTS": "a.b,http://c.d"}, "MEDIA_PRIVATE_HOSTS"),
    ({"MODEL_SLUG": "Flux1schnell", "MODEL_TASKS": "img-rmbg"}, "MODEL_TASKS"),
    ({"MEMORY_BUDGET_GB": "inf"}, "MEMORY_BUDGET_GB"),
    ({"MODEL_MAX_BATCH_SIZE": "0"}, "MODEL_MAX_BATCH_SIZE"),
    ({"MODEL_MAX_BATCH_SIZE": "many"}, "MODEL_MAX_BATCH_SIZE"),
    ({"MODEL_OPEN_SOURCE_IMAGE_TAG": "docker.io/x"}, "MODEL_OPEN_SOURCE_IMAGE_TAG"),
    ({"MODEL_OPEN_SOURCE_REVISION": "a b"}, "MODEL_OPEN_SOURCE_REVISION"),
    ({"DEVICE": "tpu"}, "DEVICE"),
    ({"MEMORY_BUDGET_GB": "-1"}, "MEMORY_BUDGET_GB"),
    ({"CONCURRENCY": "1.5"}, "CONCURRENCY"),
    ({"JOB_TIMEOUT_S": "nan"}, "JOB_TIMEOUT_S"),
    ({"RUNPOD_LOG_LEVEL": "LOUD"}, "RUNPOD_LOG_LEVEL"),
    ({"BUCKET_NAME": "b"}, "BUCKET_ENDPOINT_URL"),
    (
        {
            "BUCKET_ENDPOINT_URL": "not a url",
            "BUCKET_ACCESS_KEY_ID": "a",
            "BUCKET_SECRET_ACCESS_KEY": "hush-hush",
            "BUCKET_NAME": "b",
        },
        "BUCKET_ENDPOINT_URL",
    ),
]


@pytest.mark.parametrize(("env", "name"), NONSENSE)
def test_a_value_that_makes_no_sense_stops_the_start_with_one_line(env, name):
    with pytest.raises(SettingsError) as caught:
        assemble(Settings.from_env({"DEVICE": "cpu", **env}))
    text = str(caught.value)
    assert name in text
    assert "\n" not in text
    assert "hush" not in text


def test_white_space_around_a_value_is_none_of_it(tmp_path):
    settings = Settings.from_env(
        {
            "HF_TOKEN": "hf_abc\n",
            "VOLUME_DIR": f"{tmp_path}\n",
            "HF_ENDPOINT": " https://mirror.example ",
            "BUCKET_ENDPOINT_URL": "https://s3.example.org\r\n",
            "BUCKET_ACCESS_KEY_ID": " key\n",
            "BUCKET_SECRET_ACCESS_KEY": "secret \n",
            "BUCKET_NAME": "results\t",
            "MODEL_SLUG": " BGE_Large ",
            "PRELOAD": " false\n",
        }
    )
    assert settings.hf_token == "hf_abc"
    assert settings.places().volume == tmp_path / "quartet"
    assert settings.hf_endpoint == "https://mirror.example"
    bucket = settings.bucket()
    assert (bucket.endpoint_url, bucket.access_key_id) == ("https://s3.example.org", "key")
    assert (bucket.secret_access_key, bucket.name) == ("secret", "results")
    assert (settings.model_slug, settings.preload) == ("BGE_Large", False)


def test_an_empty_variable_is_unset():
    names = Settings.names()
    assert Settings.from_env(dict.fromkeys(names, "")) == Settings.from_env({})
    assert Settings.from_env(dict.fromkeys(names, " \n")) == Settings.from_env({})


@pytest.mark.parametrize(
    ("env", "field", "value"),
    [
        ({"SURFACE": "Embeddings, CHAT"}, "surface", ("embeddings", "chat")),
        ({"SURFACE": "ALL"}, "surface", ("all",)),
        ({"DEVICE": "CPU"}, "device", "cpu"),
        ({"CHAT_ENGINE": "vLLM"}, "chat_engine", "vllm"),
        ({"RUNPOD_LOG_LEVEL": "WARNING"}, "log_level", "WARN"),
        ({"RUNPOD_LOG_LEVEL": "warning"}, "log_level", "WARN"),
        ({"RUNPOD_LOG_LEVEL": "debug"}, "log_level", "DEBUG"),
    ],
)
def test_words_are_read_in_any_case(env, field, value):
    assert getattr(Settings.from_env(env), field) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "") for name in (
            "RUNPOD_LOG_LEVEL", "HF_ENDPOINT", "HF_TOKEN", "RUNPOD_PING_INTERVAL",
            "RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_POD_ID", "RUNPOD_ENDPOINT_ID", "SERVE", "VOLUME_DIR",
        )),
        ("RUNPOD_WEBHOOK_GET_JOB", " \n"),
        ("RUNPOD_LOG_LEVEL", "WARNING\n"),
    ],
)  # fmt: skip
def test_an_empty_variable_of_the_platform_is_unset(name, value):
    """The SDK and the hub's library read some of them at their import, and break on an empty one."""
    code = (
        "import sys; sys.argv = ['x', '--test_input', '{\"input\": {\"input\": \"a\"}}'];"
        "from handler.__main__ import main; status = main();"
        "from handler.doors.queue.start import import_runpod; import_runpod('INFO');"
        "import runpod.serverless.modules.rp_ping, huggingface_hub, os; "
        "print(status, 'RUNPOD_POD_ID' in os.environ)"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("RUNPOD_")}
    env |= {"FAKE_ENGINES": "1", "DEVICE": "cpu", name: value}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0 False"


def test_secrets_do_not_show():
    env = {"HF_TOKEN": "hush", "BUCKET_SECRET_ACCESS_KEY": "hush", "BUCKET_ACCESS_KEY_ID": "hush"}
    more = {"BUCKET_ENDPOINT_URL": "https://s3.example.org", "BUCKET_NAME": "results"}
    settings = Settings.from_env({**env, **more})
    assert "hush" not in repr(settings)
    assert "hush" not in repr(settings.bucket())


def test_configuration_page_is_the_codes():
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert document() in page, "run: python -m handler.settings.document"


def test_no_variable_is_read_elsewhere():
    """Settings reads the environment; the entry points hand it over, the builder has its own."""
    known = {str(f.validation_alias) for f in Settings.model_fields.values()} | set(PLATFORM)
    for entry in ("handler/command.py", "builder/__main__.py"):
        lines = [
            one
            for one in (ROOT / entry).read_text().splitlines()
            if "environ" in one or "_ENV" in one
        ]
        named = {name for one in lines for name in re.findall(r'"([A-Z_]{4,})"', one)}
        assert named
        assert named <= known
    readers = [
        path.relative_to(ROOT).as_posix()
        for folder in ("handler", "models", "builder")
        for path in Path(ROOT / folder).rglob("*.py")
        if "environ" in path.read_text().replace('"""', "").split("import os", 1)[-1]
        and "import os" in path.read_text()
    ]
    # The others tell a library, which has no other way, and read nothing.
    told = [
        "models/chat/vllm/start.py", "models/pipelines/placement.py", "models/telemetry.py",
        "models/transcribe/whisper/engine.py",
    ]  # fmt: skip
    # Named after it, and given what it works on; told how many threads there are to be.
    kept = {"models/environ.py", "models/device/threads.py"}
    assert sorted(set(readers) - kept) == ["builder/__main__.py", "handler/command.py", *told]
    said = [
        word for one in told for word in re.findall(r"\benviron\b\S*", (ROOT / one).read_text())
    ]
    assert set(said) <= {
        'environ["TORCHINDUCTOR_CACHE_DIR"]',
        "environ.setdefault(name,",
        "environ",  # all of it, to switch reports off
        'environ.setdefault("CUDA_CACHE_PATH",',
    }


# Chat's engine -----------------------------------------------------------------------------------


def test_chats_engine_is_chosen(monkeypatch):
    def chosen(kind, installed=False, **env):
        monkeypatch.setattr("models.operator.find_spec", lambda _: object() if installed else None)
        rows = fitted(CATALOG, Settings.from_env(env), kind, 10**12)
        return rows.find("Llama3_8B_Instruct").engine.partition(":")[0]

    assert chosen("cpu") == chosen("cpu", installed=True) == "models.chat.in_process.engine"
    assert chosen("cuda") == "models.chat.in_process.engine"
    assert chosen("cuda", installed=True) == "models.chat.vllm.engine"
    assert chosen("cpu", installed=True, CHAT_ENGINE="vllm") == "models.chat.vllm.engine"
    assert (
        chosen("cuda", installed=True, CHAT_ENGINE="transformers")
        == "models.chat.in_process.engine"
    )
    with pytest.raises(SettingsError, match="CHAT_ENGINE: vllm is not installed"):
        chosen("cuda", CHAT_ENGINE="vllm")


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_what_the_operator_says_of_chat_reaches_its_engine(engine, monkeypatch):
    monkeypatch.setattr("models.operator.find_spec", lambda name: object())

    env = {
        "CHAT_CONTEXT_TOKENS": "4096", "CHAT_CACHE_TOKENS": "8192", "RUNPOD_GPU_COUNT": "2",
        "LORA_ADAPTERS": f"mine=file:///a/b, law=hf://me/law@{'a' * 40}", "CHAT_ENGINE": engine,
    }  # fmt: skip
    rows = fitted(CATALOG, Settings.from_env(env), "cpu", 10**12)
    row = rows.find("Qwen3_4B_Instruct")
    told = {"context": 4096, "cache_tokens": 8192, "gpus": 2, "family": "hermes"}
    assert dict(row.options) == {**told, "why": "CHAT_ENGINE says so"}
    listed = ["Qwen3_4B_Instruct:mine", "Qwen3_4B_Instruct:law"]
    assert row.called == ["Qwen3_4B_Instruct", *(listed if engine == "vllm" else [])]
    assert (row.adapters["mine"] == "file:///a/b") is (engine == "vllm")  # or nothing is fetched
    assert rows.find("qwen/qwen3-4b-instruct-2507:law") is row
    assert row.adapter("Qwen3_4B_Instruct:law") == "law"
    assert row.adapter("Qwen3_4B_Instruct") is row.adapter(None) is None
    with pytest.raises(ModelNotFound):
        rows.find("Qwen3_4B_Instruct:other")
    with pytest.raises(ModelNotFound):
        rows.find("BGE_M3:mine")


@pytest.mark.parametrize(
    "wrong", ["mine", "mine=", "=file:///a", "a b=file:///a", "x=hf://a/b@main"]
)
def test_an_adapter_has_a_name_and_an_address(wrong):
    with pytest.raises(SettingsError, match="^LORA_ADAPTERS: "):
        Settings.from_env({"LORA_ADAPTERS": wrong})


def chat_row(slug: str, *, alone: bool, engine: str = VLLM, **env: str) -> Row:
    """A row of chat on a GPU of 80 GB, of which models may have 72."""
    told = {"CHAT_ENGINE": "vllm" if engine == VLLM else "transformers", **env}
    settings = Settings.from_env(told)
    return fitted(CATALOG, settings, "cuda", 72 * GB, {"chat"} if alone else None).find(slug)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.operator.find_spec", lambda name: object())


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("alone", "engine", "env", "held"),
    [
        (True, VLLM, {}, None),
        (True, VLLM, {"LORA_ALLOW": "me/*"}, (4, 64)),
        (True, VLLM, {"LORA_ALLOW": "me/*", "CHAT_LORAS": "0"}, None),
        (False, VLLM, {"LORA_ALLOW": "me/*"}, None),  # it may be for pictures
        (False, VLLM, {"LORA_ALLOW": "me/*", "CHAT_LORAS": "2", "CHAT_LORA_RANK": "16"}, (2, 16)),
        (True, VLLM, {"CHAT_LORAS": "2"}, None),
        (True, TRANSFORMERS, {"LORA_ALLOW": "me/*"}, None),
    ],
)
def test_room_for_adapters_of_requests(alone, engine, env, held):
    options = chat_row("Qwen3_4B_Instruct", alone=alone, engine=engine, **env).options
    assert (options.get("loras"), options.get("lora_rank")) == (held or (None, None))
    sleepy = chat_row("Qwen3_4B_Instruct", alone=alone, engine=engine, CHAT_SLEEP="true", **env)
    assert sleepy.options.get("sleeps", False) is (engine == VLLM)
    assert "sleeps" not in options


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("engine", [VLLM, TRANSFORMERS])
def test_a_worker_that_serves_chat_alone_gives_it_all(engine):
    for slug in ("Llama3_8B_Instruct", "Llama3_2_1B_Instruct", "Qwen3_4B_Instruct"):
        assert chat_row(slug, alone=True, engine=engine).memory_bytes == 72 * GB
        assert chat_row(slug, alone=False, engine=engine).memory_bytes < 72 * GB
    # One that does not fit is still said not to.
    large = chat_row("Mixtral_8x7B_Instruct", alone=True, engine=engine)
    assert large.memory_bytes == 110 * GB


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("engine", [VLLM, TRANSFORMERS])
def test_beside_other_surfaces_chat_has_its_part(engine):
    row = chat_row("Llama3_8B_Instruct", alone=False, engine=engine)
    assert row.memory_bytes == CATALOG.find(row.slug).memory_bytes
    named = chat_row("Llama3_8B_Instruct", alone=False, engine=engine, CHAT_MEMORY_GB="40")
    assert named.memory_bytes == 40 * GB
    less = chat_row("Llama3_8B_Instruct", alone=True, engine=engine, CHAT_MEMORY_GB="40")
    assert less.memory_bytes == 40 * GB


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("engine", [VLLM, TRANSFORMERS])
@pytest.mark.parametrize("slug", ["Tiny_Llama", "SmolLM2_135M_Instruct"])
def test_a_small_model_on_a_gpu_counts_for_what_its_engine_takes(engine, slug):
    assert chat_row(slug, alone=False, engine=engine).memory_bytes == 4 * GB
    settings = Settings.from_env({"CHAT_ENGINE": "transformers"})
    on_cpu = fitted(CATALOG, settings, "cpu", 8 * GB).find(slug)
    assert on_cpu.memory_bytes == CATALOG.find(slug).memory_bytes


@pytest.mark.usefixtures("installed")
def test_a_model_on_several_gpus_counts_for_its_part_of_each():
    """The budget is of one GPU; an image model is on the first alone, and counts in full there."""
    mixtral = chat_row("Mixtral_8x7B_Instruct", alone=False, RUNPOD_GPU_COUNT="2")
    assert mixtral.memory_bytes == 55 * GB
    one = chat_row("Mixtral_8x7B_Instruct", alone=False, engine=TRANSFORMERS, RUNPOD_GPU_COUNT="2")
    assert one.memory_bytes == 110 * GB  # it uses one


def gpu_worker(monkeypatch: pytest.MonkeyPatch, **env: str) -> Worker:
    gpu = Device("cuda", 80 * GB, bf16=True, capability=(9, 0), name="NVIDIA H100")
    monkeypatch.setattr("handler.assemble.hardware.detect", lambda _: gpu)
    return assemble(Settings.from_env({"CHAT_ENGINE": "vllm", **env}))


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("env", "share_gb"),
    [
        ({"SURFACE": "chat"}, 72),
        ({"MODEL_SLUG": "Llama3_8B_Instruct"}, 72),
        ({"SURFACE": "chat", "MEMORY_BUDGET_GB": "50"}, 50),
        ({"SURFACE": "chat", "RUNPOD_GPU_COUNT": "2"}, 72),
        ({"SURFACE": "all"}, 20),
        ({"SURFACE": "chat,embeddings"}, 20),
        ({"SURFACE": "chat,embeddings", "CHAT_MEMORY_GB": "60"}, 60),
        ({"SURFACE": "all", "RUNPOD_GPU_COUNT": "2"}, 10),
    ],
)
def test_the_pool_counts_what_vllm_is_handed(monkeypatch, env, share_gb):
    worker = gpu_worker(monkeypatch, **env)
    pool = worker.dispatcher.pool
    row = worker.endpoint.pick("chat", None)
    assert row.memory_bytes == share_gb * GB
    assert pool.budget_bytes == int(env.get("MEMORY_BUDGET_GB", "72")) * GB


@pytest.mark.anyio
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("engine", ["vllm", "transformers"])
async def test_a_second_chat_model_evicts_the_first(monkeypatch, engine):
    """Both take all there is, and the pool knows: the first goes before the second is loaded."""
    worker = gpu_worker(monkeypatch, SURFACE="chat", CHAT_ENGINE=engine)
    warm: list[tuple[str, list[str]]] = []

    def load(row: Row) -> Any:
        warm.append((row.slug, pool.warm))
        return fake.FakeEmbeddings(row)

    pool = Pool(load, worker.dispatcher.pool.budget_bytes, 8)
    for slug in ("Llama3_8B_Instruct", "Qwen3_4B_Instruct", "Llama3_8B_Instruct"):
        async with pool.lease(worker.endpoint.pick("chat", slug)):
            assert pool.warm == [slug]
    assert [others for _, others in warm] == [[], [], []]


@pytest.mark.anyio
@pytest.mark.usefixtures("installed")
async def test_all_surfaces_share_a_gpu_by_what_they_count_for(monkeypatch):
    """As much as fits stays: chat has its part, and makes room for a video's 72 GB like any other."""
    worker = gpu_worker(monkeypatch, SURFACE="all")
    pool = Pool(fake.FakeEmbeddings, worker.dispatcher.pool.budget_bytes, 8)
    rows = worker.endpoint.catalog
    for slug, stay in (
        ("Llama3_8B_Instruct", ["Llama3_8B_Instruct"]),
        ("Flux1schnell", ["Llama3_8B_Instruct", "Flux1schnell"]),
        ("Qwen3_4B_Instruct", ["Flux1schnell", "Qwen3_4B_Instruct"]),
        ("Ltx2_3_22B_Dist_INT8", ["Ltx2_3_22B_Dist_INT8"]),
    ):
        async with pool.lease(rows.find(slug)):
            assert pool.warm == stay


# Images' engine ----------------------------------------------------------------------------------


def test_what_the_operator_says_of_images_reaches_their_engine(tmp_path):

    def row(kind: str, budget_gb: int, **env: str):
        settings = Settings.from_env({"QUARTET_CACHE": str(tmp_path), **env})
        return fitted(CATALOG, settings, kind, budget_gb * GB).find("Flux1schnell")

    whole = CATALOG.find("Flux1schnell")
    assert row("cuda", 80) == whole
    for small in (row("cuda", 30), row("cuda", 80, IMAGES_OFFLOAD="always")):
        assert small.options["offload"] is True
        assert small.memory_bytes == whole.options["offloaded_bytes"] < whole.memory_bytes
    for plain in (row("cuda", 30, IMAGES_OFFLOAD="never"), row("cpu", 30)):
        assert plain == whole
    assert row("cuda", 80, IMAGES_QUANTIZATION="fp8").options["quantization"] == "fp8"
    assert row("cuda", 80, IMAGES_COMPILE="1").options["compiled"] == tmp_path / "compiled"
    settings = Settings.from_env({"IMAGES_COMPILE": "1", "QUARTET_CACHE": str(tmp_path)})
    videos = fitted(CATALOG, settings, "cuda", 48 * GB).find("Ltx2_3_22B_Dist_INT8")
    assert {"compiled", "offload"} <= videos.options.keys()
    assert videos.memory_bytes == 36 * GB
    with pytest.raises(SettingsError, match="IMAGES_QUANTIZATION"):
        row("cuda", 80, IMAGES_QUANTIZATION="nf4")


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_eight_bits_lower_what_a_model_counts_for(kind):
    """Of Flux's 38 GB 23.8 are the part that denoises: in eight bits the whole fits where 38 do not."""

    def row(slug: str, budget_gb: float, **env: str) -> Row:
        settings = Settings.from_env({"IMAGES_QUANTIZATION": kind, **env})
        return fitted(CATALOG, settings, "cuda", int(budget_gb * GB)).find(slug)

    flux = row("Flux1schnell", 30)
    assert "offload" not in flux.options
    assert flux.memory_bytes == (38 - 11.9) * GB
    offloaded = row("Flux1schnell", 21.6)
    assert offloaded.options["offload"] is True
    assert offloaded.memory_bytes == pytest.approx((28 - 11.9) * GB)
    # The text encoder, 8 GB, is the largest part then, and nothing of that is saved.
    klein = row("Flux_2_Klein_4B_BF16", 80, IMAGES_OFFLOAD="always")
    assert klein.memory_bytes == pytest.approx(12 * GB)
    assert row("Flux_2_Klein_4B_BF16", 80).memory_bytes == pytest.approx((19 - 3.9) * GB)
    assert row("SDXL", 80).memory_bytes == pytest.approx((14 - 2.55) * GB)


@pytest.mark.parametrize("slug", ["ZImageTurbo_INT8", "Ltx2_3_22B_Dist_INT8"])
def test_what_is_stored_in_eight_bits_already_counts_as_before(slug):
    settings = Settings.from_env({"IMAGES_QUANTIZATION": "int8"})
    stored = fitted(CATALOG, settings, "cuda", 100 * GB).find(slug)
    assert stored.memory_bytes == CATALOG.find(slug).memory_bytes


def test_what_transcription_computes_in(tmp_path):

    told = fitted(CATALOG, Settings.from_env({"COMPUTE_TYPE": "int8_float16"}), "cuda", 10**12)
    assert told.find("WhisperLargeV3").options["compute_type"] == "int8_float16"
    assert "compute_type" not in told.find("Flux1schnell").options
