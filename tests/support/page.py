"""The page in a browser."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

playwright = pytest.importorskip("playwright.sync_api")


expect = playwright.expect


SOON = 60_000  # a model may have to be loaded first


def example(name: str, field: str) -> bytes:
    body = json.loads((ROOT / "examples" / f"{name}.json").read_text())["input"]
    return base64.b64decode(body.get("openai_input", body)[field].partition(",")[2])


def tab(page: Any, name: str) -> Any:
    page.get_by_role("tab", name=name, exact=True).click()
    return page.get_by_role("tabpanel", name=name)


def say(page: Any, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")


def give_speech(panel: Any, name: str = "speech.ogg") -> None:
    """Choose the example's recording, under a name."""
    content = example("transcribe", "audioUrl")
    file = {"name": name, "mimeType": "audio/ogg", "buffer": content}
    panel.get_by_label("Audio or video").set_input_files(file)


def picture(name: str, page: Any) -> None:
    """The pictures of the README, where they are asked for."""
    if folder := os.environ.get("PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png")
