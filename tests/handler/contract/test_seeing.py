"""Pictures in messages: through the worker, by every route, against a tiny model that sees."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest
from langchain_core.messages import HumanMessage
from openai.types.chat import ChatCompletion

from tests.conftest import decoded, error_of
from tests.support.bodies import check
from tests.support.langchain import langchain_chat
from tests.support.running import serve_worker
from tests.support.seeing import BLUE, RED, SLUG, WIDE, picture, uri

pytestmark = pytest.mark.anyio


MARKS = 2  # the picture's beginning and end
WORD = {"type": "text", "text": "What?"}


def seen(*urls: Any) -> list[dict[str, Any]]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*parts, WORD]}]


@pytest.fixture
def worker(make_worker):
    return make_worker(FAKE_ENGINES="0", SURFACE="chat", MODEL_SLUG=SLUG, CHAT_IMAGES="3")


async def ask(worker: Any, body: dict[str, Any], route: str | None = None) -> Any:
    body = {"temperature": 0, "max_tokens": 8, **body}
    job = body if route is None else {"openai_route": route, "openai_input": body}
    return decoded(await worker.answer({"input": job}))


async def prompt_tokens(worker: Any, **body: Any) -> int:
    answer = check(ChatCompletion, await ask(worker, {"max_tokens": 1, **body}))
    return answer.usage.prompt_tokens


async def test_pictures_count_as_the_tokens_that_they_take(worker):
    text = await prompt_tokens(worker, messages=[{"role": "user", "content": "What?"}])
    assert await prompt_tokens(worker, messages=seen(RED)) == text + 4 + MARKS
    assert await prompt_tokens(worker, messages=seen(RED, WIDE)) == text + 4 + 8 + 2 * MARKS
    as_text = [{"role": "user", "content": [{"type": "image_url", "image_url": RED}, WORD]}]
    assert await prompt_tokens(worker, messages=as_text) == text + 4 + MARKS
    beside = await prompt_tokens(worker, messages=[{"role": "user", "content": "What?"}], image=RED)
    assert beside == text + 4 + MARKS


async def test_the_answer_depends_on_what_is_seen(worker):
    told = [await ask(worker, {"messages": seen(one)}) for one in (RED, BLUE, RED)]
    texts = [one["choices"][0]["message"]["content"] for one in told]
    assert texts[0] == texts[2] != texts[1]
    # Beside the messages, as a gateway lets it through, it is the same picture.
    plain = [{"role": "user", "content": "What?"}]
    for field in ("image", "image_url", "images"):
        value = [RED] if field == "images" else RED
        again = await ask(worker, {"model": SLUG, "messages": plain, field: value})
        assert again["choices"][0]["message"]["content"] == texts[0]


async def test_any_turn_may_have_pictures(worker):
    messages = [
        *seen(RED),
        {"role": "assistant", "content": "Red."},
        {"role": "tool", "tool_call_id": "c", "content": [WORD, *seen(BLUE)[0]["content"][:1]]},
        *seen(WIDE),
    ]
    answer = await ask(worker, {"messages": messages})
    assert answer["usage"]["prompt_tokens"] > 16


async def test_a_stream(worker):
    body = {"messages": seen(RED), "stream": True, "stream_options": {"include_usage": True}}
    job = {"openai_route": "/v1/chat/completions", "openai_input": {**body, "max_tokens": 4}}
    lines = [line async for line in worker.stream({"input": job})]
    usage = json.loads(lines[-2].removeprefix("data: "))["usage"]
    assert usage["prompt_tokens"] == await prompt_tokens(worker, messages=seen(RED))


async def test_other_routes(worker):
    tokens = await prompt_tokens(worker, messages=seen(RED))
    items = [
        {"type": "input_image", "image_url": RED, "detail": "auto"},
        {"type": "input_text", "text": "What?"},
    ]
    response = await ask(worker, {"input": [{"role": "user", "content": items}]}, "/v1/responses")
    assert response["usage"]["input_tokens"] == tokens
    data = RED.partition(",")[2]
    source = {"type": "base64", "media_type": "image/png", "data": data}
    messages = [{"role": "user", "content": [{"type": "image", "source": source}, WORD]}]
    answer = await ask(worker, {"messages": messages}, "/v1/messages")
    assert answer["usage"]["input_tokens"] == tokens
    counted = await ask(worker, {"messages": messages}, "/v1/messages/count_tokens")
    assert counted["input_tokens"] == tokens
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [WORD, messages[0]["content"][0]],
    }
    given = await ask(worker, {"messages": [{"role": "user", "content": [result]}]}, "/v1/messages")
    assert given["usage"]["input_tokens"] > 4


BOMB = b"\x89PNG\r\n\x1a\n" + bytes.fromhex(
    "0000000d49484452 0000c350 0000c350 0802000000 00000000"
)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://127.0.0.1:1/a.png", "media_address_forbidden"),
        ("http://localhost:1/a.png", "media_address_forbidden"),
        ("http://169.254.169.254/latest", "media_address_forbidden"),
        ("http://dead.invalid/a.png", "media_unreachable"),
        ("file:///etc/passwd", "media_invalid"),
        ("no picture", "media_invalid"),
        ("data:image/png;base64,", "media_invalid"),
        (uri(b"GIF89a"), "media_undecodable"),
        (uri(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), "media_undecodable"),
        (uri(BOMB), "media_undecodable"),
        (picture(1, 300), "invalid_value"),
    ],
)
async def test_hostile_pictures_are_refused_by_name(worker, url, code):
    error = error_of(await worker.answer({"input": {"messages": seen(RED, url)}}))
    assert (error["code"], error["param"]) == (code, "messages[0].content[1].image_url")
    assert (await ask(worker, {"messages": seen(RED)}))["choices"]


async def test_limits(make_worker, worker):
    error = error_of(await worker.answer({"input": {"messages": seen(*[RED] * 100)}}))
    assert (error["code"], error["param"]) == ("invalid_value", "messages[0].content[3].image_url")
    assert "3 pictures; got 100" in error["message"]
    small = make_worker(
        FAKE_ENGINES="0", SURFACE="chat", MODEL_SLUG=SLUG, CHAT_IMAGE_BYTES="1000", CHAT_IMAGE_PIXELS="10000",
    )  # fmt: skip
    large = uri(b"x" * 2000)
    error = error_of(await small.answer({"input": {"messages": seen(large)}}))
    assert error["code"] == "media_too_large"
    error = error_of(await small.answer({"input": {"messages": seen(WIDE, BLUE, RED)}}))
    assert (error["code"], error["param"]) == ("invalid_value", "messages[0].content[2].image_url")


@pytest.mark.parametrize(
    ("part", "code", "param"),
    [
        ({"type": "image_url"}, "missing_required_parameter", "messages[0].content[0].image_url"),
        ({"type": "image_url", "image_url": {"url": ""}}, "invalid_value", "messages[0].content[0].image_url.url"),
        ({"type": "image_url", "image_url": {"url": RED, "detail": "sharp"}}, "invalid_value", "messages[0].content[0].image_url.detail"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "unsupported_parameter", "messages[0].content[0]"),
        ({"type": "video_url", "video_url": {"url": RED}}, "unsupported_parameter", "messages[0].content[0]"),
        ({"type": "file", "file": {"file_id": "f"}}, "unsupported_parameter", "messages[0].content[0]"),
    ],
)  # fmt: skip
async def test_parts_of_the_wrong_form(worker, part, code, param):
    error = error_of(
        await worker.answer({"input": {"messages": [{"role": "user", "content": [part]}]}})
    )
    assert (error["code"], error["param"]) == (code, param)
    assert part["type"] != "input_audio" or "/v1/audio/transcriptions" in error["message"]


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": seen(RED)}, "messages[0].content[0].image_url"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "image": RED}, "image"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "images": [RED]}, "images[0]"),
        ("/v1/responses", {"instructions": "a", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": RED}]}]}, "input[0].content[0].image_url"),
        ("/v1/messages", {"system": "a", "messages": [{"role": "user", "content": [WORD, {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}]}]}, "messages[0].content[1].source"),
    ],
)  # fmt: skip
async def test_a_model_that_cannot_see_says_so(make_worker, route, body, param):
    worker = make_worker()
    error = error_of(await worker.answer({"input": {"openai_route": route, "openai_input": body}}))
    assert (error["code"], error["param"]) == ("unsupported_parameter", param)
    assert error["message"].startswith(param)


async def test_a_conversation_with_a_picture_beside_it_is_chat(make_worker):
    """Also where every surface is served: the field is that of pictures, too."""
    body = {"model": SLUG, "messages": [{"role": "user", "content": "What?"}], "image": RED}
    answer = await ask(make_worker(FAKE_ENGINES="0"), body)
    assert answer["object"] == "chat.completion"


def test_real_clients_send_pictures():
    """openai's, LangChain's and anthropic's, over HTTP, whole and as a stream."""
    with serve_worker(SURFACE="chat", FAKE_ENGINES="0", MODEL_SLUG=SLUG) as url:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
            more = {"model": SLUG, "messages": seen(RED), "max_tokens": 8, "temperature": 0}
            whole = client.chat.completions.create(**more)
            stream = client.chat.completions.create(**more, stream=True)
            text = "".join(one.choices[0].delta.content or "" for one in stream)
            assert text == whole.choices[0].message.content
            with pytest.raises(openai.BadRequestError) as refused:
                client.chat.completions.create(**{**more, "messages": seen("http://127.0.0.1/a")})
            assert refused.value.param == "messages[0].content[0].image_url"
        with langchain_chat(f"{url}/v1", model=SLUG, max_tokens=8, temperature=0) as chat:
            assert chat.invoke([HumanMessage(seen(RED)[0]["content"])]).content == text
        with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as client:
            source = {"type": "base64", "media_type": "image/png", "data": RED.partition(",")[2]}
            messages = [{"role": "user", "content": [{"type": "image", "source": source}, WORD]}]
            extra = {"temperature": 0}
            answer = client.messages.create(
                model=SLUG, max_tokens=8, messages=messages, extra_body=extra
            )
        assert answer.content[0].text == text
