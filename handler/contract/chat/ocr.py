"""The text in pictures: ``POST /v1/ocr``, and plain jobs that bring a picture without messages.

Each picture is a page, and is read by itself; the answer has the shape of a conversation's. The
model's row says how it wants to be asked (``reading`` of its options).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import PrivateAttr, model_validator

from handler.contract.base import Call, Json, Operation, with_notice
from handler.contract.chat.chat import completion_head, converse
from handler.contract.chat.choice import Delta, merged
from handler.contract.chat.generation import GrowingAnswers, usage
from handler.contract.chat.pictures import Reference, fetched
from handler.contract.chat.request import MAX_IMAGES, ChatRequest
from handler.contract.request import Items, JsonObject, NonEmpty, Request, Text
from handler.contract.samples import SQUARE
from handler.contract.unsupported import Unsupported, alike
from handler.contract.warnings import with_warnings
from models.errors import UnsupportedParameter
from models.leniency import LeftOut, Leniency
from models.pictures.request import InputPicture, Page, ReadRequest

_PROMPT = "Write down the text in this picture, and nothing else."
_BETWEEN = "\n\n"  # two pages


class OcrRequest(Request):
    """The body of a request for the text in pictures."""

    unsupported: ClassVar = {
        "n": Unsupported(1),
        "stream": Unsupported(False, instead="read pages one request at a time"),
        **alike(("tools", "tool_choice"), "send messages to /v1/chat/completions"),
        **alike(("logprobs",), "ask /v1/chat/completions for them", False),
    }
    aliases: ClassVar = dict.fromkeys(("images", "image_url", "input_image"), "image")
    files: ClassVar = {"file": "image"}

    image: NonEmpty | Annotated[list[NonEmpty], Items(MAX_IMAGES, least=1)]
    prompt: Text = ""
    language: Text = ""
    format: Literal["text", "markdown", "json"] | None = None
    response_format: JsonObject | None = None
    guided_json: JsonObject | None = None
    _chats: Mapping[str, Any] = PrivateAttr(default={})

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Validate a body, and chat's fields beside its own."""
        request = super().parse(body)
        chats = ChatRequest.known() - cls.known() - {"messages", "metadata", "stream_options"}
        request._chats = {name: body[name] for name in chats if body.get(name) is not None}
        request.asking({})
        return request

    @model_validator(mode="after")
    def _formed(self) -> Self:
        if self.format == "json" and self.response_format is None and self.guided_json is None:
            raise UnsupportedParameter(
                "format: json needs a schema to be of; send response_format or guided_json too, or "
                "the format text.",
                param="format",
            )
        return self

    def leave_out_words(self, slug: str, leniency: Leniency) -> None:
        """Leave out what only a model that writes by itself has a use for.

        Raises:
            UnsupportedParameter: a form is asked for; or the request is strict.
        """
        for name in ("response_format", "guided_json"):
            if getattr(self, name) is not None:
                raise UnsupportedParameter(
                    f"{name}: {slug} returns lines as they are printed; leave it out.", param=name
                )
        own = {"model", "strict", *self.aliases, *Request.informational}
        for name in ("prompt", *sorted(self._chats.keys() - own)):
            if name in self._chats or (name == "prompt" and self.prompt):
                leniency.leave_out(name, f"{name}: {slug} returns lines as they are printed")

    @property
    def parts(self) -> int:
        """The number of pages."""
        return len(self.references)

    @property
    def references(self) -> list[Reference]:
        """The pages."""
        if isinstance(self.image, str):
            return [Reference(self.image, "image")]
        return [Reference(one, f"image[{at}]") for at, one in enumerate(self.image)]

    def asking(self, reading: Mapping[str, str]) -> ChatRequest:
        """Return the conversation about one page, which has the page's place in it.

        Args:
            reading: how the model wants to be asked: ``system`` and ``prompt``.

        Raises:
            RequestError: a field of chat's is wrong.
        """
        text = self.prompt or reading.get("prompt", _PROMPT)
        page = {"type": "image_url", "image_url": {"url": "page"}}
        content = [page, {"type": "text", "text": text}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if system := reading.get("system"):
            messages = [{"role": "system", "content": system}, *messages]
        forms = {"response_format": self.response_format, "guided_json": self.guided_json}
        body = {**self._chats, **forms, "messages": messages, "strict": self.strict}
        return ChatRequest.parse(body)


async def answer(call: Call) -> Json:
    """Read the pages: OpenAI's ChatCompletion of their text, and the text of each."""
    request: OcrRequest = call.request
    leniency = Leniency(request.strict)
    if request.language:
        leniency.leave_out(
            "language", f"language: {call.row.slug} reads every language that it knows unasked"
        )
    printed = "chat" not in call.row.tasks
    if printed:
        request.leave_out_words(call.row.slug, leniency)
    pictures = await fetched(call, request.references)
    progress = [GrowingAnswers() for _ in pictures]
    if printed:
        pages = await _lines(call, pictures)
    else:
        chat = replace(call, request=request.asking(call.row.options.get("reading", {})))
        pages = await _read(chat, pictures, progress)
    return _completion(call, pages, progress, leniency.left_out)


def _completion(
    call: Call,
    pages: Sequence[Mapping[str, Any]],
    progress: Sequence[GrowingAnswers],
    left_out: Sequence[LeftOut],
) -> Json:
    reasons = {page["finish_reason"] for page in pages}
    message = {
        "role": "assistant",
        "content": _BETWEEN.join(page["text"] for page in pages),
        "refusal": None,
    }
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "length" if "length" in reasons else "stop",
        "logprobs": None,
    }
    told = {
        **completion_head(call, "chat.completion"),
        "choices": [choice],
        "usage": usage(*progress),
        "pages": [
            {"page": at, "text": page["text"], **page.get("layout", {})}
            for at, page in enumerate(pages, start=1)
        ],
    }
    return with_notice(with_warnings(told, [*left_out, *progress[0].left_out]), call.row)


async def _lines(call: Call, pictures: tuple[InputPicture, ...]) -> list[Mapping[str, Any]]:
    """The lines of each page, with where they stand on it."""
    async with call.lease() as model:
        pages: Sequence[Page] = await model.run(ReadRequest(pictures))
    return [
        {
            "text": "\n".join(line.text for line in page.lines),
            "finish_reason": "stop",
            "layout": {
                "width": page.width,
                "height": page.height,
                "lines": [
                    {
                        "text": line.text,
                        "box": [list(corner) for corner in line.corners],
                        "confidence": round(line.confidence, 4),
                    }
                    for line in page.lines
                ],
            },
        }
        for page in pages
    ]


async def _read(
    call: Call, pictures: Sequence[InputPicture], progress: Sequence[GrowingAnswers]
) -> list[Mapping[str, Any]]:
    """What is said of each page; the first that fails ends all."""
    pages = [
        asyncio.create_task(_page(converse(call, grown, (picture,))))
        for picture, grown in zip(pictures, progress, strict=True)
    ]
    try:
        return await asyncio.gather(*pages)
    finally:
        for page in pages:
            page.cancel()
        await asyncio.wait(pages)


async def _page(deltas: AsyncGenerator[Delta, None]) -> Mapping[str, Any]:
    async with aclosing(deltas) as parts:
        return merged([part async for part in parts])


OPERATION = Operation(
    OcrRequest,
    ("/v1/ocr",),
    answer,
    task="img2txt",
    within=("image", "images", "image_url", "input_image"),
    rehearsal=lambda _: {"image": SQUARE, "max_tokens": 2},
)
