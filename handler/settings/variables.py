"""The environment, read once.

Every variable that the worker reads is a field below; docs/configuration.md is generated from them
(``python -m handler.settings.document``) and a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from handler.contract import SURFACES
from handler.media.bucket import MAX_TTL_S, BucketConfig
from models.environ import tidied
from models.warm.watch import HUNG_AFTER_S
from models.weights.store import Places

_ADAPTER = re.compile(r"[\w.-]+=(hf://[\w.-]+/[\w.-]+@[0-9a-f]{40}|file:///.+)")
# Whose values are words in lower case.
_WORDS = frozenset({
    "SURFACE", "DEVICE", "DTYPE", "CHAT_ENGINE", "COMPUTE_TYPE", "IMAGES_QUANTIZATION",
    "IMAGES_OFFLOAD",
})  # fmt: skip
_IMAGE_TAG = re.compile(r"(hf|gh)://[\w.-]+/[\w.-]+@[\w./-]+(#.+)?")


class SettingsError(Exception):
    """A variable makes no sense; the message is the one line to print."""


def _env(name: str, meaning: str, default: Any = None, **limits: Any) -> Any:
    return Field(default=default, validation_alias=name, description=meaning, **limits)


class Settings(BaseModel):
    """The environment's variables."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    surface: tuple[str, ...] = _env(
        "SURFACE",
        f"Surfaces to serve, comma-separated, of: {', '.join(SURFACES)}. Unset or `all`: the "
        "configured model's surface, else all of them.",
        (),
    )
    model_slug: str | None = _env("MODEL_SLUG", "The model that this endpoint serves.")
    baked_model: str | None = _env(
        "BAKED_MODEL",
        "The model whose weights the image holds; the image sets it (build argument MODEL). It is "
        "the default of its surface where no variable names another.",
    )
    model_tasks: tuple[str, ...] = _env(
        "MODEL_TASKS", "The model's tasks, comma-separated (txt2img, txt2embedding, …).", ()
    )
    model_huggingface_model: str | None = _env(
        "MODEL_HUGGINGFACE_MODEL", "The model's repo id; names the model when MODEL_SLUG is unset."
    )
    huggingface_model: str | None = _env("HUGGINGFACE_MODEL", "The same, under its older name.")
    model_open_source_repo: str | None = _env(
        "MODEL_OPEN_SOURCE_REPO", "The repo id of the pinned weights."
    )
    model_open_source_revision: str | None = _env(
        "MODEL_OPEN_SOURCE_REVISION",
        "The revision to serve, when the repo is the one that the catalog has.",
        pattern=r"^[\w./-]+$",
    )
    model_open_source_image_tag: str | None = _env(
        "MODEL_OPEN_SOURCE_IMAGE_TAG",
        "Repo and revision in one: `hf://repo@revision#file` or `gh://repo@tag#file`.",
    )
    max_batch_size: int = _env(
        "MODEL_MAX_BATCH_SIZE", "How many jobs one run may mix at most; 1 = never mix.", 256, ge=1
    )
    device: Literal["auto", "cuda", "cpu"] = _env(
        "DEVICE", "Where models run; auto takes the GPU when there is one.", "auto"
    )
    dtype: Literal["bfloat16", "float16", "float32"] | None = _env(
        "DTYPE",
        "What chat and embeddings compute in. Unset: bfloat16 where the GPU or CPU has it, else "
        "float16 on a GPU and float32 on a CPU.",
    )
    chat_engine: Literal["auto", "transformers", "vllm"] = _env(
        "CHAT_ENGINE",
        "What runs chat models; auto is vllm on a GPU where it is installed, else transformers.",
        "auto",
    )
    chat_context_tokens: int | None = _env(
        "CHAT_CONTEXT_TOKENS",
        "How many tokens a conversation may have, with its answer. Unset: what the model reads.",
        ge=256,
    )
    chat_cache_tokens: int | None = _env(
        "CHAT_CACHE_TOKENS",
        "How many tokens of all conversations together are kept at once, at most. Unset: what the "
        "model's part of the GPU's memory allows, and 16,384 on a CPU.",
        ge=256,
    )
    chat_memory_gb: float | None = _env(
        "CHAT_MEMORY_GB",
        "What a chat model may take of each GPU: weights, cache and working space. Unset: the "
        "whole budget where the worker serves chat alone, else what the catalog says.",
        gt=0,
    )
    served_names: tuple[str, ...] = _env(
        "SERVED_NAMES",
        "Further names of models, comma-separated: with `NAME=MODEL` a request for NAME is "
        "answered by MODEL, also where NAME is another model's.",
        (),
    )
    lora_adapters: tuple[str, ...] = _env(
        "LORA_ADAPTERS",
        "LoRA adapters of the chat model, comma-separated: `name=hf://repo@revision` or "
        "`name=file:///folder`; a request chooses one by `model: slug:name`. vllm only.",
        (),
    )
    lora_allow: tuple[str, ...] = _env(
        "LORA_ALLOW",
        "LoRA adapters that a request for pictures may name, comma-separated, with `*` for "
        "anything: `owner/name`, `owner/*`, `https://host/*`, `file:///folder/*`. A pattern allows "
        "addresses of its own scheme; those that a host redirects to must match, too. Unset: none.",
        (),
    )
    safety_checker: str | None = _env(
        "SAFETY_CHECKER",
        "The model that looks at pictures before they leave: `StableDiffusion_Safety_Checker`. "
        "Unset: none does.",
    )
    diarizer: str | None = _env(
        "DIARIZER",
        "The model that tells speakers apart, where sherpa-onnx is installed: "
        "`Pyannote_WeSpeaker`. Unset: that one on a GPU, a stand-in on a CPU.",
    )
    compute_type: Literal["float32", "float16", "bfloat16", "int8", "int8_float16"] | None = _env(
        "COMPUTE_TYPE",
        "What transcription computes in. Unset: float16 on a GPU, int8 on a CPU.",
    )
    images_compile: bool = _env(
        "IMAGES_COMPILE",
        "Compile image models when they load; what is compiled is kept on the volume or in "
        "QUARTET_CACHE.",
        False,
    )
    images_quantization: Literal["int8", "fp8"] | None = _env(
        "IMAGES_QUANTIZATION",
        "Store the denoising part of image models in 8 bits; fp8 computes in it, too, and needs "
        "torchao and a GPU of Ada's or Hopper's generation or later.",
    )
    images_offload: Literal["auto", "always", "never"] = _env(
        "IMAGES_OFFLOAD",
        "Keep parts of an image model in the RAM while they are not used; auto does where the "
        "whole is larger than the memory budget.",
        "auto",
    )
    gpu_count: int = _env(
        "RUNPOD_GPU_COUNT", "The GPUs of this worker, which the platform sets; vllm uses all.", 1
    )
    memory_budget_gb: float | None = _env(
        "MEMORY_BUDGET_GB",
        "Memory that warm models may take together, of each GPU. Unset: 90 % of it, or of the RAM.",
        gt=0,
    )
    concurrency: int | None = _env(
        "CONCURRENCY",
        "Jobs taken at once. Unset: two runs' worth of the model, at least the surface's number.",
        ge=1,
    )
    preload: bool = _env(
        "PRELOAD", "Load the model before taking jobs, when the worker serves one surface.", True
    )
    check_bucket: bool = _env(
        "CHECK_BUCKET",
        "Before jobs are taken, write a small object to the bucket and remove it; a worker that "
        "cannot ends, as unfit.",
        False,
    )
    rehearse: bool = _env(
        "REHEARSE",
        "After preloading, answer a small job that nobody has sent before taking any: the first "
        "that counts is then as fast as the second.",
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
        "For how long an engine may give no sign of life after its jobs' time is over; then the "
        "device is taken for hung and the worker ends.",
        HUNG_AFTER_S,
        gt=0,
    )
    output_limit_bytes: int | None = _env(
        "OUTPUT_LIMIT_BYTES",
        "The largest answer. Unset: 9,500,000 behind the queue, which keeps 10 MB, and 28,500,000 "
        "with `--serve`, where the balancer lets 30 MB through.",
        ge=1000,
    )
    inline_limit_bytes: int = _env(
        "INLINE_LIMIT_BYTES",
        "Pictures of more than this as base64, together, become webp of a quality that goes down "
        "in steps, where the client names no format: gateways keep an answer in a row of a "
        "database, of 2 MB at most.",
        1_500_000,
        ge=1000,
    )
    serve: bool = _env("SERVE", "Answer OpenAI's routes over HTTP, as `--serve` does.", False)
    serve_host: str | None = _env(
        "SERVE_HOST", "The address to serve on. Unset: 0.0.0.0 on RunPod, elsewhere 127.0.0.1."
    )
    port: int | None = _env(
        "PORT", "The port to serve on. Unset: 80 on RunPod, elsewhere 8000.", ge=0, le=65535
    )
    metrics_port: int | None = _env(
        "METRICS_PORT",
        "A port for /metrics beside the queue, of 127.0.0.1 or SERVE_HOST. Unset: none.",
        ge=1,
        le=65535,
    )
    playground: bool = _env(
        "PLAYGROUND", "Serve a page to try this worker, at /playground, with `--serve`.", False
    )
    port_health: int | None = _env("PORT_HEALTH", "A second port for /ping.", ge=0, le=65535)
    request_limit_bytes: int = _env(
        "REQUEST_LIMIT_BYTES", "The largest request served over HTTP.", 30_000_000, ge=1000
    )
    media_timeout_s: float = _env(
        "MEDIA_TIMEOUT_S", "How long fetching a client's file may take.", 60.0, gt=0
    )
    media_private_hosts: frozenset[str] = _env(
        "MEDIA_PRIVATE_HOSTS",
        "Hosts, comma-separated, that clients' URLs may name although they are private.",
        frozenset(),
    )
    bucket_endpoint_url: str | None = _env(
        "BUCKET_ENDPOINT_URL", "Address of an S3-compatible store for results."
    )
    bucket_access_key_id: str | None = _env("BUCKET_ACCESS_KEY_ID", "Its access key.", repr=False)
    bucket_secret_access_key: str | None = _env(
        "BUCKET_SECRET_ACCESS_KEY", "Its secret key.", repr=False
    )
    bucket_name: str | None = _env("BUCKET_NAME", "Its bucket.")
    bucket_region: str | None = _env(
        "BUCKET_REGION", "Its region; by default the one in its address, else us-east-1."
    )
    bucket_url_ttl_s: int = _env(
        "BUCKET_URL_TTL_S", "How long a result's URL can be read.", MAX_TTL_S, ge=1, le=MAX_TTL_S
    )
    weights_dir: Path = _env("WEIGHTS_DIR", "Weights baked into the image.", Path("/models"))
    volume_dir: Path = _env("VOLUME_DIR", "The network volume.", Path("/runpod-volume"))
    cache_dir: Path = _env(
        "QUARTET_CACHE", "Where weights are kept on this machine.", Path("~/.cache/quartet")
    )
    hf_home: Path = _env("HF_HOME", "The hub's own cache folder.", Path("~/.cache/huggingface"))
    hf_endpoint: str | None = _env("HF_ENDPOINT", "Another address of the hub (a mirror).")
    hf_token: str | None = _env("HF_TOKEN", "The hub's token, for gated models.", repr=False)
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = _env(
        "RUNPOD_LOG_LEVEL", "What is logged, by us and the SDK.", "INFO"
    )
    fake_engines: bool = _env(
        "FAKE_ENGINES", "Serve the weightless engines of models/fake.py, for tests.", False
    )
    fake_delay_s: float = _env("FAKE_DELAY_S", "How long each of their steps takes.", 0.0, ge=0)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the environment; an empty variable counts as unset, white space around one is none.

        Raises:
            SettingsError: a value makes no sense.
        """
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
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

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
