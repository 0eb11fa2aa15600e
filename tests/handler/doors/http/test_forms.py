"""Forms as real clients send them: what each value means, and what cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from handler.contract.embeddings.embeddings import EmbeddingsRequest
from handler.contract.images.request import ImagesRequest
from handler.contract.transcribe.request import TranscriptionRequest
from handler.doors.http.form_values import Upload, body_of
from handler.doors.http.forms import _path as path
from models.errors import InvalidValue
from tests.support.running import serve_worker


def read(kind: Any, *values: tuple[str, str]) -> dict[str, Any]:
    return body_of([(path(name), text) for name, text in values], kind)


@pytest.mark.parametrize(
    ("values", "body"),
    [
        # openai-python nests with brackets
        (
            [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "0.5")],
            {"chunking_strategy": {"type": "server_vad", "threshold": 0.5}},
        ),
        ([("chunking_strategy", "auto")], {"chunking_strategy": "auto"}),
        # others send an object as JSON text
        (
            [("chunking_strategy", '{"type": "server_vad", "silence_duration_ms": 200}')],
            {"chunking_strategy": {"type": "server_vad", "silence_duration_ms": 200}},
        ),
        ([("vad_parameters", '{"threshold": 0.3}')], {"vad_parameters": {"threshold": 0.3}}),
        ([("vad_parameters[threshold]", "0.3")], {"vad_parameters": {"threshold": 0.3}}),
        # lists: with brackets, with places, once without, several times, as JSON text
        (
            [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")],
            {"timestamp_granularities": ["word", "segment"]},
        ),
        (
            [("timestamp_granularities[1]", "segment"), ("timestamp_granularities[0]", "word")],
            {"timestamp_granularities": ["word", "segment"]},
        ),
        ([("timestamp_granularities", "word")], {"timestamp_granularities": ["word"]}),
        (
            [("timestamp_granularities", "word"), ("timestamp_granularities", "segment")],
            {"timestamp_granularities": ["word", "segment"]},
        ),
        (
            [("timestamp_granularities", '["word", "segment"]')],
            {"timestamp_granularities": ["word", "segment"]},
        ),
        ([("include[]", "logprobs")], {"include": ["logprobs"]}),
        ([("keywords", "[x]")], {"keywords": ["[x]"]}),
        ([("temperature", "0.2")], {"temperature": 0.2}),
        ([("temperature", "[0, 0.4]")], {"temperature": [0, 0.4]}),
        ([("temperature[]", "0"), ("temperature[]", "0.4")], {"temperature": [0, 0.4]}),
        # booleans in every spelling
        *(
            ([("translate", text)], {"translate": value})
            for text, value in (
                ("1", True), ("true", True), ("True", True), ("yes", True), ("on", True),
                ("0", False), ("false", False), ("no", False), ("OFF", False),
            )
        ),
        # what is empty is left out
        ([("language", ""), ("temperature", ""), ("translate", " ")], {}),
        # a text stays one, whatever it looks like
        ([("prompt", "5")], {"prompt": "5"}),
        ([("prompt", '{"a": 1}')], {"prompt": '{"a": 1}'}),
        ([("prompt", "true")], {"prompt": "true"}),
        # what cannot be read stays, for validation to name
        ([("temperature", "warm")], {"temperature": "warm"}),
        ([("vad_parameters", "{broken")], {"vad_parameters": "{broken"}),
        ([("beam_size", "true")], {"beam_size": "true"}),
        # fields that nobody knows
        ([("nobody[knows][this]", "1")], {"nobody": {"knows": {"this": "1"}}}),
    ],
)  # fmt: skip
def test_a_value_is_read_by_the_type_of_its_field(values, body):
    assert read(TranscriptionRequest, *values) == body


@pytest.mark.parametrize(
    ("values", "body"),
    [
        ([("n", "2"), ("seed", ""), ("size", "64x64")], {"n": 2, "size": "64x64"}),
        ([("seed[]", "1"), ("seed[]", "2")], {"seed": [1, 2]}),
        (
            [("loras[0][path]", "a/b"), ("loras[0][scale]", "0.5"), ("loras[1][path]", "c/d")],
            {"loras": [{"path": "a/b", "scale": 0.5}, {"path": "c/d"}]},
        ),
        ([("loras", '[{"path": "a/b"}]')], {"loras": [{"path": "a/b"}]}),
        ([("loras", '{"path": "a/b"}')], {"loras": [{"path": "a/b"}]}),
        ([("num_inference_steps", "4")], {"num_inference_steps": 4}),
        ([("stream", "1"), ("partial_images", "2")], {"stream": True, "partial_images": 2}),
        ([("image[]", Upload("u1")), ("image[]", Upload("u2"))], {"image": ["u1", "u2"]}),
        ([("image[0]", Upload("u1"))], {"image": ["u1"]}),
        ([("image", Upload("u1"))], {"image": "u1"}),
        ([("mask[]", Upload("u1"))], {"mask": "u1"}),
        ([("mask[0]", Upload("u1"))], {"mask": "u1"}),
    ],
)
def test_values_of_pictures(values, body):
    assert read(ImagesRequest, *values) == body


@pytest.mark.parametrize(
    ("values", "body"),
    [
        ([("input", "Hello")], {"input": "Hello"}),
        ([("input", "[1]")], {"input": [1]}),
        ([("input[]", "a"), ("input[]", "b")], {"input": ["a", "b"]}),
        ([("input[0]", "a"), ("input[1]", "b"), ("dimensions", "4")], {"input": ["a", "b"], "dimensions": 4}),
        ([("normalize", "true")], {"normalize": True}),
    ],
)  # fmt: skip
def test_values_of_embeddings(values, body):
    assert read(EmbeddingsRequest, *values) == body


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ([("language", "en"), ("language", "de")], "language"),
        ([("file", Upload("u1")), ("file", Upload("u2"))], "file"),
        ([("chunking_strategy", "auto"), ("chunking_strategy[type]", "x")], "chunking_strategy"),
        ([("chunking_strategy[type]", "x"), ("chunking_strategy", "auto")], "chunking_strategy"),
        ([("a[", "x")], "a["),
        ([("[a]", "x")], "[a]"),
        ([("", "x")], ""),
        ([("a[b", "x")], "a[b"),
        ([("a]b[", "x")], "a]b["),
        ([("a" + "[b]" * 6, "x")], "a" + "[b]" * 6),
        ([("keywords[1000]", "x")], "keywords[1000]"),
    ],
)
def test_a_form_that_contradicts_itself_names_the_field(values, param):
    with pytest.raises(InvalidValue) as caught:
        read(TranscriptionRequest, *values)
    assert caught.value.param == param


# Over HTTP ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_worker() as url:
        yield f"{url}/v1/audio/transcriptions"


def part(name: str, content: bytes, disposition: str = "") -> bytes:
    head = f'--edge\r\nContent-Disposition: form-data; name="{name}"{disposition}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = b"--edge--\r\n"
FILE = part("file", b"123456", '; filename="a.wav"')


def post(url: str, body: bytes, kind: str = "multipart/form-data; boundary=edge") -> httpx.Response:
    return httpx.post(url, content=body, headers={"Content-Type": kind})


def test_a_file_with_an_encoded_name_alone_is_a_file(url):
    body = part("file", b"123456", "; filename*=UTF-8''%e2%82%ac.wav")
    assert post(url, body + END).json()["text"] == "6 bytes"
    body = part("file", b"123456", "; filename=\"a\"; filename*=UTF-8''%e2%82%ac.wav")
    assert post(url, body + END).json()["text"] == "6 bytes"


def test_a_file_input_in_which_nothing_is_chosen_is_none(url):
    body = FILE + part("known_speaker_references", b"", '; filename=""')
    assert post(url, body + END).json()["text"] == "6 bytes"
    answer = post(url, part("file", b"", '; filename=""') + END)
    assert answer.json()["error"]["code"] == "missing_required_parameter"
    assert answer.json()["error"]["param"] == "file"


def test_an_address_in_a_form_is_taken_as_in_json(url):
    uri = b"data:audio/wav;base64,MTIzNDU2"
    for name in ("file", "audioUrl", "audio_url"):
        assert post(url, part(name, uri) + END).json()["text"] == "6 bytes"


@pytest.mark.parametrize(
    ("body", "kind", "code", "param", "words"),
    [
        (FILE + FILE + END, None, "invalid_value", "file", "sent 2 times"),
        (FILE, None, "invalid_value", None, "without its last boundary"),
        (FILE[:-20], None, "invalid_value", None, "without its last boundary"),
        (FILE + END, "multipart/form-data", "invalid_value", None, "boundary"),
        (FILE + END, "multipart/form-data; boundary=other", "invalid_value", None, "cannot be read"),
        (b"RIFF", "audio/wav", "invalid_json", "file", "audio/wav; send a form"),
        (b"RIFF", "application/octet-stream", "invalid_json", "file", "send a form"),
        (part("file", b"speech.wav") + END, None, "missing_required_parameter", "file", "-F file=@"),
        (part("language", b"en") + END, None, "missing_required_parameter", "file", "-F file=@"),
        (part("file", b"", '; filename="a.wav"') + END, None, "media_invalid", "file", "no data"),
        (FILE + part("temperature", b"7") + END, None, "invalid_value", "temperature", "less than"),
        (FILE + part("a[b", b"7") + END, None, "invalid_value", "a[b", "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_form_is_said(url, body, kind, code, param, words):
    answer = post(url, body, kind or "multipart/form-data; boundary=edge")
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert words in error["message"]


def test_a_form_without_files_and_json_that_curl_calls_a_form(url):
    """``curl -d`` names every body a form, JSON too."""
    url = url.replace("audio/transcriptions", "embeddings")
    kind = "application/x-www-form-urlencoded"
    assert post(url, b"input=Hello+you&encoding_format=float", kind).status_code == 200
    assert post(url, b"input%5B%5D=a&input%5B%5D=b", kind).json()["data"][1]["index"] == 1
    assert post(url, b' {"input": "Hello"}', kind).status_code == 200
    assert post(url, b"inpt=Hello", kind).json()["error"]["param"] == "input"
