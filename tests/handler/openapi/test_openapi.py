"""The description of the interface is what the worker does."""

from __future__ import annotations

import base64
import io
import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate
from PIL import Image

from handler.contract import SURFACES
from handler.openapi.answers.shape import ErrorResponse, ModelDetail, ModelList
from handler.openapi.document import VERSION
from handler.openapi.fields import described as field_described
from handler.openapi.routes import ROUTES, described
from tests.conftest import ROOT
from tests.support.bodies import CHAT, EMBEDDINGS, IMAGES, TOOL, WAV
from tests.support.running import serve_worker

OPERATIONS = [
    (route, operation)
    for surface in SURFACES.values()
    for operation in surface.operations
    if operation.refused is None
    for route in operation.routes
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_worker() as one:
        yield one


@pytest.fixture(scope="module")
def api(url) -> dict[str, Any]:
    return httpx.get(f"{url}/openapi.json").json()


def test_it_is_openapi_3_1(api):
    assert api["openapi"].startswith("3.1")
    validate(api)


def test_it_has_every_route_and_no_other(api, url):
    posts = {path for path, methods in api["paths"].items() if "post" in methods}
    assert posts == {route for route, _ in OPERATIONS}
    names = [one["operationId"] for methods in api["paths"].values() for one in methods.values()]
    assert len(set(names)) == len(names)
    for path, methods in api["paths"].items():
        if "get" in methods:
            address = url + path.replace("{model}", "Fake_Chat")
            assert httpx.get(address).status_code in (200, 204), path


def test_it_has_only_what_is_served():
    with serve_worker(SURFACE="embeddings") as url:
        api = httpx.get(f"{url}/openapi.json").json()
    validate(api)
    posts = {path for path, methods in api["paths"].items() if "post" in methods}
    assert posts == {"/v1/embeddings", "/v1/rerank", "/v2/rerank", "/rerank"}
    assert "ChatRequest" not in api["components"]["schemas"]


def test_every_route_and_field_is_described(api):
    for route, operation in OPERATIONS:
        assert route in ROUTES, route
        for name in operation.request.model_fields:
            assert field_described(operation.request.__name__, name), (route, name)
    for path, methods in api["paths"].items():
        for operation in methods.values():
            assert operation["summary"].endswith("."), path


def test_limits_are_the_contracts(api):
    schemas = api["components"]["schemas"]
    [temperature, null] = schemas["ChatRequest"]["properties"]["temperature"]["anyOf"]
    assert (temperature["minimum"], temperature["maximum"], null) == (0, 2, {"type": "null"})
    [top_k, _] = schemas["ChatRequest"]["properties"]["top_k"]["anyOf"]
    assert top_k == {"type": "integer", "minimum": -1}
    pictures = schemas["ImagesRequest"]["properties"]["n"]
    assert (pictures["minimum"], pictures["maximum"], pictures["default"]) == (1, 8, 1)
    assert "`num_inference_steps`" in schemas["ImagesRequest"]["properties"]["steps"]["description"]
    assert not {"ge", "le", "gt", "lt"} & set(re.findall(r'"(\w+)": ', json.dumps(schemas)))
    assert schemas["ChatRequest"]["required"] == ["messages"]
    assert schemas["TranscriptionForm"]["required"] == ["file"]
    assert schemas["TranscriptionForm"]["properties"]["file"]["format"] == "binary"


def test_errors_have_their_statuses(api, url):
    refused = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "temperature": 9})
    missing = httpx.post(f"{url}/v1/chat/completions", json={**CHAT, "model": "GPT_9"})
    for response, status in ((refused, 400), (missing, 404)):
        assert response.status_code == status
        ErrorResponse.model_validate(response.json(), strict=True)
        answers = api["paths"]["/v1/chat/completions"]["post"]["responses"]
        assert answers[str(status)] == {"$ref": f"#/components/responses/Error{status}"}


