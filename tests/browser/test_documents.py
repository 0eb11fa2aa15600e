"""Pictures in a chat, and documents that are read, on the page, with the real small models."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scripts.page import TEXT, drawn
from tests.conftest import needs
from tests.support.documents import pdf
from tests.support.page import SOON, expect, say, tab
from tests.support.seeing import RED, SLUG

expect.set_options(timeout=15_000)  # beside other work, too

GIVE = """(node, {kind, type, name, data}) => {
    const content = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([content], name, {type}));
    const options = {bubbles: true, cancelable: true};
    node.dispatchEvent(kind === "paste"
        ? new ClipboardEvent("paste", {...options, clipboardData: transfer})
        : new DragEvent("drop", {...options, dataTransfer: transfer}));
}"""


def give(place: Any, kind: str, content: bytes, name: str, mime: str = "image/png") -> None:
    """Drop a file on an element, or paste it there."""
    data = base64.b64encode(content).decode()
    place.evaluate(GIVE, {"kind": kind, "type": mime, "name": name, "data": data})


def saved(page: Any, button: Any) -> bytes:
    with page.expect_download() as download:
        button.click()
    return Path(download.value.path()).read_bytes()


def sent(local: Any) -> Any:
    return list(local.platform.queues.endpoints["chat"].jobs.values())[-1].order.input


def test_a_picture_is_pasted_and_dropped_into_a_chat(real, open_page):
    page = open_page(real.url)
    chat = tab(page, "Chat")
    models = chat.get_by_label("Model", exact=True)
    expect(models).not_to_be_empty(timeout=SOON)
    assert "PP_OCRv6_Small" not in models.inner_text()  # it does not chat
    zone = chat.get_by_label("Pictures and PDFs")
    message = page.get_by_label("Message")
    red = base64.b64decode(RED.partition(",")[2])
    expect(zone).to_be_hidden()
    give(message, "paste", red, "red.png")
    expect(chat.locator(".files li")).to_have_count(0)  # this model reads text alone

    models.select_option(SLUG)
    expect(zone).to_be_visible(timeout=SOON)
    chat.get_by_label("Max tokens").fill("4")
    give(message, "paste", red, "red.png")
    give(chat.locator(".log"), "drop", red, "again.png")
    expect(chat.locator(".files li img")).to_have_count(2)
    chat.get_by_role("button", name="Remove again.png").click()
    expect(chat.locator(".files li")).to_have_count(1)
    content = pdf(["A page"], size=(60, 40))
    give(message, "drop", content, "a.pdf", "application/pdf")
    say(page, "What is this?")
    expect(chat.get_by_role("status")).to_contain_text("4 tokens", timeout=SOON)
    expect(page.locator(".message.user img")).to_have_attribute("alt", "red.png")
    expect(page.locator(".message.user")).to_contain_text("a.pdf")
    expect(chat.locator(".files li")).to_have_count(0)
    [message_sent] = sent(real)["openai_input"]["messages"]
    kinds = [part["type"] for part in message_sent["content"]]
    assert kinds == ["image_url", "file", "text"]
    assert message_sent["content"][0]["image_url"]["url"] == RED
    assert message_sent["content"][1]["file"]["filename"] == "a.pdf"

    say(page, "And now?")  # the history keeps its pictures
    expect(page.locator(".message.assistant")).to_have_count(2, timeout=SOON)
    expect(chat.get_by_role("status")).to_contain_text("4 tokens", timeout=SOON)
    assert sent(real)["openai_input"]["messages"][0] == message_sent
    chat.get_by_role("button", name="Clear").click()
    expect(page.locator(".message")).to_have_count(0)


def test_a_picture_that_is_refused_can_be_sent_again(real, open_page):
    page = open_page(real.url, silent=False)
    chat = tab(page, "Chat")
    chat.get_by_label("Model", exact=True).select_option(SLUG, timeout=SOON)
    expect(chat.get_by_label("Pictures and PDFs")).to_be_visible(timeout=SOON)
    give(page.get_by_label("Message"), "paste", b"no picture", "broken.png")
    say(page, "What is this?")
    expect(chat.get_by_role("alert")).to_contain_text("media_undecodable", timeout=SOON)
    expect(chat.locator(".files li")).to_contain_text("broken.png")
    expect(page.get_by_label("Message")).to_have_value("What is this?")
    expect(page.locator(".message")).to_have_count(0)


@needs("PP_OCRv6_Small")
def test_a_document_is_read_drawn_and_saved(real, open_page):
    page = open_page(real.url)
    panel = tab(page, "Documents")
    models = panel.get_by_label("Model", exact=True)
    expect(models).to_have_value("PP_OCRv6_Small", timeout=SOON)
    upside_down = io.BytesIO()
    Image.open(io.BytesIO(drawn())).rotate(180).save(upside_down, "PNG")
    file = {"name": "bill.png", "mimeType": "image/png", "buffer": upside_down.getvalue()}
    panel.get_by_label("Picture or PDF").set_input_files(file)
    panel.get_by_role("button", name="Read").click()
    text = panel.locator(".transcript")
    expect(text).to_have_text("\n".join(TEXT), timeout=SOON)
    boxes = panel.locator(".page polygon")
    expect(boxes).to_have_count(len(TEXT))
    expect(boxes.first.locator("title")).to_contain_text(TEXT[0])
    expect(panel.locator(".page image")).to_have_attribute("transform", "translate(720 408) rotate(180)")  # fmt: skip
    line, sheet = boxes.first.bounding_box(), panel.locator(".page").bounding_box()
    assert sheet["y"] < line["y"] < line["y"] + line["height"] < sheet["y"] + sheet["height"]
    assert saved(page, panel.get_by_role("button", name="Download txt")).decode() == "\n".join(TEXT)
    answer = json.loads(saved(page, panel.get_by_role("button", name="Download json")))
    assert len(answer["pages"][0]["lines"]) == len(TEXT)

    content = pdf(["First page"], ["Second page"], ["Third page"], size=(300, 200))
    give(panel.locator(".output"), "drop", content, "a.pdf", "application/pdf")
    panel.get_by_label("Pages", exact=True).fill("2-")
    panel.get_by_role("button", name="Read").click()
    expect(panel.locator("section[aria-label^=Page]")).to_have_count(2, timeout=SOON)
    expect(panel.locator(".transcript").first).to_have_text("Second page")
    expect(panel.locator(".page text").nth(1)).to_have_text("Third page")
    expect(panel.get_by_role("heading", name="Page 3")).to_be_visible()
    assert sent(real)["openai_route"].endswith("/ocr")
    assert sent(real)["openai_input"]["pages"] == "2-"


def test_a_model_that_writes_reads_a_document(real, open_page):
    page = open_page(real.url)
    panel = tab(page, "Documents")
    expect(panel.get_by_label("Model", exact=True)).not_to_be_empty(timeout=SOON)
    panel.get_by_role("button", name="Read").click()
    expect(panel.get_by_role("alert")).to_contain_text("Choose a picture or a PDF")
    panel.get_by_label("Model", exact=True).select_option(SLUG)
    expect(panel.get_by_text("random weights")).to_be_visible(timeout=SOON)
    give(panel.locator(".output"), "drop", base64.b64decode(RED.partition(",")[2]), "red.png")
    panel.locator(".more summary").click()
    panel.get_by_label("Max tokens").fill("4")
    panel.get_by_role("button", name="Read").click()
    expect(panel.get_by_role("img", name="The page")).to_be_visible(timeout=SOON)
    expect(panel.get_by_role("status")).to_contain_text("1 page")


@needs("PP_OCRv6_Small")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_everybody_can_use_documents(real, open_page, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(real.url, color_scheme=scheme, bypass_csp=True)
    page.set_viewport_size({"width": width, "height": 800})
    panel = tab(page, "Documents")
    expect(panel.get_by_label("Model", exact=True)).not_to_be_empty(timeout=SOON)
    give(panel.get_by_label("Or a URL"), "paste", drawn(), "bill.png")
    panel.get_by_role("button", name="Read").click()
    expect(panel.locator(".page polygon")).to_have_count(len(TEXT), timeout=SOON)
    for folded in panel.locator("summary").all():
        folded.click()
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
