"""Audio made to break the worker, through the worker: errors by code and name, and no trace."""

from __future__ import annotations

import asyncio
import base64
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from benchmarks.sounds import silence
from tests.conftest import decoded, error_of
from tests.support.children import children
from tests.support.hostile_sounds import flac_of_large_frames, nothing_left, silent_flac
from tests.support.servers import serve
from tests.support.sounds import WHISPER, write

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc"),
]


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where files of jobs go, and are gone from afterwards, as are processes."""
    with nothing_left(tmp_path / "temp", monkeypatch) as folder:
        yield folder


@pytest.fixture
def worker(
    make_worker: Callable[..., Any],
    load: Callable[..., Any],
    temp: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """One that decodes as it does for clients; its model is tiny, as is the disk that it takes."""
    monkeypatch.setattr("models.transcribe.whisper.engine.FasterWhisper.limit_s", 3600.0)
    made = make_worker(FAKE_ENGINES="0", SURFACE="transcribe", MODEL_SLUG="Tiny_Whisper",
                       MEDIA_PRIVATE_HOSTS="127.0.0.1", MEDIA_TIMEOUT_S="5")  # fmt: skip
    made.dispatcher.pool._load = lambda _: load(WHISPER)
    return made


async def told(worker: Any, body: dict[str, Any]) -> Any:
    """The one thing that comes of a job."""
    if body["stream"]:
        [output] = [event async for event in worker.stream({"input": body})]
        return output
    return decoded(await worker.answer({"input": body}))


def data_uri(path: Path) -> str:
    return "data:audio/wav;base64," + base64.b64encode(path.read_bytes()).decode()


def raw(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def hostile(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files, and the code of each."""
    return {
        "a page": (raw(folder / "a", b"<!doctype html>"), "media_undecodable"),
        "a playlist": (raw(folder / "b", b"#EXTM3U\nfile:///etc/passwd\n"), "media_undecodable"),
        "a list": (raw(folder / "c", b"ffconcat version 1.0\nfile /a\n"), "media_undecodable"),
        "no samples": (write(folder / "d", silence(0)), "media_empty"),
        "a frame of hours": (flac_of_large_frames(folder / "e", 1), "media_undecodable"),
    }


@pytest.mark.parametrize("field", ["audioUrl", "video_url"])
@pytest.mark.parametrize("stream", [False, True])
async def test_each_file_is_refused_by_the_clients_name(worker, tmp_path, caplog, field, stream):
    for name, (path, code) in hostile(tmp_path).items():
        error = error_of(await told(worker, {field: data_uri(path), "stream": stream}))
        kind = error["code"], error["type"], error["param"]
        assert kind == (code, "invalid_request_error", field), name
        assert str(tmp_path) not in error["message"]
    assert not [one for one in caplog.records if one.exc_info or one.levelno >= logging.ERROR]


async def test_a_job_that_is_cancelled_while_it_is_decoded_leaves_nothing(worker, temp, tmp_path):
    """As when its client goes away."""
    body = {"audioUrl": data_uri(silent_flac(tmp_path / "hours.flac", 120))}
    before = set(children())
    asked = asyncio.create_task(worker.answer({"input": body}))
    while not decoding(before):
        assert not asked.done()
        await asyncio.sleep(0.002)
    assert len(list(temp.iterdir())) == 1
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert decoding(before) == []


def decoding(before: set[str]) -> list[str]:
    """Processes that decode."""
    found = []
    for pid in set(children()) - before:
        with suppress(OSError):
            if "models.transcribe.audio.decoding" in Path(f"/proc/{pid}/cmdline").read_text():
                found.append(pid)
    return found


class Site:
    """A host whose recording never ends: a WAV of silence that says it has 4 GB.

    Attributes:
        url: where it is.
        sent_bytes: how much it was rid of.
        left: set once the worker has hung up.
    """

    def __init__(self) -> None:
        self.url = ""
        self.sent_bytes = 0
        self.left = threading.Event()

    async def file(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/wav"})
        await response.prepare(request)
        header = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data"
        try:
            await response.write(header + b"\xff\xff\xff\xff")
            while self.sent_bytes < 200_000_000:
                await response.write(bytes(100_000))
                self.sent_bytes += 100_000
        except ConnectionError:
            self.left.set()
        return response


@pytest.fixture
def site() -> Iterator[Site]:
    one, application = Site(), web.Application()
    application.router.add_get("/", one.file)
    with serve(application) as url:
        one.url = url + "/"
        yield one


@pytest.mark.parametrize("stream", [False, True])
async def test_an_endless_recording_is_taken_no_further_than_the_limit(
    worker, site, monkeypatch, stream
):
    """With the engine that would decode it; the host hears that nobody listens any more."""
    monkeypatch.setattr("handler.contract.transcribe.transcribe.AUDIO_LIMIT_BYTES", 3_000_000)
    before = set(children())
    error = error_of(await told(worker, {"audioUrl": site.url, "stream": stream}))
    assert await asyncio.to_thread(site.left.wait, 10)
    assert (error["code"], error["param"]) == ("media_too_large", "audioUrl")
    assert site.sent_bytes < 50_000_000  # the rest is in buffers of sockets
    assert decoding(before) == []
