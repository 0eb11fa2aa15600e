"""The corpus of hostile bytes, and some changes of it: nothing breaks, and nothing elsewhere is opened."""

from __future__ import annotations

import random
import threading
import warnings
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest

from benchmarks.fuzz.corpus import CORPUS, seeds
from benchmarks.fuzz.mutation import change_bytes, change_json
from benchmarks.fuzz.targets import TARGETS, Target, TooSlow, fed
from models.errors import QuartetError
from models.pictures.decoding import decode as decode_picture
from models.transcribe.audio.decoding import Undecodable, decode

FAST = sorted(set(TARGETS) - {"audio", "adapter"})
RUNS = 150


@pytest.fixture(autouse=True)
def quiet():
    """What Pillow says of damaged pictures; a worker does not show it either."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@pytest.mark.parametrize("name", FAST)
def test_the_corpus_and_changes_of_it_break_nothing(name):
    pool, chance = seeds(name), random.Random(1)
    with fed(TARGETS[name]) as feed:
        for content in pool:
            feed(content)
        for _ in range(RUNS):
            feed(TARGETS[name].change(chance.choice(pool), chance))


def test_recordings_of_the_corpus_are_decoded():
    with fed(TARGETS["audio"]) as feed:
        for content in seeds("audio"):
            feed(content)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["audio", "adapter"])
def test_changes_of_what_is_dear_break_nothing(name):
    pool, chance = seeds(name), random.Random(1)
    changes = [TARGETS[name].change(chance.choice(pool), chance) for _ in range(200)]
    with fed(TARGETS[name]) as feed:
        for content in [*pool, *changes]:
            feed(content)


@pytest.mark.parametrize("name", sorted(path.name for path in (CORPUS / "pointers").iterdir()))
def test_what_points_elsewhere_opens_nothing(name, tmp_path):
    """Playlists and lists of files, which FFmpeg would follow."""
    asked = []

    class Inside(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Inside) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_address[1]).encode()
        content = (CORPUS / "pointers" / name).read_bytes().replace(b"PORT", port)
        path = Path(tmp_path / name)
        path.write_bytes(content)
        with pytest.raises(Undecodable):
            anyio.run(decode, path, 20, 60)
        with pytest.raises(QuartetError):
            decode_picture(content)
        server.shutdown()
    assert asked == []


def test_a_target_that_is_too_slow_is_caught():
    slow = lambda _: threading.Event().wait(0.05)  # noqa: E731
    with fed(Target(lambda: nullcontext(slow), seconds=0.01)) as feed, pytest.raises(TooSlow):
        feed(b"")


@pytest.mark.parametrize("change", [change_bytes, change_json])
def test_changes_are_a_function_of_the_seed_and_differ(change):
    content = seeds("chat")[0]
    made = [change(content, random.Random(n)) for n in range(50)]
    assert made == [change(content, random.Random(n)) for n in range(50)]
    assert len(set(made)) > 30


def test_every_target_has_a_corpus_of_small_files():
    assert {path.name for path in CORPUS.iterdir()} == {*TARGETS, "pointers"}
    assert all(path.stat().st_size < 100_000 for path in CORPUS.rglob("*") if path.is_file())
