"""No parameter that OpenAI's clients can send is ignored in silence."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types import embedding_create_params, image_edit_params, image_generate_params
from openai.types.audio import transcription_create_params, translation_create_params
from openai.types.chat import completion_create_params

from handler.contract import SURFACES

PARAMETERS: list[tuple[str, Any]] = [
    ("chat", completion_create_params.CompletionCreateParamsBase),
    ("chat", completion_create_params.CompletionCreateParamsStreaming),
    ("images", image_generate_params.ImageGenerateParamsBase),
    ("images", image_edit_params.ImageEditParamsBase),
    ("transcribe", transcription_create_params.TranscriptionCreateParamsBase),
    ("transcribe", translation_create_params.TranslationCreateParams),
    ("embeddings", embedding_create_params.EmbeddingCreateParams),
]


@pytest.mark.parametrize(("surface", "parameters"), PARAMETERS)
def test_every_parameter_is_known(surface, parameters):
    """A new release of the package shows here what is new."""
    request = SURFACES[surface].request
    known = {*request.model_fields, *request.unsupported, *request.aliases, *request.informational}
    sent = {name for one in parameters.__mro__ for name in getattr(one, "__annotations__", {})}
    assert sent - known == set()
    assert not set(request.unsupported) & set(request.model_fields)
