"""The page in a real browser: Debian's Chromium, driven by Playwright.

A page that asks anybody but its own server, or says an error on its console, fails its test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.running import Local, run_local, serve_worker

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# As a container's root it has no sandbox of its own; its own servers are not to be asked.
_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium, or set CHROMIUM to its path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def real(chromium: Any) -> Iterator[Local]:
    """The platform, with the small models that a laptop has."""
    with run_local(1, FAKE_ENGINES="") as local:
        yield local


@pytest.fixture(scope="session")
def fakes(chromium: Any) -> Iterator[Local]:
    """The platform, with engines that take 20 ms a step and say what they are told."""
    with run_local(1, FAKE_DELAY_S="0.02") as local:
        yield local


@pytest.fixture(scope="session")
def worker(chromium: Any) -> Iterator[str]:
    """A worker that serves by itself; lends its address."""
    with serve_worker(PLAYGROUND="1") as url:
        yield url


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address in a browser of its own, and watches over what it does."""
    contexts, troubles = [], []

    def open_at(url: str, *, silent: bool = True, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write", "microphone"])
        page = context.new_page()
        page.set_default_timeout(30_000)
        own = url.split("/")[2]

        def foreign(request: Any) -> None:
            if not request.url.startswith(("blob:", "data:")) and request.url.split("/")[2] != own:
                troubles.append(f"it asks {request.url}")

        def said(message: Any) -> None:
            if silent and message.type in {"error", "warning"}:
                troubles.append(f"console: {message.text}")

        page.on("request", foreign)
        page.on("websocket", lambda socket: troubles.append(f"it asks {socket.url}"))
        page.on("console", said)
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (troubles.append("a dialog"), dialog.dismiss()))
        page.goto(url)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert troubles == []
