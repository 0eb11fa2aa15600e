"""The environment, read once.

Every variable that the worker reads is a field below; docs/configuration.md is generated from them
(``python -m handler.settings.document``) and a test holds the two together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from handler.contract import SURFACES
from handler.media.bucket import MAX_TTL_S, BucketConfig
from handler.settings.foreign import translated
from models.environ import tidied
from models.warm.watch import HUNG_AFTER_S
from models.weights.places import Places

_ADAPTER = re.compile(r"[\w.-]+=(hf://[\w.-]+/[\w.-]+@[0-9a-f]{40}|file:///.+)")
# Variables whose values are read in lower case.
_WORDS = frozenset({
    "SURFACE", "DEVICE", "DTYPE", "CHAT_ENGINE", "COMPUTE_TYPE", "IMAGES_QUANTIZATION",
    "IMAGES_OFFLOAD",
})  # fmt: skip
_IMAGE_TAG = re.compile(r"(hf|gh)://[\w.-]+/[\w.-]+@[\w./-]+(#.+)?")


class SettingsError(Exception):
    """A variable is invalid; the message is one line, for the operator."""


def _translated(env: Mapping[str, str]) -> dict[str, str]:
    try:
        return translated(env)
    except ValueError as error:
        raise SettingsError(f"VLLM_ARGS: {error}") from None


def _env(name: str, meaning: str, default: Any = None, **limits: Any) -> Any:
    return Field(default=default, validation_alias=name, description=meaning, **limits)


class Settings(BaseModel):
    """The environment's variables."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    surface: tuple[str, ...] = _env(
        "SURFACE",
        f"The surfaces to serve, comma-separated: {', '.join(SURFACES)}. Unset or `all`: the "
        "configured model's surface, else all of them.",
        (),
    )
    model_slug: str | None = _env("MODEL_SLUG", "The model that this endpoint serves.")
    model: str | None = _env(
        "MODEL",
        "The model to serve: a slug of the catalog, `owner/name`, `owner/name@revision`, "
        "`hf://owner/name@revision` or `file:///folder`. A model that the catalog does not have "
        "is described by its own files.",
    )
    model_revision: str | None = _env(
        "MODEL_REVISION",
        "The branch, tag or commit of MODEL, if MODEL names none. Unset: the main branch, "
        "resolved to its commit once, at the start.",
        pattern=r"^[\w./-]+$",
    )
    models: str | None = _env(
        "MODELS",
        "Several models, comma-separated: `slug=owner/name@revision`, `slug=file:///folder` or an "
        "address alone. The first of each task is its default.",
    )
    model_row: Path | None = _env(
        "MODEL_ROW",
        "A file in TOML or YAML with values of the models' rows, which replace what their files "
        "say.",
    )
    model_folders: tuple[Path, ...] = _env(
        "MODEL_FOLDERS",
        "The folders that `file://` addresses may be in, comma-separated. Unset: any.",
        (),
    )
    trust_remote_code: bool = _env(
        "TRUST_REMOTE_CODE",
        "Run the code of the repositories that MODEL and MODELS name, if a model needs it.",
        False,
    )
    baked_model: str | None = _env(
        "BAKED_MODEL",
        "The model whose weights are in the image. The image sets it from the build argument "
        "MODEL. It is its surface's default unless another variable names a model.",
    )
    model_tasks: tuple[str, ...] = _env(
        "MODEL_TASKS", "The model's tasks, comma-separated (txt2img, txt2embedding, …).", ()
    )
    model_huggingface_model: str | None = _env(
        "MODEL_HUGGINGFACE_MODEL",
        "The model's repository id; names the model if MODEL_SLUG is unset.",
    )
    huggingface_model: str | None = _env(
        "HUGGINGFACE_MODEL", "The older name of MODEL_HUGGINGFACE_MODEL."
    )
    model_open_source_repo: str | None = _env(
        "MODEL_OPEN_SOURCE_REPO", "The repository id of the pinned weights."
    )
    model_open_source_revision: str | None = _env(
        "MODEL_OPEN_SOURCE_REVISION",
        "The revision to serve, if the repository is the catalog's.",
        pattern=r"^[\w./-]+$",
    )
    model_open_source_image_tag: str | None = _env(
        "MODEL_OPEN_SOURCE_IMAGE_TAG",
        "Repository and revision: `hf://repo@revision#file` or `gh://repo@tag#file`.",
    )
    max_batch_size: int = _env(
        "MODEL_MAX_BATCH_SIZE",
        "The largest number of jobs in one run; 1 = jobs never share a run.",
        256,
        ge=1,
    )
    device: Literal["auto", "cuda", "cpu"] = _env(
        "DEVICE", "Where models run; auto = the GPU if there is one.", "auto"
    )
    dtype: Literal["bfloat16", "float16", "float32"] | None = _env(
        "DTYPE",
        "The type that chat and embeddings compute in. Unset: bfloat16 if the GPU or CPU has "
        "it, else float16 on a GPU and float32 on a CPU.",
    )
    chat_engine: Literal["auto", "transformers", "vllm"] = _env(
        "CHAT_ENGINE",
        "The engine of chat models; auto = vllm on a GPU if it is installed, else transformers.",
        "auto",
    )
    chat_template: str | None = _env(
        "CHAT_TEMPLATE",
        "A file with a chat template in Jinja, or the template itself, instead of the model's own.",
    )
    vllm_args: dict[str, Any] = _env(
        "VLLM_ARGS",
        "Further arguments of vllm's engine, as a JSON object: "
        '`{"max_num_seqs": 64, "kv_cache_dtype": "fp8"}`. '
        "docs/chat.md lists them.",
        {},
    )
    chat_context_tokens: int | None = _env(
        "CHAT_CONTEXT_TOKENS",
        "The largest number of tokens in a conversation, the answer included. Unset: the "
        "model's context length.",
        ge=256,
    )
    chat_cache_tokens: int | None = _env(
        "CHAT_CACHE_TOKENS",
        "The largest number of tokens that the cache holds for all conversations together. "
        "Unset: what fits the model's share of the GPU's memory, and 16,384 on a CPU.",
        ge=256,
    )
    chat_memory_gb: float | None = _env(
        "CHAT_MEMORY_GB",
        "The memory of a chat model on each GPU: weights, cache and working space. Unset: the "
        "whole budget if the worker serves chat alone, else the catalog's figure.",
        gt=0,
    )
    chat_images: int = _env(
        "CHAT_IMAGES", "The largest number of pictures in a chat request.", 16, ge=1
    )
    chat_image_bytes: int = _env(
        "CHAT_IMAGE_BYTES",
        "The largest size of a chat request's pictures together, as they are sent.",
        32 * 1024 * 1024,
        ge=1000,
    )
    chat_image_pixels: int = _env(
        "CHAT_IMAGE_PIXELS",
        "The largest number of pixels of a chat request's pictures together.",
        64_000_000,
        ge=10_000,
    )
    served_names: tuple[str, ...] = _env(
        "SERVED_NAMES",
        "Additional model names, comma-separated: with `NAME=MODEL`, a request for NAME is "
        "served by MODEL, even if NAME is another model's name.",
        (),
    )
    lora_adapters: tuple[str, ...] = _env(
        "LORA_ADAPTERS",
        "LoRA adapters of the chat model, comma-separated: `name=hf://repo@revision` or "
        "`name=file:///folder`. A request chooses one with `model: slug:name`. vllm only.",
        (),
    )
    lora_allow: tuple[str, ...] = _env(
        "LORA_ALLOW",
        "LoRA adapters that an image request may name, comma-separated patterns with `*` as "
        "wildcard: `owner/name`, `owner/*`, `https://host/*`, `file:///folder/*`. A pattern "
        "matches addresses of its own scheme only; redirect targets must match too. Unset: "
        "none.",
        (),
    )
    safety_checker: str | None = _env(
        "SAFETY_CHECKER",
        "The model that checks pictures before they are returned: "
        "`StableDiffusion_Safety_Checker`. Unset: pictures are not checked.",
    )
    diarizer: str | None = _env(
        "DIARIZER",
        "The model that distinguishes speakers, if sherpa-onnx is installed: "
        "`Pyannote_WeSpeaker`. Unset: that model on a GPU, a stand-in on a CPU.",
    )
    compute_type: Literal["float32", "float16", "bfloat16", "int8", "int8_float16"] | None = _env(
        "COMPUTE_TYPE",
        "The type that transcription computes in. Unset: float16 on a GPU, int8 on a CPU.",
    )
    images_compile: bool = _env(
        "IMAGES_COMPILE",
        "Compile image models when they load. The compiled code is kept on the volume or in "
        "QUARTET_CACHE.",
        False,
    )
    speech_max_characters: int = _env(
        "SPEECH_MAX_CHARACTERS",
        "The longest text that is spoken at once.",
        4096,
        ge=1,
    )
    images_quantization: Literal["int8", "fp8"] | None = _env(
        "IMAGES_QUANTIZATION",
        "Store the denoising part of image models in 8 bits. fp8 also computes in 8 bits; it "
        "needs torchao and an Ada, Hopper or later GPU.",
    )
    images_offload: Literal["auto", "always", "never"] = _env(
        "IMAGES_OFFLOAD",
        "Keep unused parts of an image model in RAM; auto = only if the whole model exceeds the "
        "memory budget.",
        "auto",
    )
    gpu_count: int = _env(
        "RUNPOD_GPU_COUNT",
        "The number of this worker's GPUs, set by the platform; vllm uses all of them.",
        1,
    )
    memory_budget_gb: float | None = _env(
        "MEMORY_BUDGET_GB",
        "The memory of all warm models together, on each GPU. Unset: 90 % of the GPU's memory, "
        "or of the RAM.",
        gt=0,
    )
    concurrency: int | None = _env(
        "CONCURRENCY",
        "The number of jobs taken at once. Unset: two runs' worth of the model, at least the "
        "surface's number.",
        ge=1,
    )
    preload: bool = _env(
        "PRELOAD", "Load the model before the first job, if the worker serves one surface.", True
    )
    check_bucket: bool = _env(
        "CHECK_BUCKET",
        "Write a small object to the bucket and remove it before the first job. If that fails, "
        "the worker exits as unfit.",
        False,
    )
    rehearse: bool = _env(
        "REHEARSE",
        "After preloading, run a warm-up request before taking jobs, so that the first job is "
        "as fast as the second.",
        True,
    )
    job_timeout_s: float | None = _env(
        "JOB_TIMEOUT_S",
        "The endpoint's execution timeout. Unset: the model's, from the catalog. The worker "
        "answers a little earlier, with a clear error.",
        ge=5,
    )
    hung_after_s: float = _env(
        "HUNG_AFTER_S",
        "How long an engine may be silent after its jobs have timed out. After that the device "
        "counts as hung and the worker exits.",
        HUNG_AFTER_S,
        gt=0,
    )
    output_limit_bytes: int | None = _env(
        "OUTPUT_LIMIT_BYTES",
        "The largest answer. Unset: 9,500,000 behind the queue, whose limit is 10 MB, and "
        "28,500,000 with `--serve`, where the load balancer's limit is 30 MB.",
        ge=1000,
    )
    inline_limit_bytes: int = _env(
        "INLINE_LIMIT_BYTES",
        "The largest total size of an answer's pictures as base64. If the client names no "
        "format, larger pictures become webp, of stepwise lower quality: gateways keep an "
        "answer in a database row of at most 2 MB.",
        1_500_000,
        ge=1000,
    )
    serve: bool = _env("SERVE", "Serve OpenAI's routes over HTTP, like `--serve`.", False)
    serve_host: str | None = _env(
        "SERVE_HOST", "The address to listen on. Unset: 0.0.0.0 on RunPod, 127.0.0.1 elsewhere."
    )
    port: int | None = _env(
        "PORT", "The port to listen on. Unset: 80 on RunPod, 8000 elsewhere.", ge=0, le=65535
    )
    metrics_port: int | None = _env(
        "METRICS_PORT",
        "A port for /metrics behind the queue, on 127.0.0.1 or SERVE_HOST. Unset: none.",
        ge=1,
        le=65535,
    )
    playground: bool = _env(
        "PLAYGROUND", "Serve a page to try this worker, at /playground, with `--serve`.", False
    )
    port_health: int | None = _env("PORT_HEALTH", "A second port for /ping.", ge=0, le=65535)
    request_limit_bytes: int = _env(
        "REQUEST_LIMIT_BYTES", "The largest request over HTTP.", 30_000_000, ge=1000
    )
    media_timeout_s: float = _env(
        "MEDIA_TIMEOUT_S", "How long the download of a client's file may take.", 60.0, gt=0
    )
    media_private_hosts: frozenset[str] = _env(
        "MEDIA_PRIVATE_HOSTS",
        "Private hosts that clients' URLs may name, comma-separated.",
        frozenset(),
    )
    bucket_endpoint_url: str | None = _env(
        "BUCKET_ENDPOINT_URL", "The address of an S3-compatible store for results."
    )
    bucket_access_key_id: str | None = _env(
        "BUCKET_ACCESS_KEY_ID", "The store's access key.", repr=False
    )
    bucket_secret_access_key: str | None = _env(
        "BUCKET_SECRET_ACCESS_KEY", "The store's secret key.", repr=False
    )
    bucket_name: str | None = _env("BUCKET_NAME", "The bucket.")
    bucket_region: str | None = _env(
        "BUCKET_REGION",
        "The bucket's region. Unset: the one in the store's address, else us-east-1.",
    )
    bucket_url_ttl_s: int = _env(
        "BUCKET_URL_TTL_S", "How long a result's URL is valid.", MAX_TTL_S, ge=1, le=MAX_TTL_S
    )
    weights_dir: Path = _env("WEIGHTS_DIR", "The weights in the image.", Path("/models"))
    volume_dir: Path = _env("VOLUME_DIR", "The network volume.", Path("/runpod-volume"))
    cache_dir: Path = _env(
        "QUARTET_CACHE", "The cache of weights on this machine.", Path("~/.cache/quartet")
    )
    hf_home: Path = _env(
        "HF_HOME", "The cache folder of the Hugging Face Hub.", Path("~/.cache/huggingface")
    )
    hf_endpoint: str | None = _env("HF_ENDPOINT", "Another address of the Hub (a mirror).")
    hf_token: str | None = _env("HF_TOKEN", "The Hub's token, for gated models.", repr=False)
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = _env(
        "RUNPOD_LOG_LEVEL", "The lowest log level of the worker and the SDK.", "INFO"
    )
    fake_engines: bool = _env(
        "FAKE_ENGINES",
        "Serve the fake engines of models/fake.py, which have no weights, for tests.",
        False,
    )
    fake_delay_s: float = _env("FAKE_DELAY_S", "How long each of their steps takes.", 0.0, ge=0)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the environment. Empty values count as unset; surrounding white space is stripped.

        Raises:
            SettingsError: a value is invalid.
        """
        env = _translated(env)
        known = tidied({name: env[name] for name in cls.names() if name in env})
        given = {name: value.lower() if name in _WORDS else value for name, value in known.items()}
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name, got = first["loc"][0], first["input"]
            shown = "the value given" if "KEY" in str(name) or "TOKEN" in str(name) else repr(got)
            reason = first["msg"].removeprefix("Value error, ")
            reason = reason.replace("Input should be", "must be")
            raise SettingsError(f"{name}: {reason}; got {shown}") from None
        settings.bucket()  # a bucket that is half configured stops the start too
        return settings

    @classmethod
    def names(cls) -> frozenset[str]:
        """Return the names of all variables."""
        return frozenset(str(field.validation_alias) for field in cls.model_fields.values())

    @field_validator(
        "surface",
        "model_tasks",
        "media_private_hosts",
        "served_names",
        "lora_adapters",
        "lora_allow",
        "model_folders",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("vllm_args", mode="before")
    @classmethod
    def _object(cls, value: object) -> object:
        try:
            found = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ValueError('must be a JSON object, as {"max_num_seqs": 64}')
        return found

    @field_validator("served_names")
    @classmethod
    def _pairs(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for pair in given:
            name, _, model = pair.partition("=")
            if not name.strip() or not model.strip():
                raise ValueError("must be NAME=MODEL, comma-separated")
        return given

    @field_validator("lora_adapters")
    @classmethod
    def _addresses(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for one in given:
            if not _ADAPTER.fullmatch(one):
                raise ValueError("must be name=hf://repo@revision or name=file:///folder")
        return given

    @field_validator("media_private_hosts")
    @classmethod
    def _lower(cls, hosts: frozenset[str]) -> frozenset[str]:
        for host in hosts:
            if "/" in host or host.count(":") == 1:
                raise ValueError("must be hosts alone, without scheme or port")
        return frozenset(host.lower().strip("[]") for host in hosts)

    @field_validator("hf_endpoint")
    @classmethod
    def _hub(cls, value: str) -> str:
        # The hub's library reads the same variable when it is imported, and breaks on a bad one.
        try:
            parts = urlsplit(value)
            fine = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            fine = False
        if not fine:
            raise ValueError("must be an address, as https://host")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _level(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return {"WARNING": "WARN", "CRITICAL": "ERROR"}.get(value.upper(), value.upper())

    @field_validator("model_open_source_image_tag")
    @classmethod
    def _tag(cls, value: str) -> str:
        if not _IMAGE_TAG.fullmatch(value):
            raise ValueError("must be hf://repo@revision#file or gh://repo@tag#file")
        return value

    def model_names(self) -> Iterable[str]:
        """Every name under which the environment speaks of the endpoint's model."""
        tag = self.model_open_source_image_tag or ""
        names = (
            self.model_slug,
            self.model_open_source_repo,
            tag.partition("://")[2].partition("@")[0],
            self.model_huggingface_model,
            self.huggingface_model,
        )
        return list(dict.fromkeys(name for name in names if name))

    def further_names(self) -> dict[str, str]:
        """The model that each further name means."""
        pairs = (pair.partition("=") for pair in self.served_names)
        return {name.strip(): model.strip() for name, _, model in pairs}

    def adapters(self) -> dict[str, str]:
        """Return the sources of the operator's adapters by name."""
        parts = (one.partition("=") for one in self.lora_adapters)
        return {name: address for name, _, address in parts}

    def pin(self) -> tuple[str | None, str | None]:
        """The revision that the environment pins, and of which repo; None where it says nothing."""
        tag = self.model_open_source_image_tag or ""
        address, _, rest = tag.partition("://")[2].partition("@")
        revision = self.model_open_source_revision or rest.partition("#")[0]
        return revision or None, self.model_open_source_repo or address or None

    def bucket(self) -> BucketConfig | None:
        """The endpoint's bucket.

        Raises:
            SettingsError: some of its variables are set and others are missing or wrong.
        """
        parts = {
            "BUCKET_ENDPOINT_URL": self.bucket_endpoint_url,
            "BUCKET_ACCESS_KEY_ID": self.bucket_access_key_id,
            "BUCKET_SECRET_ACCESS_KEY": self.bucket_secret_access_key,
            "BUCKET_NAME": self.bucket_name,
        }
        if not any(parts.values()):
            return None
        missing = [name for name, value in parts.items() if not value]
        if missing:
            raise SettingsError(f"a bucket needs {', '.join(missing)} too")
        try:
            return BucketConfig.model_validate(
                {
                    "endpoint_url": self.bucket_endpoint_url,
                    "access_key_id": self.bucket_access_key_id,
                    "secret_access_key": self.bucket_secret_access_key,
                    "name": self.bucket_name,
                    "region": self.bucket_region,
                    "ttl_s": self.bucket_url_ttl_s,
                }
            )
        except ValidationError:
            raise SettingsError(
                "BUCKET_ENDPOINT_URL, BUCKET_NAME or BUCKET_REGION cannot be used as it is"
            ) from None

    def places(self) -> Places:
        """Return the folders where weights may lie."""
        volume = self.volume_dir if self.volume_dir.is_dir() else None
        return Places(
            hub_caches=(
                self.volume_dir / "huggingface-cache" / "hub",
                self.hf_home.expanduser() / "hub",
            ),
            baked=self.weights_dir,
            volume=volume / "quartet" if volume else None,
            cache=self.cache_dir.expanduser(),
            token=self.hf_token,
            endpoint=self.hf_endpoint,
        )
