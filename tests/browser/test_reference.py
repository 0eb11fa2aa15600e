"""The page of the worker's routes, as a reader sees it."""

from __future__ import annotations

import os
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe

from tests.support.page import expect


def test_the_routes_are_on_a_page(worker, open_page):
    page = open_page(f"{worker}/docs")
    route = page.get_by_role("region", name="createChatCompletion", exact=True)
    expect(route.get_by_role("heading")).to_have_text("POST /v1/chat/completions")
    expect(route.locator("pre")).to_contain_text(f"curl '{worker}/v1/chat/completions'")
    route.get_by_text("application/json: ChatRequest").click()
    fields = route.get_by_role("group", name="Fields")
    row = fields.get_by_role("row").filter(has_text="temperature")
    expect(row).to_contain_text("number, ≥ 0, ≤ 2")
    fields.get_by_role("link", name="StreamOptions").click()
    expect(page.get_by_role("region", name="StreamOptions", exact=True)).to_be_in_viewport()
    route.get_by_text("Answers", exact=True).click()
    expect(route.get_by_role("group", name="Answers")).to_contain_text("text/event-stream")
    assert Axe().run(page).response["violations"] == []
    if folder := os.environ.get("PICTURES"):
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=Path(folder) / "reference.png")


def test_a_narrow_page_does_not_scroll_sideways(worker, open_page):
    page = open_page(f"{worker}/docs")
    page.set_viewport_size({"width": 360, "height": 800})
    page.get_by_text("application/json: ChatRequest").first.click()
    expect(page.locator("section.route").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
