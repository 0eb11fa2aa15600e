"""The corpus of hostile bytes, and some changes of it: nothing breaks, and nothing elsewhere is opened."""

from __future__ import annotations

import json
import random
import threading
import warnings
from contextlib import nullcontext, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest

from benchmarks.fuzz import files, weights
from benchmarks.fuzz.corpus import CORPUS, seeds
from benchmarks.fuzz.mutation import change_bytes, change_json
from benchmarks.fuzz.targets import TARGETS, Target, TooLarge, TooSlow, fed
from benchmarks.fuzz.tensors import change_peft, change_tensors
from models.errors import QuartetError
from models.pictures.decoding import decode as decode_picture
from models.transcribe.audio.decoding import Undecodable, decode

FAST = sorted(set(TARGETS) - {"adapter"})  # which loads a model
RUNS = 150
# With all that is around it in a worker: a child process, a picture.
WHOLE = {
    "audio": Target(files.recording, seconds=30),
    "adapter": Target(weights.adapter_of_a_picture, change_tensors, seconds=30),
}


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
    with fed(WHOLE["audio"]) as feed:
        for content in seeds("audio"):
            feed(content)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", WHOLE)
def test_changes_of_what_is_dear_break_nothing(name):
    pool, chance = seeds(name), random.Random(1)
    changes = [WHOLE[name].change(chance.choice(pool), chance) for _ in range(200)]
    with fed(WHOLE[name]) as feed:
        for content in [*pool, *changes]:
            feed(content)


@pytest.mark.slow
def test_adapters_of_the_corpus_and_changes_of_them_break_nothing():
    pool, chance = seeds("adapter"), random.Random(1)
    with fed(TARGETS["adapter"]) as feed:
        for content in [*pool, *(change_tensors(chance.choice(pool), chance) for _ in range(RUNS))]:
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


def test_a_target_that_takes_too_much_memory_is_caught():
    def hungry(_: bytes) -> None:
        threading.Event().wait(0.03)
        bytearray(400_000_000)[::4096] = bytes(range(256)) * 381 + bytes(121)

    with fed(Target(lambda: nullcontext(hungry), megabytes=100)) as feed, pytest.raises(TooLarge):
        feed(b"")


@pytest.mark.parametrize(
    ("change", "name"), [(change_tensors, "safetensors"), (change_peft, "peft")]
)
def test_most_changes_of_tensors_have_a_header_that_can_be_read(change, name):
    content, read = seeds(name)[-1], 0
    for number in range(200):
        changed = change(content, random.Random(number))
        data = changed.partition(b"\n")[2] if name == "peft" else changed
        with suppress(ValueError):
            read += isinstance(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]), dict)
    assert read > 120


@pytest.mark.parametrize("change", [change_bytes, change_json])
def test_changes_are_a_function_of_the_seed_and_differ(change):
    content = seeds("chat")[0]
    made = [change(content, random.Random(n)) for n in range(50)]
    assert made == [change(content, random.Random(n)) for n in range(50)]
    assert len(set(made)) > 30


def test_every_target_has_a_corpus_of_small_files():
    assert {path.name for path in CORPUS.iterdir()} == {*TARGETS, "pointers"}
    assert all(path.stat().st_size < 100_000 for path in CORPUS.rglob("*") if path.is_file())
