"""How a request sets voice activity detection: faster-whisper's options, and OpenAI's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    ConfigDict,
    Field,
)

from handler.contract.request import Part

Milliseconds = Annotated[float, Field(ge=0, le=60_000)]


class Vad(Part):
    """Options of voice activity detection, by faster-whisper's names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    neg_threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    min_speech_duration_ms: Milliseconds | None = None
    max_speech_duration_s: Annotated[float, Field(ge=1, le=3600)] | None = None
    min_silence_duration_ms: Milliseconds | None = None
    speech_pad_ms: Milliseconds | None = None


class ServerVad(Part):
    """Options of voice activity detection, by OpenAI's names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    prefix_padding_ms: Milliseconds | None = None
    silence_duration_ms: Milliseconds | None = None
