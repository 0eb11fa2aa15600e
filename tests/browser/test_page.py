"""The page itself: for whom it is, what it tells, what it lets nobody do."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
import pytest

from tests.conftest import needs
from tests.support.bodies import CHAT
from tests.support.pace import SLOW
from tests.support.page import SOON, example, expect, give_speech, picture, say, tab
from tests.support.running import run_local, wait_until

EVIL = '<img src="x" onerror="alert(1)"><script>alert(2)</script>'
TABS = ("Chat", "Images", "Transcribe", "Embeddings", "Jobs", "Machine")


def test_jobs_are_watched_cancelled_and_tried_again(fakes, open_page):
    page = open_page(f"{fakes.url}/#jobs")
    jobs = page.get_by_role("tabpanel", name="Jobs")
    expect(jobs.locator(".status")).to_contain_text("worker-1 (all): idle")
    job_id = fakes.run("chat", {**SLOW, "model": "Fake_Chat"})
    short = job_id[:8]
    row = jobs.get_by_role("row").filter(has_text=short)
    expect(row).to_contain_text("running")
    expect(row).to_contain_text("Fake_Chat")
    expect(row.locator(".bar.run")).to_be_visible()
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("cancelled")
    row.get_by_role("button", name="Retry").click()
    expect(row).to_contain_text("running")
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("cancelled")
    assert fakes.status("chat", job_id)["status"] == "CANCELLED"

    done = fakes.run("chat", CHAT)
    row = jobs.get_by_role("row").filter(has_text=done[:8])
    expect(row).to_contain_text("completed")
    row.get_by_role("button", name=f"Show {done}").click()
    detail = jobs.get_by_role("region", name="Job", exact=True)
    expect(detail).to_be_focused()
    expect(detail.get_by_label("Input")).to_contain_text('"messages"')
    expect(detail.get_by_label("Output")).to_contain_text('"chat.completion"')
    card = jobs.locator(".card").filter(has_text="chat").first
    expect(card).to_contain_text("completed")


def test_many_jobs_wait_in_line(open_page):
    with run_local(1, FAKE_DELAY_S="0.01", CONCURRENCY="1") as local:
        page = open_page(f"{local.url}/#jobs")
        body = {"messages": [{"role": "user", "content": "x" * 60}], "model": "Fake_Chat"}
        for _ in range(6):
            local.run("chat", body)
        jobs = page.get_by_role("tabpanel", name="Jobs")
        expect(jobs.locator(".state.COMPLETED")).to_have_count(2, timeout=SOON)
        expect(jobs.locator(".state.IN_QUEUE").first).to_be_visible()
        local.run("chat", {**CHAT, "model": "no such model"})
        picture("playground-jobs", page)
        expect(jobs.locator(".state.COMPLETED")).to_have_count(6, timeout=SOON)
        expect(jobs.locator(".state.FAILED")).to_contain_text("model_not_found", timeout=SOON)


@needs("All_MiniLM_L6_v2")
def test_the_machine_is_drawn(real, open_page):
    page = open_page(real.url)
    machine = tab(page, "Machine")
    body = {"input": ["A fox is a small canid.", "Foxes."], "model": "All_MiniLM_L6_v2"}
    real.end("embeddings", real.run("embeddings", body), 60)
    card = machine.locator(".card").filter(has_text="All_MiniLM_L6_v2")
    expect(card).to_be_visible(timeout=SOON)
    real.end("embeddings", real.run("embeddings", body), 60)
    expect(card.get_by_role("img", name="Padding: ")).to_be_visible()
    speed = card.get_by_role("img").first
    wait_until(lambda: "tokens/s" in (speed.get_attribute("aria-label") or ""))

    def moving() -> bool:
        real.end("embeddings", real.run("embeddings", body), 60)
        return not (speed.get_attribute("aria-label") or "").startswith("Speed: 0.0")

    wait_until(moving)
    memory = machine.locator(".card").filter(has_text="Reserved")
    expect(memory).to_contain_text("GB")


def test_hostile_words_are_words(fakes, open_page):
    page = open_page(fakes.url, silent=False)
    chat = tab(page, "Chat")
    say(page, EVIL)
    answer = page.locator(".message.assistant .text")
    expect(answer).to_contain_text("<img", timeout=SOON)
    expect(page.locator(".message.user .text")).to_have_text(EVIL)
    chat.get_by_text("This request as code").click()
    chat.get_by_role("button", name="openai").click()
    expect(chat.get_by_label("The request as code")).to_contain_text("onerror")

    transcribe = tab(page, "Transcribe")
    give_speech(transcribe, f"{EVIL}.ogg")
    expect(transcribe.locator(".files")).to_contain_text("<img")
    segment = {"start": 0, "end": 1, "text": EVIL, "id": 0}
    page.route(
        "**/audio/transcriptions",
        lambda route: route.fulfill(
            json={
                "text": EVIL,
                "segments": [segment],
                "language": EVIL,
                "duration": 1,
                "notice": EVIL,
            }
        ),
    )
    transcribe.get_by_role("button", name="Transcribe").click()
    expect(transcribe.locator("ol.transcript .text")).to_have_text(EVIL)
    page.unroute("**/audio/transcriptions")

    failed = fakes.run("chat", {**CHAT, "model": EVIL})
    fakes.end("chat", failed)
    jobs = tab(page, "Jobs")
    row = jobs.get_by_role("row").filter(has_text=failed[:8])
    expect(row).to_contain_text("<img")
    row.get_by_role("button", name="Show").click()
    expect(jobs.get_by_label("Error")).to_contain_text("<img")
    page.route(
        "**/images/generations",
        lambda route: route.fulfill(
            status=400, json={"error": {"message": EVIL, "code": EVIL, "param": EVIL, "type": ""}}
        ),
    )
    images = tab(page, "Images")
    expect(images.get_by_label("Prompt", exact=True)).to_be_visible(timeout=SOON)
    images.get_by_role("button", name="Generate").click()
    expect(images.get_by_role("alert")).to_contain_text("<img")
    assert page.locator("img[onerror]").count() == page.locator("main script").count() == 0


def test_no_text_can_become_code(fakes, open_page):
    """The policy holds even where the page's own code is wrong."""
    page = open_page(fakes.url, silent=False)
    # In a turn of the page's own: what a debugger evaluates may evaluate.
    refused = page.evaluate(
        """() => new Promise((done) => setTimeout(() => done([
            () => { document.body.innerHTML = '<b>'; }, () => eval('1'), () => new Function('1'),
        ].map((one) => { try { one(); return 'done'; } catch (error) { return error.name; } }))))"""
    )
    assert refused == ["TypeError", "EvalError", "EvalError"]
    assert (
        page.evaluate("fetch('http://127.0.0.2:9/').then(() => 'sent', () => 'refused')")
        == "refused"
    )


