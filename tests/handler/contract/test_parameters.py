"""No parameter that OpenAI's clients can send is ignored in silence."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types import (
    completion_create_params as legacy_create_params,
)
from openai.types import embedding_create_params, image_edit_params, image_generate_params
from openai.types.audio import (
    speech_create_params,
    transcription_create_params,
    translation_create_params,
)
from openai.types.chat import completion_create_params

from handler.contract import SURFACES

PARAMETERS: list[tuple[str, Any]] = [
    ("/v1/completions", legacy_create_params.CompletionCreateParamsBase),
    ("/v1/completions", legacy_create_params.CompletionCreateParamsStreaming),
    ("/v1/chat/completions", completion_create_params.CompletionCreateParamsBase),
    ("/v1/chat/completions", completion_create_params.CompletionCreateParamsStreaming),
    ("/v1/images/generations", image_generate_params.ImageGenerateParamsBase),
    ("/v1/images/edits", image_edit_params.ImageEditParamsBase),
    ("/v1/audio/transcriptions", transcription_create_params.TranscriptionCreateParamsBase),
    ("/v1/audio/translations", translation_create_params.TranslationCreateParams),
    ("/v1/audio/speech", speech_create_params.SpeechCreateParams),
    ("/v1/embeddings", embedding_create_params.EmbeddingCreateParams),
]


@pytest.mark.parametrize(("route", "parameters"), PARAMETERS)
def test_every_parameter_is_known(route, parameters):
    """A new release of the package shows here what is new."""
    [request] = [one.request for s in SURFACES.values() if (one := s.operation(route))]
    known = {*request.model_fields, *request.unsupported, *request.aliases, *request.informational}
    known.update(getattr(request, "unheeded", ()))
    sent = {name for one in parameters.__mro__ for name in getattr(one, "__annotations__", {})}
    assert sent - known == set()
    assert not set(request.unsupported) & set(request.model_fields)
