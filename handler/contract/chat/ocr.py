"""The text in pictures and PDFs: ``POST /v1/ocr``, and plain jobs without messages.

Each picture is a page, and so is each page of a PDF, which are drawn one after the other. A page is
read by itself; the answer has the shape of a conversation's. The model's row says how it wants to
be asked (``reading`` of its options).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from handler.contract.base import Call, Json, Operation, with_notice
from handler.contract.chat.chat import completion_head, converse
from handler.contract.chat.choice import merged
from handler.contract.chat.generation import GrowingAnswers, usage
from handler.contract.chat.ocr_request import OcrRequest
from handler.contract.chat.page_numbers import chosen_pages
from handler.contract.chat.pictures import File, Seen, files, limits_of
from handler.contract.samples import SQUARE
from handler.contract.warnings import with_warnings
from models.errors import InvalidValue
from models.leniency import LeftOut, Leniency
from models.pictures import pdf
from models.pictures.request import InputPicture, Page, ReadRequest
from models.warm.model import Borrowed
from models.work import only

_BETWEEN = "\n\n"  # two pages
# How many pages are in memory: a model that writes reads several at once, the other one by one.
_WRITTEN_AT_ONCE, _PRINTED_AT_ONCE = 8, 2

_Read = Mapping[str, Any]  # what a page says: its text, why it ends, where its lines stand
_Shown = AsyncGenerator[tuple[int, InputPicture], None]


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
    given = await files(call, request.references)
    if request.pages and not (len(given) == 1 and given[0].is_pdf):
        raise InvalidValue(
            "pages chooses pages of a PDF; leave it out, or send one PDF alone.", param="pages"
        )
    progress: list[GrowingAnswers] = []
    shown = _shown(call, given)
    if printed:
        async with call.lease() as model:
            pages = await _read(shown, partial(_lines, model), _PRINTED_AT_ONCE)
    else:
        chat = replace(call, request=request.asking(call.row.options.get("reading", {})))
        pages = await _read(shown, partial(_written, chat, progress), _WRITTEN_AT_ONCE)
    left_out = [*leniency.left_out, *(progress[0].left_out if progress else ())]
    return _completion(call, pages, progress, left_out)


async def _shown(call: Call, given: Sequence[File]) -> _Shown:
    """Yield every page with its number: its place in the PDF, or among all if they are several.

    Raises:
        RequestError: a PDF cannot be read, or has other pages, or too many.
    """
    request: OcrRequest = call.request
    limits, place, drawn = limits_of(call), 0, 0
    for file in given:
        if not file.is_pdf:
            place += 1
            yield place, file.shown(await asyncio.to_thread(file.path.read_bytes))
            continue
        param = file.reference.param
        async with pdf.opened(file.path, param) as document:
            numbers = chosen_pages(request.pages, document.count)
            drawn += len(numbers)
            if drawn > limits.pages:
                raise InvalidValue(
                    f"{param}: a request may have {limits.pages} pages of PDFs read; got {drawn}. "
                    'Choose some with pages ("1-3,7").',
                    param=param,
                )
            for number in numbers:
                place += 1
                content = await document.page(number, limits.page_pixels)
                yield number if len(given) == 1 else place, file.shown(content)


async def _read(
    shown: _Shown, read: Callable[[InputPicture], Awaitable[_Read]], at_once: int
) -> list[tuple[int, _Read]]:
    """Read pages as they are drawn, some at once; the first that fails ends all."""
    gate = asyncio.Semaphore(at_once)
    tasks: list[asyncio.Task[tuple[int, _Read]]] = []

    async def numbered(number: int, picture: InputPicture) -> tuple[int, _Read]:
        try:
            return number, await read(picture)
        finally:
            gate.release()

    try:
        async with aclosing(shown):
            async for number, picture in shown:
                await gate.acquire()
                if any(task.done() and task.exception() is not None for task in tasks):
                    break
                tasks.append(asyncio.create_task(numbered(number, picture)))
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _lines(model: Borrowed, picture: InputPicture) -> _Read:
    """The lines of a page, with where they stand on it."""
    pages: Sequence[Page] = await model.run(ReadRequest((picture,)))
    page: Page = only(pages)
    return {
        "text": "\n".join(line.text for line in page.lines),
        "finish_reason": "stop",
        "layout": {
            "width": page.width,
            "height": page.height,
            "turned": page.turned,
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


async def _written(call: Call, progress: list[GrowingAnswers], picture: InputPicture) -> _Read:
    """What a model writes about a page."""
    progress.append(grown := GrowingAnswers())
    async with aclosing(converse(call, grown, Seen((picture,), (1,)))) as parts:
        return merged([part async for part in parts])


def _completion(
    call: Call,
    pages: Sequence[tuple[int, _Read]],
    progress: Sequence[GrowingAnswers],
    left_out: Sequence[LeftOut],
) -> Json:
    reasons = {page["finish_reason"] for _, page in pages}
    message = {
        "role": "assistant",
        "content": _BETWEEN.join(page["text"] for _, page in pages),
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
            {"page": number, "text": page["text"], **page.get("layout", {})}
            for number, page in pages
        ],
    }
    return with_notice(with_warnings(told, left_out), call.row)


OPERATION = Operation(
    OcrRequest,
    ("/v1/ocr",),
    answer,
    task="img2txt",
    within=("image", "images", "image_url", "input_image", "document"),
    rehearsal=lambda _: {"image": SQUARE, "max_tokens": 2},
)