CODES = [
    pytest.param(
        "Chat", ("curl", "openai", "runpod"), id="chat", marks=needs("SmolLM2_135M_Instruct")
    ),
    pytest.param("Images", ("curl", "openai", "runpod"), id="images"),
    pytest.param(
        "Transcribe", ("curl", "openai", "runpod"), id="transcribe", marks=needs("Whisper_Base")
    ),
    pytest.param(
        "Embeddings", ("curl", "openai", "runpod"), id="embeddings", marks=needs("All_MiniLM_L6_v2")
    ),
]


@pytest.mark.parametrize(("name", "ways"), CODES)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_the_copied_code_runs(real, open_page, tmp_path, name, ways, stream):
    page = open_page(real.url)
    panel = tab(page, name)
    expect(panel.get_by_label("Model", exact=True).first).not_to_be_empty(timeout=SOON)
    awkward = 'It\'s $HOME, `date`, \\n and "quotes": 日本'
    if name == "Chat":
        panel.get_by_label("Message").fill(awkward)
        panel.get_by_label("Max tokens").fill("8")
        panel.get_by_label("Stream").set_checked(stream)
    if name == "Images":
        panel.get_by_label("Prompt", exact=True).fill(awkward)
        panel.get_by_text("More settings").click()
        panel.get_by_label("Previews").fill("1" if stream else "")
        panel.get_by_label("Steps").fill("2")
    if name == "Transcribe":
        file = tmp_path / "it's $(a) speech.ogg"
        file.write_bytes(example("transcribe", "audioUrl"))
        panel.get_by_label("Audio or video").set_input_files(file)
        panel.get_by_label("Stream the text only").set_checked(stream)
    panel.get_by_text("This request as code").first.click()
    code = panel.get_by_label("The request as code").first
    for way in ways:
        panel.get_by_role("button", name=way).first.click()
        panel.get_by_role("button", name="Copy").first.click()
        expect(page.locator("#announcement")).to_have_text("Copied")
        text = page.evaluate("navigator.clipboard.readText()")
        assert text == code.inner_text()
        command = ["bash", "-c", text] if way == "curl" else [sys.executable, "-c", text]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert '"error"' not in done.stdout
        assert done.stdout.strip(), way
        if name == "Transcribe":
            assert "Dashwood" in done.stdout
    sent = list(real.platform.queues.endpoints[name.lower()].jobs.values())[-1].order.input
    if name in {"Chat", "Images"}:
        body = json.dumps(sent, ensure_ascii=False)
        assert json.dumps(awkward, ensure_ascii=False)[1:-1] in body


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_everybody_can_use_it(fakes, open_page, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    fakes.end("chat", fakes.run("chat", CHAT))
    fakes.end("chat", fakes.run("chat", {**CHAT, "temperature": 9}))
    # axe-core is brought by evaluation, which the page's policy refuses to its own code.
    page = open_page(fakes.url, color_scheme=scheme, bypass_csp=True)
    page.set_viewport_size({"width": width, "height": 800})
    for name in TABS:
        panel = tab(page, name)
        if name in {"Jobs", "Machine"}:
            expect(panel.locator(".card").first).to_be_visible()
        else:
            expect(panel.get_by_label("Model", exact=True).first).not_to_be_empty(timeout=SOON)
        if name == "Chat":
            say(page, "Hello")
            expect(panel.get_by_role("status")).to_contain_text("tokens")
        if name == "Images":
            panel.get_by_role("button", name="Generate").click()
            expect(panel.locator("figure")).to_contain_text("seed", timeout=SOON)
        if name == "Transcribe":
            give_speech(panel, "a.ogg")
            panel.get_by_role("button", name="Transcribe").click()
            expect(panel.locator("audio")).to_be_visible(timeout=SOON)
        if name == "Embeddings":
            panel.get_by_role("button", name="Compare").click()
            panel.get_by_role("button", name="Rank").click()
            expect(panel.locator(".matrix")).to_be_visible(timeout=SOON)
            expect(panel.locator(".ranked li").first).to_be_visible(timeout=SOON)
        if name == "Jobs":
            panel.get_by_role("button", name="Show").first.click()
            expect(panel.get_by_role("region", name="Job", exact=True)).to_be_visible()
        for folded in panel.locator("summary").all():
            if folded.is_visible():
                folded.click()
        found = Axe().run(page).response["violations"]
        told = [
            (one["id"], one["impact"], [node["html"][:120] for node in one["nodes"]])
            for one in found
        ]
        assert told == [], name
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} pixels wide"


