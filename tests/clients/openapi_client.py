"""A client that ``openapi-python-client`` generates from the worker's own description."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

BASE_URL = os.environ["BASE_URL"].removesuffix("/v1")
FOLDER = Path(tempfile.mkdtemp())
BIN = Path(sys.executable).parent
subprocess.run(
    [
        BIN / "openapi-python-client", "generate", "--url", f"{BASE_URL}/openapi.json",
        "--output-path", FOLDER / "quartet", "--meta", "none", "--fail-on-warning",
    ],
    check=True,
    env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
)  # fmt: skip
# The generator (0.29.1) forgets this import where a route takes a form as well as JSON.
for path in (FOLDER / "quartet" / "api").rglob("*.py"):
    code = path.read_text()
    path.write_text(code.replace("import UNSET, Response\n", "import UNSET, Response, Unset\n"))
sys.path.insert(0, str(FOLDER))

from quartet import AuthenticatedClient, types  # noqa: E402
from quartet.api.chat import create_chat_completion, create_response  # noqa: E402
from quartet.api.embeddings import create_embedding, rerank  # noqa: E402
from quartet.api.images import create_image, create_image_edit, upscale_image  # noqa: E402
from quartet.api.transcribe import create_transcription  # noqa: E402
from quartet.api.worker import list_models, retrieve_model  # noqa: E402
from quartet.models import (  # noqa: E402
    ChatRequest,
    EmbeddingsRequest,
    ErrorResponse,
    ImagesForm,
    ImagesRequest,
    ImagesResponse,
    PictureRequest,
    RerankRequest,
    ResponsesRequest,
    TranscriptionForm,
    TranscriptionFormResponseFormatType0,
    VerboseTranscription,
)

HELLO = {"messages": [{"role": "user", "content": "Name an animal."}]}
client = AuthenticatedClient(base_url=BASE_URL, token="any", timeout=300)


def chat() -> None:
    request = ChatRequest.from_dict({**HELLO, "max_tokens": 5, "temperature": 0})
    answer = create_chat_completion.sync(client=client, body=request)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens <= 5
    told = create_response.sync(
        client=client, body=ResponsesRequest.from_dict({"input": "Hello", "max_output_tokens": 5})
    )
    assert told.output[0].content[0].text


def errors() -> None:
    request = ChatRequest.from_dict({**HELLO, "temperature": 9})
    answer = create_chat_completion.sync_detailed(client=client, body=request)
    assert answer.status_code == 400
    assert isinstance(answer.parsed, ErrorResponse)
    assert answer.parsed.error.param == "temperature"
    missing = retrieve_model.sync(client=client, model="GPT_9")
    assert missing.error.code == "model_not_found"


def embeddings() -> None:
    request = EmbeddingsRequest(input_=["a fox", "an owl"])
    answer = create_embedding.sync(client=client, body=request)
    assert len(answer.data[1].embedding) == 384
    ranked = rerank.sync(
        client=client, body=RerankRequest(query="a fox", documents=["an owl", "a fox"])
    )
    assert ranked.results[0].index == 1


def images() -> None:
    made = create_image.sync(client=client, body=ImagesRequest(prompt="a fox", size="64x64"))
    picture = base64.b64decode(made.data[0].b64_json)
    sent = types.File(io.BytesIO(picture), "a.png", "image/png")
    form = ImagesForm(image=sent, prompt="an owl", size="64x64")
    edited = create_image_edit.sync(client=client, body=form)
    assert isinstance(edited, ImagesResponse), edited
    assert edited.data[0].width == 64
    larger = PictureRequest.from_dict({"image": base64.b64encode(picture).decode()})
    assert upscale_image.sync(client=client, body=larger).data[0].width == 256


def transcriptions() -> None:
    with open(os.environ["RECORDING"], "rb") as recording:
        form = TranscriptionForm(
            file=types.File(recording, "speech.ogg", "audio/ogg"),
            model="Tiny_Whisper",
            response_format=TranscriptionFormResponseFormatType0.VERBOSE_JSON,
        )
        answer = create_transcription.sync(client=client, body=form)
    assert isinstance(answer, VerboseTranscription), answer
    assert answer.duration > 0


chat()
errors()
embeddings()
images()
transcriptions()
assert list_models.sync(client=client).data
