"""The text in pictures as an operation of chat: its bodies, where they land, and its answers."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from handler.contract import SURFACES
from handler.job import parse_job
from handler.routing import find
from models.catalog import CATALOG
from tests.conftest import decoded, error_of, needs
from tests.support.bodies import check
from tests.support.printed import drawn
from tests.support.seeing import BLUE, RED, SLUG, WIDE, uri

pytestmark = pytest.mark.anyio


@pytest.fixture
def worker(make_worker):
    return make_worker(FAKE_ENGINES="0", SURFACE="chat", MODEL_SLUG=SLUG, CHAT_IMAGES="3")


async def read(worker: Any, **body: Any) -> Any:
    job = {"temperature": 0, "max_tokens": 6, **body}
    answer = decoded(await worker.answer({"input": job}))
    return check(ChatCompletion, answer, frozenset({"pages", "warnings"}))


async def test_a_picture_is_read_without_messages(worker):
    answer = await read(worker, image=RED)
    assert answer.object == "chat.completion"
    [choice] = answer.choices
    assert answer.pages == [{"page": 1, "text": choice.message.content}]
    assert choice.finish_reason == "length"
    # By the route, and as a file, it is the same.
    job = {
        "openai_route": "/v1/ocr",
        "openai_input": {"image": RED, "temperature": 0, "max_tokens": 6},
    }
    assert decoded(await worker.answer({"input": job}))["pages"] == answer.pages


async def test_pages_are_read_by_themselves(worker):
    one, two = await read(worker, image=RED), await read(worker, images=[BLUE])
    both = await read(worker, images=[RED, BLUE])
    assert [page["text"] for page in both.pages] == [one.pages[0]["text"], two.pages[0]["text"]]
    assert both.choices[0].message.content == "\n\n".join(page["text"] for page in both.pages)
    assert both.usage.prompt_tokens == one.usage.prompt_tokens + two.usage.prompt_tokens


async def test_a_prompt_takes_the_place_of_the_models_own(worker):
    plain = await read(worker, image=RED)
    asked = await read(
        worker, image=RED, prompt="What is in it, and where, and how many of them are there?"
    )
    assert asked.usage.prompt_tokens > plain.usage.prompt_tokens


async def test_the_body_of_the_sister_api(worker):
    answer = await read(worker, image=RED, language="en", format="text")
    assert [one["param"] for one in answer.warnings] == ["language"]
    strict = await worker.answer({"input": {"image": RED, "language": "en", "strict": True}})
    assert error_of(strict)["param"] == "language"


async def test_an_answer_by_a_schema(worker):
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [1]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    for field in ({"guided_json": schema}, {"response_format": form}):
        answer = await read(worker, image=RED, format="json", max_tokens=200, **field)
        assert json.loads(answer.pages[0]["text"]) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"image": RED, "format": "json"}, "unsupported_parameter", "format"),
        ({"image": RED, "format": "xml"}, "invalid_value", "format"),
        ({"image": RED, "stream": True}, "unsupported_parameter", "stream"),
        ({"image": RED, "n": 2}, "unsupported_parameter", "n"),
        ({"image": RED, "temperature": 3}, "invalid_value", "temperature"),
        ({"images": [RED] * 4}, "invalid_value", "images[3]"),
        ({"images": [RED, uri(b"x")]}, "media_undecodable", "images[1]"),
        ({"image": "http://127.0.0.1/a.png"}, "media_address_forbidden", "image"),
        ({"image": ""}, "invalid_value", "image"),
        ({"image": WIDE, "model": "Tiny_Llama"}, "model_not_found", "model"),
    ],
)
async def test_what_is_refused(worker, body, code, param):
    error = error_of(await worker.answer({"input": {"max_tokens": 2, **body}}))
    assert (error["code"], error["param"]) == (code, param)


NANONETS = "Nanonets_Ocr_S_F16"


@pytest.mark.parametrize(
    ("body", "surface", "route"),
    [
        ({"image": RED, "format": "text"}, "chat", "/v1/ocr"),
        ({"image": RED, "language": "en"}, "chat", "/v1/ocr"),
        ({"model": NANONETS, "image": RED}, "chat", "/v1/ocr"),
        ({"model": "nanonets/Nanonets-OCR-s", "image_url": RED}, "chat", "/v1/ocr"),
        (
            {"model": NANONETS, "messages": [{"role": "user", "content": "a"}], "image": RED},
            "chat",
            "/v1/chat/completions",
        ),
        ({"image": RED}, "images", "/v1/images/edits"),
        ({"image": RED, "prompt": "a"}, "images", "/v1/images/generations"),
        ({"image": RED, "format": "png", "prompt": "a"}, "images", "/v1/images/generations"),
        (
            {"messages": [{"role": "user", "content": "a"}], "image": RED},
            "chat",
            "/v1/chat/completions",
        ),
    ],
)
async def test_where_a_picture_lands(make_worker, body, surface, route):
    endpoint = make_worker(FAKE_ENGINES="0").endpoint
    found, operation = find(parse_job({"input": body}), endpoint)
    assert found is SURFACES[surface] or found.name == surface
    assert route in operation.routes or surface == "images"


async def test_an_endpoint_of_the_gateway_starts_and_reads(make_worker):
    """With nothing but the gateway's variables, and what its routes send there."""
    worker = make_worker(
        FAKE_ENGINES="0", MODEL_SLUG=NANONETS, MODEL_TASKS="img2txt",
        MODEL_OPEN_SOURCE_REPO="nanonets/Nanonets-OCR-s",
        MODEL_OPEN_SOURCE_REVISION="3baad182cc87c65a1861f0c30357d3467e978172",
    )  # fmt: skip
    endpoint = worker.endpoint
    assert endpoint.only is SURFACES["chat"] or endpoint.only.name == "chat"
    for body in (
        {"image": RED},
        {"image": RED, "prompt": "a"},
        {"image": RED, "format": "text", "language": "en"},
    ):
        accepted = worker.accept({"input": {"input": body}, "id": "a"})
        assert (accepted.row.slug, accepted.route) == (NANONETS, "/v1/ocr")
    row = CATALOG.find(NANONETS)
    asking = accepted.request.asking(row.options["reading"])
    assert asking.messages[0].content == "You are a helpful assistant."
    assert "Return the tables in html format" in asking.messages[1].content[1].text


