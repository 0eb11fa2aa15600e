"""PDFs in conversations and in OCR: by every route, against the pages as pictures."""

from __future__ import annotations

import base64
import io
from typing import Any

import anthropic
import openai
import pypdfium2
import pytest
from langchain_core.messages import HumanMessage

from handler.contract.chat.page_numbers import chosen_pages
from models.errors import InvalidValue
from tests.conftest import decoded, error_of, needs
from tests.support.documents import encrypted, pdf
from tests.support.langchain import langchain_chat
from tests.support.running import serve_worker
from tests.support.seeing import RED, SLUG, uri

pytestmark = pytest.mark.anyio

SMALL = (100, 60)  # points
BOTH = pdf(["One"], ["Two"], size=SMALL)
WORD = {"type": "text", "text": "What?"}


def document(content: bytes) -> str:
    return uri(content, "application/pdf")


def pages_of(content: bytes, dpi: float) -> list[str]:
    """The pages as pictures, drawn by PDFium here."""
    drawn = []
    with pypdfium2.PdfDocument(content) as reference:
        for page in reference:
            file = io.BytesIO()
            page.render(scale=dpi / 72).to_pil().convert("RGB").save(file, "PNG")
            drawn.append(uri(file.getvalue()))
    return drawn


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*parts, WORD]}]}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def file(data: str = document(BOTH), **more: Any) -> dict[str, Any]:
    return {"type": "file", "file": {"filename": "a.pdf", "file_data": data, **more}}


def block(data: bytes = BOTH, **more: Any) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    source = {"type": "base64", "media_type": "application/pdf", "data": encoded}
    return {"type": "document", "source": source, **more}


@pytest.fixture
def worker(make_worker):
    return make_worker(FAKE_ENGINES="0", SURFACE="chat", MODEL_SLUG=SLUG, CHAT_IMAGES="4")


async def ask(worker: Any, body: dict[str, Any], route: str = "/v1/chat/completions") -> Any:
    limit = {"max_output_tokens": 8} if route == "/v1/responses" else {"max_tokens": 8}
    body = {"temperature": 0, **limit, **body}
    job = {"openai_route": route, "openai_input": body}
    return decoded(await worker.answer({"input": job}))


async def test_a_document_is_its_pages_as_pictures(worker):
    shown = [image(RED), *map(image, pages_of(BOTH, 144))]
    expected = await ask(worker, user(*shown))
    bare = base64.b64encode(BOTH).decode()
    for part in (file(), file(bare), image(document(BOTH))):
        answer = await ask(worker, user(image(RED), part))
        assert answer["choices"][0]["message"] == expected["choices"][0]["message"]
        assert answer["usage"] == expected["usage"]
    beside = await ask(worker, {**user(), "images": [RED, document(BOTH)]})
    assert beside["usage"]["prompt_tokens"] == expected["usage"]["prompt_tokens"]