@pytest.mark.parametrize("surface", SURFACES)
def test_the_key_and_the_models_are_told(api, surface):
    route = SURFACES[surface].routes[0]
    operation = api["paths"][route]["post"]
    assert operation["tags"] == [surface]
    assert "Models: `Fake_" in operation["description"]
    assert api["security"] == [{"bearer": []}, {}]
    assert api["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


@pytest.mark.parametrize(
    "route", [route for route, known in ROUTES.items() if "image" in known.example]
)
def test_the_pictures_of_the_examples_can_be_opened(route):
    content = base64.b64decode(ROUTES[route].example["image"].partition(",")[2], validate=True)
    picture = Image.open(io.BytesIO(content))
    picture.load()
    assert picture.size == (64, 64)


BODIES = [
    ("/v1/chat/completions", {**CHAT, "logprobs": True, "top_logprobs": 2}),
    ("/v1/chat/completions", {**CHAT, "tools": [TOOL], "tool_choice": "required"}),
    ("/v1/completions", {"prompt": ["A", "B"], "logprobs": 1}),
    ("/v1/responses", {"input": "Hello", "instructions": "Be brief."}),
    ("/v1/responses", {"input": "Hello", "tools": [{"type": "function", "name": "f"}]}),
    ("/v1/images/generations", {**IMAGES, "n": 2}),
    ("/v1/images/edits", {"prompt": "A fox", "image": WAV}),
    ("/v1/audio/transcriptions", {"audioUrl": WAV}),
    ("/v1/audio/transcriptions", {"audioUrl": WAV, "include": ["logprobs"]}),
    ("/v1/audio/transcriptions", {"audioUrl": WAV, "word_timestamps": True}),
    ("/v1/audio/translations", {"audioUrl": WAV, "response_format": "verbose_json"}),
    ("/v1/embeddings", EMBEDDINGS),
    ("/v1/embeddings", {"input": ["a", "b"], "encoding_format": "base64", "truncate": True}),
    ("/v1/embeddings", {"input": "a", "embedding_types": ["dense", "sparse", "colbert"]}),
    ("/v1/rerank", {"query": "a", "documents": ["b", "c"], "return_documents": True}),
]
# Left out: a recording of the web, and work that fakes do not do (tests/clients/openapi_client.py).
EXAMPLES = [
    (route, dict(known.example))
    for route, known in ROUTES.items()
    if "audioUrl" not in known.example
    and not known.binary
    and not route.endswith(("/upscale", "/background", "/ocr"))
]


@pytest.mark.parametrize(("route", "body"), [*BODIES, *EXAMPLES])
def test_answers_have_the_shape_that_is_described(api, url, route, body):
    response = httpx.post(url + route, json=body)
    assert response.status_code == 200, response.text
    answer = response.json()
    told = api["paths"][route]["post"]["responses"]["200"]["content"]["application/json"]
    jsonschema.validate(answer, {**told["schema"], "components": api["components"]})
    kinds = described(route).answers
    held = [one for one in kinds if not told_apart(one, answer)]
    assert len(held) == 1, [told_apart(one, answer) for one in kinds]
    request = api["paths"][route]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate(body, {**request, "components": api["components"]})


def told_apart(shape: Any, answer: Any) -> str:
    """What in an answer is not of a shape; nothing may be left over."""
    try:
        shape.model_validate(answer, strict=False)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/v1/chat/completions", {**CHAT, "stream_options": {"include_usage": True}}),
        ("/v1/chat/completions", {**CHAT, "logprobs": True, "tools": [TOOL]}),
        ("/v1/completions", {"prompt": "A"}),
        ("/v1/responses", {"input": "Hello"}),
        ("/v1/images/generations", {**IMAGES, "partial_images": 1}),
        ("/v1/audio/transcriptions", {"audioUrl": WAV}),
        ("/v1/audio/speech", {"input": "One. Two.", "stream_format": "sse"}),
    ],
)
def test_streams_have_the_events_that_are_described(api, url, route, body):
    content = api["paths"][route]["post"]["responses"]["200"]["content"]
    event = content["text/event-stream"]["x-event"]
    with httpx.stream("POST", url + route, json={**body, "stream": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        text = response.read().decode()
    events = [json.loads(one) for one in re.findall(r"^data: (\{.*)$", text, re.MULTILINE)]
    assert events
    for one in events:
        jsonschema.validate(one, {**event, "components": api["components"]})
        described(route).event.model_validate(one)


FILES = [(route, kind) for route, known in ROUTES.items() for kind in known.binary]


@pytest.mark.parametrize(("route", "kind"), FILES)
def test_files_have_a_media_type_that_is_described(api, url, route, kind):
    content = api["paths"][route]["post"]["responses"]["200"]["content"]
    assert ("application/json" in content) is bool(ROUTES[route].answers)
    assert content[kind] == {}
    body = {**ROUTES[route].example, "response_format": _FORMATS[kind]}
    response = httpx.post(url + route, json=body)
    assert (response.status_code, response.headers["content-type"]) == (200, kind)
    request = api["paths"][route]["post"]["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate(body, {**request, "components": api["components"]})


_FORMATS = {
    "audio/mpeg": "mp3", "audio/ogg": "opus", "audio/aac": "aac", "audio/flac": "flac",
    "audio/wav": "wav", "audio/pcm": "pcm",
}  # fmt: skip


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_plain_transcripts_are_text(api, url, form):
    content = api["paths"]["/v1/audio/transcriptions"]["post"]["responses"]["200"]["content"]
    assert "text/plain" in content
    sent = {"file": ("a.wav", base64.b64decode(WAV.partition(",")[2]))}
    response = httpx.post(
        f"{url}/v1/audio/transcriptions", data={"response_format": form}, files=sent
    )
    assert response.headers["content-type"].startswith("text/plain")


def test_the_list_of_models_has_its_shape(url):
    models = ModelList.model_validate(httpx.get(f"{url}/v1/models").json(), strict=True)
    for model in models.data[:8]:
        detail = httpx.get(f"{url}/v1/models/{model.id}").json()
        ModelDetail.model_validate(detail, strict=True)


def test_the_version_is_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_the_page_is_served_and_asks_nobody_else(url):
    page = httpx.get(f"{url}/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    files = re.findall(r'(?:href|src)="(docs/[^"]+)"', page.text)
    assert len(files) == 4
    for name in (*files, "docs/dom.js"):
        response = httpx.get(f"{url}/{name}")
        assert response.status_code == 200, name
        assert "//" not in re.sub(r"(?m)^ *//.*$", "", response.text.replace("http://www.w3", ""))
    assert httpx.get(f"{url}/docs/chat.js").status_code == 404
    assert httpx.get(f"{url}/playground").status_code == 404