def test_by_keyboard_alone(fakes, open_page):
    page = open_page(fakes.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("tab", name="Chat")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Images")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Images")).to_be_visible()
    page.keyboard.press("End")
    expect(page.get_by_role("tabpanel", name="Machine")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel", name="Chat")).to_be_visible()
    chat = page.get_by_role("tabpanel", name="Chat")
    expect(chat.get_by_label("Model", exact=True)).not_to_be_empty()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.get_by_label("Message").evaluate("one => one === document.activeElement"):
            break
    expect(page.get_by_label("Message")).to_be_focused()
    page.keyboard.type("Hi")
    page.keyboard.press("Enter")
    expect(page.locator(".message.assistant .text")).to_contain_text("Hi")


def test_the_skip_link_stays_on_its_tab(fakes, open_page):
    page = open_page(f"{fakes.url}/#machine")
    expect(page.get_by_role("tabpanel", name="Machine")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Machine")).to_be_visible()


def test_what_is_wrong_in_a_folded_field_is_seen(fakes, open_page):
    page = open_page(fakes.url)
    chat = tab(page, "Chat")
    expect(chat.get_by_label("Model", exact=True)).not_to_be_empty()
    more = chat.get_by_text("More settings")
    more.click()
    chat.get_by_label("Top p").fill("5")
    more.click()
    say(page, "Hi")
    expect(chat.get_by_label("Top p")).to_be_focused()
    chat.get_by_label("Top p").fill("0.5")
    say(page, "Hi")
    expect(page.locator(".message.assistant .text")).to_have_text("Hi")


def test_code_is_not_shown_of_what_cannot_be_sent(fakes, open_page):
    page = open_page(fakes.url)
    chat = tab(page, "Chat")
    chat.get_by_text("This request as code").click()
    code = chat.get_by_label("The request as code")
    expect(code).to_have_text("Write a message first.")
    expect(chat.get_by_role("button", name="Copy")).to_be_disabled()
    page.get_by_label("Message").fill("Hi")
    expect(code).to_contain_text('"content": "Hi"')
    chat.get_by_label("Response format").select_option("json_schema")
    chat.get_by_label("Schema").fill("{")
    expect(code).to_contain_text("Invalid JSON")


def test_a_platform_that_comes_back_is_followed_anew(open_page):
    with run_local(0) as local:
        old = local.run("chat", CHAT)
        page = open_page(f"{local.url}/#jobs", silent=False)
        jobs = page.get_by_role("tabpanel", name="Jobs")
        expect(jobs.get_by_role("row").filter(has_text=old[:8])).to_be_visible()
        with run_local(0) as other:
            new = other.run("images", {"prompt": "Hi"})
            events = httpx.stream("GET", f"{other.url}/playground/events")
            with events as response:
                told = next(line for line in response.iter_lines() if line)
            page.route(
                "**/playground/events",
                lambda route: route.fulfill(body=f"{told}\n\n", content_type="text/event-stream"),
            )
            local.loop.call_soon_threadsafe(local.platform.drain)
            expect(jobs.get_by_role("row").filter(has_text=new[:8])).to_be_visible()
            expect(jobs.get_by_role("row").filter(has_text=old[:8])).to_have_count(0)


def test_a_platform_with_a_key_asks_for_it(open_page):
    with run_local(1, key="secret") as local:
        page = open_page(local.url, silent=False)
        expect(page.get_by_role("alert")).to_contain_text("API key")
        page.get_by_label("Key").fill("secret")
        page.get_by_role("button", name="Use").click()
        chat = tab(page, "Chat")
        expect(chat.get_by_label("Model", exact=True)).to_have_value("Fake_Chat")
        chat.get_by_text("This request as code").click()
        page.get_by_label("Message").fill("Hi")
        code = chat.get_by_label("The request as code")
        expect(code).to_contain_text("LOCAL_API_KEY")
        expect(code).not_to_contain_text("secret")
        jobs = tab(page, "Jobs")
        expect(jobs.locator(".status")).to_contain_text("worker-1")
        for path in ("/playground/events", "/metrics", "/playground/jobs/chat/x"):
            assert httpx.get(local.url + path).status_code == 401


def test_a_worker_alone_has_the_page_where_it_is_told_to(worker, open_page):
    page = open_page(f"{worker}/playground")
    chat = tab(page, "Chat")
    expect(chat.get_by_label("Model", exact=True)).to_have_value("Fake_Chat")
    say(page, "Hi there")
    expect(page.locator(".message.assistant .text")).to_contain_text("Hi there")
    expect(page.get_by_role("tab", name="Jobs")).to_have_count(0)
    expect(chat.get_by_role("button", name="runpod")).to_have_count(0)
    images = tab(page, "Images")
    images.get_by_role("button", name="Generate").click()
    expect(images.locator("figure")).to_contain_text("seed", timeout=SOON)
    machine = tab(page, "Machine")
    expect(machine.locator(".card").filter(has_text="Fake_Chat")).to_be_visible()


def test_the_api_is_documented_without_anybody_elses_server(fakes, open_page):
    page = open_page(f"{fakes.url}/docs")
    expect(page.get_by_text("/v1/chat/completions").first).to_be_visible()