async def test_other_routes(worker):
    pages = pages_of(BOTH, 144)
    expected = await ask(worker, user(*map(image, pages)))
    text, tokens = expected["choices"][0]["message"]["content"], expected["usage"]["prompt_tokens"]
    items = [
        {"type": "input_file", "filename": "a.pdf", "file_data": document(BOTH)},
        {"type": "input_text", "text": "What?"},
    ]
    response = await ask(worker, {"input": [{"role": "user", "content": items}]}, "/v1/responses")
    assert response["output"][0]["content"][0]["text"] == text
    assert response["usage"]["input_tokens"] == tokens
    message = await ask(worker, user(block()), "/v1/messages")
    assert (message["content"][0]["text"], message["usage"]["input_tokens"]) == (text, tokens)
    counted = await ask(worker, user(block()), "/v1/messages/count_tokens")
    assert counted["input_tokens"] == tokens
    more = {"title": "A title", "citations": {"enabled": True}}
    titled = await ask(worker, user(block(**more)), "/v1/messages")
    assert titled["usage"]["input_tokens"] > tokens
    assert [one["param"] for one in titled["warnings"]] == ["messages[0].content[0].citations"]
    result = {"type": "tool_result", "tool_use_id": "t", "content": [WORD, block()]}
    body = {"messages": [{"role": "user", "content": [result]}]}
    assert (await ask(worker, body, "/v1/messages"))["usage"]["input_tokens"] > 4


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (document(encrypted()), "media_undecodable", "encrypted"),
        (document(b"%PDF-1.7\n%%EOF"), "media_undecodable", "broken"),
        (document(pdf()), "media_undecodable", "no pages"),
        (document(BOTH.replace(b"/Count 2", b"/Count 3", 1)), "media_undecodable", "page 3"),
        (document(pdf(*[["a"]] * 5, size=SMALL)), "invalid_value", "5 pages; a conversation may have 4"),
        (document(b"PK\x03\x04 a docx"), "media_undecodable", "read"),
        ("http://127.0.0.1/a.pdf", "media_address_forbidden", "address"),
    ],
)  # fmt: skip
async def test_documents_that_are_refused(worker, data, code, reason):
    body, place = user(image(RED), file(data)), "content[1]"
    error = error_of(await worker.answer({"input": body}))
    assert (error["code"], error["param"]) == (code, f"messages[0].{place}.file")
    assert reason in error["message"]
    source = {"type": "url", "url": data}
    body = user({"type": "document", "source": source})
    error = await worker.answer({"input": {"openai_route": "/v1/messages", "openai_input": body}})
    assert error_of(error)["param"] == "messages[0].content[0].source"
    part = {"type": "input_file", "file_url": data}
    body = {"input": [{"role": "user", "content": [part]}]}
    error = await worker.answer({"input": {"openai_route": "/v1/responses", "openai_input": body}})
    assert error_of(error)["param"] == "input[0].content[0]"


@pytest.mark.parametrize(
    ("part", "code", "param"),
    [
        ({"type": "file"}, "missing_required_parameter", ".file"),
        ({"type": "file", "file": {}}, "missing_required_parameter", ".file.file_data"),
        ({"type": "file", "file": {"file_data": 5}}, "invalid_type", ".file.file_data"),
        ({"type": "file", "file": {"file_data": ""}}, "invalid_value", ".file.file_data"),
        ({"type": "file", "file": {"file_id": "f"}}, "unsupported_parameter", ""),
    ],
)
async def test_parts_of_the_wrong_form(worker, part, code, param):
    body = {"messages": [{"role": "user", "content": [part]}]}
    error = error_of(await worker.answer({"input": body}))
    assert (error["code"], error["param"]) == (code, f"messages[0].content[0]{param}")


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        ("/v1/chat/completions", user(file()), "messages[0].content[0].file"),
        ("/v1/messages", user(block()), "messages[0].content[0].source"),
    ],
)
async def test_a_model_that_cannot_see_says_so(make_worker, route, body, param):
    job = {"openai_route": route, "openai_input": body}
    error = error_of(await make_worker().answer({"input": job}))
    assert (error["code"], error["param"]) == ("unsupported_parameter", param)
    assert "reads text alone" in error["message"]


async def read(worker: Any, **body: Any) -> Any:
    return await ask(worker, {"max_tokens": 6, **body}, "/v1/ocr")


async def test_a_document_is_read_page_by_page(worker):
    expected = await read(worker, images=pages_of(BOTH, 200))
    texts = [page["text"] for page in expected["pages"]]
    for body in (
        {"image": document(BOTH)},
        {"document": document(BOTH)},
        {"document": {"type": "document_url", "document_url": document(BOTH)}},
        {"document": {"type": "image_url", "image_url": {"url": document(BOTH)}}},
        {"document": file()},
        {"image": document(BOTH), "language": "en", "format": "text"},  # the gateway's
    ):
        answer = await read(worker, **body)
        assert answer["pages"] == expected["pages"]
        assert answer["usage"] == expected["usage"]
        assert answer["choices"][0]["message"]["content"] == "\n\n".join(texts)
    mixed = await read(worker, images=[document(BOTH), RED])
    assert [page["page"] for page in mixed["pages"]] == [1, 2, 3]
    assert [page["text"] for page in mixed["pages"]][:2] == texts


