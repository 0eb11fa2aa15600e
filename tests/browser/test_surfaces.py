"""What a user does on the page's tabs, with the real small models."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

from PIL import Image

from tests.conftest import needs
from tests.support.pace import SLOW
from tests.support.page import SOON, example, expect, give_speech, picture, say, tab
from tests.support.running import wait_until

expect.set_options(timeout=15_000)  # beside other work, too


def begin_long_answer(page: Any) -> Any:
    """Ask for what takes the fakes a minute, and see it begin; returns the tab."""
    chat = tab(page, "Chat")
    expect(chat.get_by_label("Model", exact=True)).not_to_be_empty()
    say(page, SLOW["messages"][0]["content"])
    expect(page.locator(".message.assistant .text")).to_contain_text("xxx")
    return chat


def saved(page: Any, button: Any) -> bytes:
    with page.expect_download() as download:
        button.click()
    return Path(download.value.path()).read_bytes()


@needs("SmolLM2_135M_Instruct")
def test_chat_streams_and_remembers(real, open_page):
    page = open_page(real.url)
    chat = tab(page, "Chat")
    expect(chat.get_by_label("Model", exact=True)).to_have_value(
        "SmolLM2_135M_Instruct", timeout=SOON
    )
    chat.get_by_label("System prompt").fill("You answer in one short sentence.")
    chat.get_by_label("Temperature").fill("0")
    lengths = page.evaluate_handle(
        """() => { const seen = new Set(); new MutationObserver(() => {
            const text = document.querySelector('.message.assistant .text');
            if (text) seen.add(text.textContent.length);
        }).observe(document.querySelector('.log'), {subtree: true, childList: true}); return seen; }"""
    )
    say(page, "What is the capital of France?")
    answer = page.locator(".message.assistant .text").nth(-1)
    expect(answer).to_contain_text("Paris", timeout=SOON)
    expect(chat.get_by_role("status")).to_contain_text("tokens/s", timeout=SOON)
    assert lengths.evaluate("seen => seen.size") > 2, "it came in one piece"
    say(page, "And of Germany?")
    expect(page.locator(".message.assistant")).to_have_count(2, timeout=SOON)
    expect(chat.get_by_role("status")).to_contain_text("tokens/s", timeout=SOON)
    sent = list(real.platform.queues.endpoints["chat"].jobs.values())[-1].order.input[
        "openai_input"
    ]
    roles = [message["role"] for message in sent["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert sent["temperature"] == 0
    picture("playground-chat", page)
    chat.get_by_role("button", name="Clear").click()
    expect(page.locator(".message")).to_have_count(0)


@needs("SmolLM2_135M_Instruct")
def test_chat_keeps_a_schema_and_calls_functions(real, open_page):
    page = open_page(real.url)
    chat = tab(page, "Chat")
    chat.get_by_label("Response format").select_option("json_schema")
    say(page, "Ada is 36. Who is it?")
    done = chat.get_by_role("status")
    expect(done).to_contain_text("tokens/s", timeout=SOON)
    said = json.loads(page.locator(".message.assistant .text").nth(-1).inner_text())
    assert set(said) == {"name", "age"}

    chat.get_by_role("button", name="Clear").click()
    chat.get_by_label("Response format").select_option("text")
    chat.get_by_label("Tools").check()
    chat.get_by_label("Tool choice", exact=True).select_option("required")
    say(page, "How warm is it in Oslo?")
    called = chat.get_by_label("Tool calls")
    expect(called).to_contain_text("weather(", timeout=SOON)
    chat.get_by_label("Result of weather").first.fill("12 degrees")
    chat.get_by_label("Tool choice", exact=True).select_option("auto")
    chat.get_by_label("Stream").uncheck()
    chat.get_by_role("button", name="Submit results").first.click()
    expect(page.locator(".message.assistant")).to_have_count(2, timeout=SOON)
    expect(page.locator(".message.tool")).to_contain_text("12 degrees")


@needs("SmolLM2_135M_Instruct")
def test_what_is_refused_is_said_with_its_code(real, open_page):
    page = open_page(real.url, silent=False)  # the browser itself tells of an answer that is 400
    chat = tab(page, "Chat")
    chat.get_by_label("Response format").select_option("json_schema")
    chat.get_by_label("Schema").fill("{")
    say(page, "Hello")
    trouble = chat.get_by_role("alert")
    expect(trouble).to_contain_text("Invalid JSON", timeout=SOON)
    expect(chat.get_by_label("Schema")).to_be_focused()
    chat.get_by_label("Schema").fill('{"type": "string", "pattern": "(?=a)"}')
    say(page, "Hello")
    expect(trouble).to_contain_text("unsupported_schema", timeout=SOON)


def test_stopping_ends_the_job(fakes, open_page):
    page = open_page(fakes.url)
    chat = begin_long_answer(page)
    chat.get_by_role("button", name="Stop").click()
    expect(chat.get_by_role("status")).to_have_text("Stopped.")
    jobs = fakes.platform.queues.endpoints["chat"].jobs
    wait_until(lambda: list(jobs.values())[-1].status == "CANCELLED")
    expect(chat.get_by_role("button", name="Send")).to_be_enabled()


def test_a_conversation_that_is_cleared_stays_clear(fakes, open_page):
    page = open_page(fakes.url)
    chat = begin_long_answer(page)
    chat.get_by_role("button", name="Clear").click()
    expect(page.locator(".message")).to_have_count(0)
    say(page, "Hi")
    expect(page.locator(".message.assistant .text")).to_have_text("Hi")
    sent = list(fakes.platform.queues.endpoints["chat"].jobs.values())[-1].order.input
    assert sent["openai_input"]["messages"] == [{"role": "user", "content": "Hi"}]


def test_a_video_plays(real, open_page):
    page = open_page(real.url)
    images = tab(page, "Images")
    expect(images.get_by_label("Prompt", exact=True)).to_be_visible(timeout=SOON)
    images.get_by_label("Model", exact=True).select_option("Tiny_Ltx2")
    expect(images.get_by_label("Frames", exact=True)).to_be_visible()
    expect(images.get_by_label("Negative prompt")).to_have_count(0)
    images.get_by_label("Frames", exact=True).fill("9")
    images.get_by_role("button", name="Generate").click()
    video = images.locator("figure video")
    expect(video).to_be_visible(timeout=SOON)
    wait_until(lambda: video.evaluate("one => [one.videoWidth, one.videoHeight]") == [96, 64])


def test_pictures_with_previews_and_image_to_image(real, open_page):
    page = open_page(real.url)
    images = tab(page, "Images")
    expect(images.get_by_label("Prompt", exact=True)).to_have_value(
        "A red fox in the snow", timeout=SOON
    )
    seen = page.evaluate_handle(
        """() => { const seen = new Set(); new MutationObserver(() => {
            for (const one of document.querySelectorAll('figure img')) seen.add(one.alt);
        }).observe(document.body, {subtree: true, childList: true}); return seen; }"""
    )
    images.get_by_text("More settings").click()
    images.get_by_label("Seed").fill("7")
    images.get_by_role("button", name="Generate").click()
    made = images.locator("figure")
    expect(made).to_contain_text("128x128 · seed 7", timeout=SOON)
    assert seen.evaluate("seen => [...seen].sort()") == ["A red fox in the snow", "Preview"]
    content = saved(page, made.get_by_role("button", name="Download"))
    assert Image.open(io.BytesIO(content)).size == (128, 128)

    made.get_by_role("button", name="Use as input").click()
    images.get_by_label("Strength").fill("0.5")
    images.get_by_role("button", name="Generate").click()
    expect(images.locator("figure")).to_have_count(2)
    expect(images.locator("figure").first).to_contain_text("seed 7", timeout=SOON)
    sent = list(real.platform.queues.endpoints["images"].jobs.values())[-1].order.input
    assert sent["openai_route"] == "/v1/images/edits"
    assert sent["openai_input"]["strength"] == 0.5


def test_jobs_tell_how_far_they_are(real, open_page):
    page = open_page(f"{real.url}/#jobs")
    job_id = real.run(
        "images",
        {"prompt": "A fox", "steps": 100, "size": "1024x1024", "n": 4, "model": "Tiny_Flux"},
    )
    row = page.get_by_role("row").filter(has_text=job_id[:8])
    expect(row).to_contain_text(re.compile(r"running: \d+ of 400 steps"), timeout=SOON)
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_contain_text("cancelled")


@needs("RealESRGAN_x4_Anime")
def test_the_fields_are_those_that_the_model_honours(real, open_page):
    page = open_page(real.url)
    images = tab(page, "Images")
    expect(images.get_by_label("Prompt", exact=True)).to_be_visible(timeout=SOON)
    expect(images.get_by_label("Scale")).to_have_count(0)
    images.get_by_label("Model", exact=True).select_option("SDXL")
    images.get_by_text("More settings").click()
    expect(images.get_by_label("Scheduler")).to_be_visible()
    images.get_by_label("Model", exact=True).select_option("RealESRGAN_x4_Anime")
    expect(images.get_by_label("Scale")).to_be_visible()
    expect(images.get_by_label("Prompt", exact=True)).to_have_count(0)
    expect(images.get_by_label("Mask")).to_be_hidden()

    drawing = base64.b64encode(example("upscale", "image")).decode()
    drop = images.locator(".drop").first
    transfer = page.evaluate_handle(
        """(content) => { const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], 'drawing.png', {type: 'image/png'})); return data; }""",
        drawing,
    )
    drop.dispatch_event("drop", {"dataTransfer": transfer})
    expect(drop).to_contain_text("drawing.png")
    images.get_by_label("Scale").fill("2")
    images.get_by_role("button", name="Generate").click()
    width, height = Image.open(io.BytesIO(example("upscale", "image"))).size
    expect(images.locator("figure")).to_contain_text(f"{2 * width}x{2 * height}", timeout=SOON)


@needs("Whisper_Base")
def test_a_transcript_is_marked_as_it_plays_and_saved(real, open_page):
    page = open_page(real.url)
    transcribe = tab(page, "Transcribe")
    expect(transcribe.get_by_label("Response format")).to_have_value("verbose_json", timeout=SOON)
    give_speech(transcribe)
    transcribe.get_by_role("button", name="Transcribe").click()
    words = transcribe.locator("ol.transcript .text span")
    expect(words.first).to_have_text("And ", timeout=SOON)
    assert words.count() > 5
    page.locator("audio").evaluate("audio => audio.play()")
    expect(transcribe.locator(".now").first).to_be_visible()
    subtitles = saved(page, transcribe.get_by_role("button", name="Download srt")).decode()
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:\d\d,\d{3}\nAnd ", subtitles)
    assert saved(page, transcribe.get_by_role("button", name="Download vtt")).startswith(
        b"WEBVTT\n\n00:00"
    )
    assert b"John Dashwood" in saved(page, transcribe.get_by_role("button", name="Download txt"))
    assert json.loads(saved(page, transcribe.get_by_role("button", name="Download json")))["words"]

    transcribe.get_by_label("Stream the text only").check()
    transcribe.get_by_role("button", name="Transcribe").click()
    expect(transcribe.locator("p.transcript")).to_contain_text("John Dashwood", timeout=SOON)


@needs("Whisper_Base")
def test_a_recording_and_an_address(real, open_page):
    page = open_page(real.url, silent=False)
    transcribe = tab(page, "Transcribe")
    expect(transcribe.get_by_label("Response format")).to_have_value("verbose_json", timeout=SOON)
    transcribe.get_by_role("button", name="Transcribe").click()
    expect(transcribe.get_by_role("alert")).to_contain_text("Choose a file")
    transcribe.get_by_label("Or a URL").fill(f"{real.url}/sound.ogg")
    transcribe.get_by_role("button", name="Transcribe").click()
    expect(transcribe.get_by_role("alert")).to_contain_text("media_address_forbidden", timeout=SOON)
    transcribe.get_by_role("button", name="Record").click()
    page.wait_for_timeout(1500)
    transcribe.get_by_role("button", name="Stop recording").click()
    expect(transcribe.locator(".files")).to_contain_text(re.compile(r"recording-\d+\.webm"))
    transcribe.get_by_role("button", name="Transcribe").click()
    expect(transcribe.get_by_role("button", name="Download json")).to_be_visible(timeout=SOON)


@needs("Hibari_Heart")
def test_a_text_is_spoken_played_and_saved(real, open_page):
    page = open_page(real.url)
    speech = tab(page, "Speech")
    expect(speech.get_by_label("Voice", exact=True)).to_be_visible(timeout=SOON)
    speech.get_by_label("Text", exact=True).fill("Hello there.")
    speech.get_by_label("Format", exact=True).select_option("wav")
    speech.get_by_role("button", name="Speak").click()
    expect(speech.locator("audio")).to_have_count(1, timeout=SOON)
    duration = speech.locator("audio").evaluate(
        "audio => new Promise((done) => { audio.onloadedmetadata = () => done(audio.duration); "
        "if (audio.readyState) done(audio.duration); })"
    )
    assert 0.4 < duration < 1.6
    assert saved(page, speech.get_by_role("button", name="Download"))[:4] == b"RIFF"


def test_songs_are_made_played_and_saved(real, open_page):
    """A stand-in makes them here, which their notice says."""
    page = open_page(real.url)
    music = tab(page, "Music")
    expect(music.get_by_label("Caption", exact=True)).to_be_visible(timeout=SOON)
    music.get_by_label("Caption", exact=True).fill("A bell")
    music.get_by_label("Duration", exact=True).fill("10")
    music.get_by_label("Format", exact=True).select_option("wav")
    music.get_by_text("More").first.click()
    music.get_by_label("Number of songs", exact=True).fill("2")
    music.get_by_label("Steps", exact=True).fill("1")
    expect(music.get_by_label("Guidance", exact=True)).to_have_count(0)
    music.get_by_role("button", name="Compose").click()
    expect(music.locator("audio")).to_have_count(2, timeout=SOON)
    duration = music.locator("audio").first.evaluate(
        "audio => new Promise((done) => { audio.onloadedmetadata = () => done(audio.duration); "
        "if (audio.readyState) done(audio.duration); })"
    )
    assert 9.99 < duration < 10.01
    expect(music.get_by_text("random weights").first).to_be_visible()
    assert saved(page, music.get_by_role("button", name="Download").first)[:4] == b"RIFF"


@needs("All_MiniLM_L6_v2")
def test_similarity_and_rank(real, open_page):
    page = open_page(real.url)
    tab(page, "Embeddings")
    similarity, rank = (
        page.get_by_role("region", name="Similarity", exact=True).first,
        page.locator("section[aria-label=Rank]"),
    )
    similarity.get_by_label("Texts").fill(
        "A fox is a small canid.\n\nFoxes are small dogs.\nInterest rates rose."
    )
    similarity.get_by_role("button", name="Compare").click()
    rows = page.locator(".matrix tbody tr")
    expect(rows).to_have_count(3, timeout=SOON)
    cosines = [[float(one) for one in row.locator("td").all_inner_texts()] for row in rows.all()]
    assert [cosines[i][i] for i in range(3)] == [1.0] * 3
    assert cosines[0][1] == cosines[1][0] > 0.5 > cosines[0][2]
    expect(rank.get_by_label("Query")).to_be_visible()
    rank.get_by_label("Top n").fill("2")
    rank.get_by_role("button", name="Rank").click()
    expect(rank.locator(".ranked li")).to_have_count(2, timeout=SOON)
    expect(rank.locator(".ranked li").first).to_contain_text("ox")
