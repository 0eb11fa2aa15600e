"""The environment, read once.

Every variable that the worker reads is a field below; docs/configuration.md is generated from them
(``python -m handler.settings.document``) and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import ValidationError, field_validator

from handler.media.bucket import MAX_TTL_S, BucketConfig
from handler.settings.engine_variables import EngineVariables
from handler.settings.foreign import translated
from handler.settings.variable import SettingsError, split, variable
from models.environ import tidied
from models.warm.watch import HUNG_AFTER_S
from models.weights.places import ObjectStore, Places

# Variables whose values are read in lower case.
_WORDS = frozenset({
    "SURFACE", "DEVICE", "DTYPE", "CHAT_ENGINE", "COMPUTE_TYPE", "IMAGES_QUANTIZATION",
    "IMAGES_OFFLOAD",
})  # fmt: skip


def _translated(env: Mapping[str, str]) -> dict[str, str]:
    try:
        return translated(env)
    except ValueError as error:
        raise SettingsError(f"VLLM_ARGS: {error}") from None


class Settings(EngineVariables):
    """The environment's variables."""

    job_timeout_s: float | None = variable(
        "JOB_TIMEOUT_S",
        "The endpoint's execution timeout. Unset: the model's, from the catalog. The worker "
        "answers a little earlier, with a clear error.",
        ge=5,
    )
    hung_after_s: float = variable(
        "HUNG_AFTER_S",
        "How long an engine may be silent after its jobs have timed out. After that the device "
        "counts as hung and the worker exits.",
        HUNG_AFTER_S,
        gt=0,
    )
    output_limit_bytes: int | None = variable(
        "OUTPUT_LIMIT_BYTES",
        "The largest answer. Unset: 9,500,000 behind the queue, whose limit is 10 MB, and "
        "28,500,000 with `--serve`, where the load balancer's limit is 30 MB.",
        ge=1000,
    )
    inline_limit_bytes: int = variable(
        "INLINE_LIMIT_BYTES",
        "The largest total size of an answer's pictures as base64. If the client names no "
        "format, larger pictures become webp, of stepwise lower quality: gateways keep an "
        "answer in a database row of at most 2 MB.",
        1_500_000,
        ge=1000,
    )
    serve: bool = variable("SERVE", "Serve OpenAI's routes over HTTP, like `--serve`.", False)
    serve_host: str | None = variable(
        "SERVE_HOST", "The address to listen on. Unset: 0.0.0.0 on RunPod, 127.0.0.1 elsewhere."
    )
    port: int | None = variable(
        "PORT", "The port to listen on. Unset: 80 on RunPod, 8000 elsewhere.", ge=0, le=65535
    )
    metrics_port: int | None = variable(
        "METRICS_PORT",
        "A port for /metrics behind the queue, on 127.0.0.1 or SERVE_HOST. Unset: none.",
        ge=1,
        le=65535,
    )
    playground: bool = variable(
        "PLAYGROUND", "Serve a page to try this worker, at /playground, with `--serve`.", False
    )
    port_health: int | None = variable("PORT_HEALTH", "A second port for /ping.", ge=0, le=65535)
    request_limit_bytes: int = variable(
        "REQUEST_LIMIT_BYTES", "The largest request over HTTP.", 30_000_000, ge=1000
    )
    requests_at_once: int | None = variable(
        "REQUESTS_AT_ONCE",
        "How many requests are answered at a time over HTTP; a further one gets status 429 and "
        "`Retry-After`. Unset: four times the jobs that the worker takes at once behind the "
        "queue, and 32 at least.",
        ge=1,
    )
    request_bytes_at_once: int = variable(
        "REQUEST_BYTES_AT_ONCE",
        "How many bytes the bodies of these requests have in all; a request that is alone may "
        "have more.",
        256_000_000,
        ge=1000,
    )
    media_timeout_s: float = variable(
        "MEDIA_TIMEOUT_S", "How long the download of a client's file may take.", 60.0, gt=0
    )
    media_private_hosts: frozenset[str] = variable(
        "MEDIA_PRIVATE_HOSTS",
        "Private hosts that clients' URLs may name, comma-separated.",
        frozenset(),
    )
    bucket_endpoint_url: str | None = variable(
        "BUCKET_ENDPOINT_URL",
        "The address of an S3-compatible store, for results and for `s3://` models.",
    )
    bucket_access_key_id: str | None = variable(
        "BUCKET_ACCESS_KEY_ID", "The store's access key.", repr=False
    )
    bucket_secret_access_key: str | None = variable(
        "BUCKET_SECRET_ACCESS_KEY", "The store's secret key.", repr=False
    )
    bucket_name: str | None = variable("BUCKET_NAME", "The bucket.")
    bucket_region: str | None = variable(
        "BUCKET_REGION",
        "The bucket's region. Unset: the one in the store's address, else us-east-1.",
    )
    bucket_url_ttl_s: int = variable(
        "BUCKET_URL_TTL_S", "How long a result's URL is valid.", MAX_TTL_S, ge=1, le=MAX_TTL_S
    )
    weights_dir: Path = variable("WEIGHTS_DIR", "The weights in the image.", Path("/models"))
    volume_dir: Path = variable("VOLUME_DIR", "The network volume.", Path("/runpod-volume"))
    cache_dir: Path = variable(
        "QUARTET_CACHE", "The cache of weights on this machine.", Path("~/.cache/quartet")
    )
    hf_home: Path = variable(
        "HF_HOME", "The cache folder of the Hugging Face Hub.", Path("~/.cache/huggingface")
    )
    hf_endpoint: str | None = variable("HF_ENDPOINT", "Another address of the Hub (a mirror).")
    hf_token: str | None = variable("HF_TOKEN", "The Hub's token, for gated models.", repr=False)
    log_level: Literal["DEBUG", "INFO", "WARN", "ERROR"] = variable(
        "RUNPOD_LOG_LEVEL", "The lowest log level of the worker and the SDK.", "INFO"
    )
    fake_engines: bool = variable(
        "FAKE_ENGINES",
        "Serve the fake engines of models/fake.py, which have no weights, for tests.",
        False,
    )
    fake_delay_s: float = variable("FAKE_DELAY_S", "How long each of their steps takes.", 0.0, ge=0)

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

    @field_validator("media_private_hosts", mode="before")
    @classmethod
    def _lists(cls, value: object) -> object:
        return split(value)

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
            store=self._store(),
        )

    def _store(self) -> ObjectStore | None:
        """The store of the endpoint's bucket, for weights in any bucket of it."""
        bucket = self.bucket()
        if bucket is None:
            return None
        where = bucket.address
        return ObjectStore(
            where.store,
            where.region,
            where.style,
            bucket.access_key_id,
            bucket.secret_access_key,
        )