@needs("PP_OCRv6_Small")
async def test_a_laptop_reads_printed_text(make_worker):
    """Without a model named, and with what the sister API sends."""
    worker = make_worker(FAKE_ENGINES="0", SURFACE="chat")
    page = drawn(["The price is 12.50 EUR", "and falls"], 500)
    file = io.BytesIO()
    page.save(file, "PNG")
    job = {"images": [uri(file.getvalue())], "language": "en", "format": "text", "temperature": 0}
    answer = decoded(await worker.answer({"input": job}))
    check(ChatCompletion, answer, frozenset({"pages", "warnings"}))
    assert answer["model"] == "PP_OCRv6_Small"
    assert answer["choices"][0]["message"]["content"] == "The price is 12.50 EUR\nand falls"
    assert [one["param"] for one in answer["warnings"]] == ["language", "temperature"]
    [told] = answer["pages"]
    assert (told["width"], len(told["lines"]), len(told["lines"][0]["box"])) == (500, 2, 4)
    error = error_of(await worker.answer({"input": {**job, "guided_json": {"type": "object"}}}))
    assert (error["code"], error["param"]) == ("unsupported_parameter", "guided_json")
    chat = {"model": "PP_OCRv6_Small", "messages": [{"role": "user", "content": "Hello"}]}
    assert error_of(await worker.answer({"input": chat}))["code"] == "model_not_supported"


async def test_the_default_of_a_task_is_listed_before_other_models(make_worker):
    """After that of the surface, so that a page of documents begins with it."""
    job = {"openai_route": "/v1/models", "openai_input": {}}
    listed = decoded(await make_worker(FAKE_ENGINES="0").answer({"input": job}))["data"]
    reads = [one["id"] for one in listed if "img2txt" in one["tasks"]]
    chats = [one["id"] for one in listed if "chat" in one["tasks"]]
    assert (reads[0], chats[0]) == ("PP_OCRv6_Small", "SmolLM2_135M_Instruct")
