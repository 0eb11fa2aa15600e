"""The request bodies of the gateway's routes, as its contract defines; unknown keys are allowed."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from local.api.uris import is_uri

NonEmpty = Annotated[str, Field(min_length=1)]


def _whole(value: Any) -> Any:
    """Return a number that is whole as an integer: in JSON, 5.0 equals 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]


def _no_null(value: Any) -> Any:
    """Reject null: an optional field may be left out, but not be null."""
    if value is None:
        raise ValueError("must not be null")
    return value


def _uri(text: str) -> str:
    if not is_uri(text):
        raise ValueError("must be a URI, with everything escaped that RFC 3986 does not allow")
    return text


Uri = Annotated[str, AfterValidator(_uri)]


class Body(BaseModel):
    """The base class: what the gateway validates, and no more."""

    model_config = ConfigDict(extra="allow", strict=True)

    object_name: ClassVar[str]
    surface: ClassVar[str]

    model: NonEmpty | None = None
    webhook_url: Uri | None = None

    _given = field_validator("*", mode="before")(_no_null)


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="allow", strict=True)

    role: Literal["system", "user", "assistant"]
    content: NonEmpty


class ChatBody(Body):
    """``POST /v1/chat/completions``."""

    object_name: ClassVar = "chat.completion.enqueue"
    surface: ClassVar = "chat"

    messages: Annotated[list[Message], Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[Integer, Field(ge=1, le=8192)] | None = None
    stream: bool = False
    user: NonEmpty | None = None


class ImagesBody(Body):
    """``POST /v1/images/generations``."""

    object_name: ClassVar = "image.generation.enqueue"
    surface: ClassVar = "images"

    prompt: NonEmpty
    negative_prompt: NonEmpty | None = None
    n: Annotated[Integer, Field(ge=1, le=8)] = 1
    size: Annotated[str, Field(min_length=3)] | None = None
    response_format: Literal["url", "b64_json"] | None = None


class TranscriptionBody(Body):
    """``POST /v1/audio/transcriptions``."""

    object_name: ClassVar = "audio.transcription.enqueue"
    surface: ClassVar = "transcribe"

    audioUrl: Uri
    language: Annotated[str, Field(min_length=2)] | None = None
    prompt: NonEmpty | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] | None = None


class EmbeddingsBody(Body):
    """``POST /v1/embeddings``."""

    object_name: ClassVar = "embedding.enqueue"
    surface: ClassVar = "embeddings"

    input: NonEmpty | Annotated[list[NonEmpty], Field(min_length=1)]
    dimensions: Annotated[Integer, Field(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: NonEmpty | None = None


class DirectBody(BaseModel):
    """``POST /v1/runpod/{surface}/run`` and ``/runsync``: a job, or only its input."""

    model_config = ConfigDict(extra="allow", strict=True)

    input: Any = None
    model: NonEmpty | None = None
    endpointId: NonEmpty | None = None
    worker_type: Literal["active", "flex"] | None = None
    policy: dict[str, Any] | None = None
    s3Config: dict[str, Any] | None = None
    webhook: Uri | None = None
    webhook_url: Uri | None = None

    _given = field_validator("*", mode="before")(_no_null)


class WebhookTestBody(BaseModel):
    """``POST /v1/webhooks/test``: the address, the event and its data."""

    model_config = ConfigDict(extra="allow", strict=True)

    webhook_url: Uri
    event: Literal["job.processing", "job.completed", "job.failed"] | None = None
    data: dict[str, Any] | None = None

    _given = field_validator("*", mode="before")(_no_null)
