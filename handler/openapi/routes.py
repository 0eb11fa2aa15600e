"""What each route is called, what it answers, and an example of its body.

A route that is not named here is described by its type alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel

from handler.contract.samples import SQUARE
from handler.openapi.answers.anthropic import MessageEvent, MessageObject, TokenCount
from handler.openapi.answers.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    Completion,
    OcrCompletion,
)
from handler.openapi.answers.embeddings import EmbeddingsResponse, RerankResponse
from handler.openapi.answers.images import ImageEvent, ImagesResponse
from handler.openapi.answers.music import MusicResponse
from handler.openapi.answers.responses import ResponseEvent, ResponseObject
from handler.openapi.answers.speech import SpeechEvent
from handler.openapi.answers.transcribe import (
    DiarizedTranscription,
    TranscriptEvent,
    Transcription,
    VerboseTranscription,
)
from models.sound.formats import FORMATS


@dataclass(frozen=True)
class Described:
    """A route for who reads its description.

    Attributes:
        name: ``operationId``, after which generators name a function.
        summary: in a line.
        answers: the shapes of a JSON answer, one of which it has.
        event: the shape of an event of its stream.
        text: whether an answer may be plain text, and which.
        binary: media types of answers that are files.
        example: a body that every default model answers.
        files: which fields of a form bring files, and for which field of the body each stands; the
            form must bring the first.
    """

    name: str
    summary: str
    answers: tuple[type[BaseModel], ...] = ()
    event: type[BaseModel] | None = None
    text: str | None = None
    binary: tuple[str, ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


_HELLO = {"messages": [{"role": "user", "content": "Hello"}]}

_RERANK = Described(
    "rerank",
    "Rank documents for a query, as Cohere, Jina and vLLM do.",
    (RerankResponse,),
    example={"query": "What is a fox?", "documents": ["An animal.", "A colour."]},
)
_TRANSCRIBE = Described(
    "createTranscription",
    "Write down what is said in a recording or a video.",
    (Transcription, VerboseTranscription, DiarizedTranscription),
    TranscriptEvent,
    text="The transcript, for the formats `text`, `srt` and `vtt`.",
    example={"audioUrl": "https://example.com/speech.mp3", "response_format": "verbose_json"},
    files={"file": "audioUrl"},
)
_IMAGE = Described(
    "createImage",
    "Make pictures, or videos, of a prompt.",
    (ImagesResponse,),
    ImageEvent,
    example={"prompt": "A red fox in the snow", "seed": 7},
)
_OF_A_PICTURE = replace(_IMAGE, example={"image": SQUARE}, files={"image": "image"})

ROUTES: Mapping[str, Described] = {
    "/v1/chat/completions": Described(
        "createChatCompletion",
        "Answer a conversation.",
        (ChatCompletion,),
        ChatCompletionChunk,
        example=_HELLO,
    ),
    "/v1/completions": Described(
        "createCompletion",
        "Continue a text as it is, without a chat template.",
        (Completion,),
        Completion,
        example={"prompt": "Once upon a time", "max_tokens": 16},
    ),
    "/v1/responses": Described(
        "createResponse",
        "Answer a conversation, in OpenAI's newer form; nothing is kept between requests.",
        (ResponseObject,),
        ResponseEvent,
        example={"input": "Hello"},
    ),
    "/v1/messages": Described(
        "createMessage",
        "Answer a conversation, in Anthropic's form.",
        (MessageObject,),
        MessageEvent,
        example={**_HELLO, "max_tokens": 64},
    ),
    "/v1/messages/count_tokens": Described(
        "countMessageTokens",
        "Count the tokens of a conversation, in Anthropic's form.",
        (TokenCount,),
        example=_HELLO,
    ),
    "/v1/ocr": Described(
        "readPicture",
        "Write down the text in pictures, page by page.",
        (OcrCompletion,),
        example={"image": SQUARE},
        files={"file": "image"},
    ),
    "/v1/embeddings": Described(
        "createEmbedding",
        "Embed texts.",
        (EmbeddingsResponse,),
        example={"input": ["One text", "and another"]},
    ),
    "/v1/rerank": _RERANK,
    "/v2/rerank": replace(_RERANK, name="rerankV2", summary="`/v1/rerank` at Cohere's path."),
    "/rerank": replace(_RERANK, name="rerankPlain", summary="`/v1/rerank` at TEI's path."),
    "/v1/images/generations": _IMAGE,
    "/v1/images/edits": replace(
        _OF_A_PICTURE,
        name="createImageEdit",
        summary="Change pictures by a prompt.",
        example={"prompt": "A blue square", "image": SQUARE},
        files={"image": "image", "mask": "mask"},
    ),
    "/v1/images/upscale": replace(
        _OF_A_PICTURE, name="upscaleImage", summary="Make a picture larger."
    ),
    "/v1/images/background": replace(
        _OF_A_PICTURE, name="removeBackground", summary="Cut a picture's subject out."
    ),
    "/v1/audio/speech": Described(
        "createSpeech",
        "Speak a text.",
        event=SpeechEvent,
        binary=tuple(dict.fromkeys(kind.media_type for kind in FORMATS.values())),
        example={"input": "Hello. How are you?", "response_format": "mp3"},
    ),
    "/v1/audio/music": Described(
        "createMusic",
        "Make songs of a caption and lyrics, or cover a recording.",
        (MusicResponse,),
        binary=tuple(one.media_type for name, one in FORMATS.items() if name != "pcm"),
        example={"caption": "Calm piano", "duration": 10, "inference_steps": 1, "seed": 7},
    ),
    "/v1/audio/transcriptions": _TRANSCRIBE,
    "/v1/audio/translations": replace(
        _TRANSCRIBE,
        name="createTranslation",
        summary="Write down in English what is said in a recording or a video.",
    ),
}


def described(route: str) -> Described:
    """Return what is known of a route."""
    plain = route.strip("/").replace("/", "_").replace("-", "_")
    return ROUTES.get(route, Described(plain, f"`{route}`."))