async def test_pages_of_a_document_are_chosen(make_worker):
    worker = make_worker(FAKE_ENGINES="0", SURFACE="chat", MODEL_SLUG=SLUG, CHAT_PDF_PAGES="3")
    long = document(pdf(*[["a"]] * 7, size=SMALL))
    for pages in ("2, 5-6", [6, 2, 5, 5]):
        answer = await read(worker, image=long, pages=pages)
        assert [page["page"] for page in answer["pages"]] == [2, 5, 6]
    for pages, code, param in (
        ("", "invalid_value", "image"),
        ("3-", "invalid_value", "image"),
        ("0", "invalid_value", "pages"),
        ("8", "invalid_value", "pages"),
        ("5-3", "invalid_value", "pages"),
        ("two", "invalid_value", "pages"),
        ([-1], "invalid_value", "pages"),
        ([True], "invalid_type", "pages[0]"),
    ):
        job = {"openai_route": "/v1/ocr", "openai_input": {"image": long, "pages": pages}}
        error = error_of(await worker.answer({"input": job}))
        assert (error["code"], error["param"]) == (code, param)
    assert "3 pages of PDFs read; got 7" in error_of(await worker.answer({"input": {"image": long}}))["message"]  # fmt: skip
    error = error_of(await worker.answer({"input": {"image": RED, "pages": "1"}}))
    assert (error["code"], error["param"]) == ("invalid_value", "pages")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(encrypted(), "encrypted"), (b"%PDF-1.7", "broken"), (pdf(), "no pages"),
     (BOTH.replace(b"/Count 2", b"/Count 3", 1), "page 3 of the PDF")],
)  # fmt: skip
async def test_documents_that_cannot_be_read(worker, content, reason):
    error = error_of(await worker.answer({"input": {"images": [RED, document(content)]}}))
    assert (error["code"], error["param"]) == ("media_undecodable", "images[1]")
    assert reason in error["message"]


def test_numbers_of_pages():
    assert chosen_pages("", 3) == chosen_pages([], 3) == chosen_pages("1-", 3) == [1, 2, 3]
    assert chosen_pages(" 3 , 1 - 2", 5) == [1, 2, 3]
    for wanted in (",", "-3", "1--2", "1.5", "²", "99999999999999999999", "1-99"):
        with pytest.raises(InvalidValue):
            chosen_pages(wanted, 5)


@needs("PP_OCRv6_Small")
async def test_a_laptop_reads_a_document(make_worker):
    worker = make_worker(FAKE_ENGINES="0", SURFACE="chat", CHAT_IMAGES="1")
    pages = [["The price is 12.50 EUR", "and falls"], ["Second page of two"], ["The third one"]]
    content = pdf(*pages, size=(400, 200), points=10)
    answer = decoded(await worker.answer({"input": {"image": document(content)}}))
    assert [page["text"].splitlines() for page in answer["pages"]] == pages
    assert (answer["model"], answer["pages"][2]["page"]) == ("PP_OCRv6_Small", 3)
    assert (answer["pages"][0]["width"], len(answer["pages"][0]["lines"])) == (1112, 2)


def test_real_clients_send_documents():
    """openai's, LangChain's and anthropic's, over HTTP, whole and as a stream."""
    with serve_worker(SURFACE="chat", FAKE_ENGINES="0", MODEL_SLUG=SLUG) as url:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
            more = {"model": SLUG, **user(file()), "max_tokens": 8, "temperature": 0}
            text = client.chat.completions.create(**more).choices[0].message.content
            stream = client.chat.completions.create(**more, stream=True)
            assert "".join(one.choices[0].delta.content or "" for one in stream) == text
            items = [
                {"type": "input_file", "filename": "a.pdf", "file_data": document(BOTH)},
                {"type": "input_text", "text": "What?"},
            ]
            given = client.responses.create(
                model=SLUG,
                input=[{"role": "user", "content": items}],
                max_output_tokens=16,
                temperature=0,
            )
            assert given.output_text.startswith(text)
        data = base64.b64encode(BOTH).decode()
        part = {"type": "file", "base64": data, "mime_type": "application/pdf", "filename": "a.pdf"}
        with langchain_chat(f"{url}/v1", model=SLUG, max_tokens=8, temperature=0) as chat:
            assert chat.invoke([HumanMessage([part, WORD])]).content == text
        with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as client:
            answer = client.messages.create(
                model=SLUG,
                max_tokens=8,
                messages=user(block())["messages"],
                extra_body={"temperature": 0},
            )
        assert answer.content[0].text == text
