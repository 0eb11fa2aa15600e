"""Audio made to break the worker: each file is read or refused by name, and none leaves a trace."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.transcribe import audio, speech
from models.transcribe.audio import RATE_HZ
from models.transcribe.samples import Samples
from tests.models.test_speakers import children
from tests.models.test_transcribe import CODECS, convert, write

CODES = {
    "media_undecodable",
    "media_empty",
    "media_no_audio",
    "media_too_long",
    "media_decode_timeout",
}
SECONDS, LIMIT_S = 4, 60
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A few seconds of a siren, in every format."""
    folder = tmp_path_factory.mktemp("whole")
    phase = np.cumsum(300 + 200 * np.sin(np.arange(SECONDS * RATE_HZ) / 4000)) / RATE_HZ
    source = write(folder / "source.wav", 9000 * np.sin(2 * np.pi * phase))
    made = {}
    for suffix, codec in CODECS:
        rate = 48000 if codec == "libopus" else 44100
        made[suffix] = convert(source, folder / f"siren.{suffix}", codec, rate).read_bytes()
    return made


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After a test no process, no file and no descriptor is left of it."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    gc.collect()  # what an earlier test has left
    processes, descriptors = set(children()), len(os.listdir("/proc/self/fd"))
    yield
    assert set(children()) <= processes
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert list(scratch.iterdir()) == []


def mutated(content: bytes, chance: random.Random) -> bytes:
    """One kind of damage, or several."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        at, length = chance.randrange(len(data)), chance.randint(1, 400)
        kind = chance.choice(("flip", "noise", "delete", "repeat", "cut", "header"))
        if kind == "flip":
            data[at] ^= 1 << chance.randrange(8)
        elif kind == "noise":
            data[at : at + length] = chance.randbytes(length)
        elif kind == "delete":
            del data[at : at + length]
        elif kind == "repeat":
            data[at:at] = data[at : at + length] * chance.randint(1, 20)
        elif kind == "cut":
            del data[max(1, at) :]
        else:
            data[chance.randrange(min(64, len(data)))] = chance.randrange(256)
        if not data:
            return b""
    return bytes(data)


async def outcome(path: Path) -> str:
    """What becomes of a file: a code, or that it is read."""
    try:
        decoded = await audio.decode(path, 30, LIMIT_S)
    except audio.Undecodable as error:
        return error.code
    assert 0 < decoded.duration_s <= LIMIT_S
    assert decoded.samples[:].dtype == np.int16
    assert sum(length for _, length in decoded.damaged) <= decoded.duration_s + 0.1
    assert all(0 <= start <= decoded.duration_s for start, _ in decoded.damaged)
    return "read"


def outcomes(paths: list[Path]) -> list[str]:
    """Two at once."""

    async def every() -> list[str]:
        free = asyncio.Semaphore(2)

        async def one(path: Path) -> str:
            async with free:
                return await outcome(path)

        return await asyncio.gather(*map(one, paths))

    return asyncio.run(every())


def damaged_files(whole: dict[str, bytes], folder: Path, each: int) -> list[Path]:
    made = []
    for suffix, content in whole.items():
        chance = random.Random(suffix)
        for number in range(each):
            made.append(folder / f"{number}.{suffix}")
            made[-1].write_bytes(mutated(content, chance))
    return made


def test_damaged_files_are_read_or_refused(whole, tmp_path, traces):
    ends = outcomes(damaged_files(whole, tmp_path, 3))
    assert set(ends) <= {"read", *CODES}
    assert "read" in ends  # most damage is not the end of a file


@pytest.mark.slow
def test_three_hundred_damaged_files_are_read_or_refused(whole, tmp_path, traces):
    ends = outcomes(damaged_files(whole, tmp_path, 43))
    assert len(ends) == 301
    assert set(ends) <= {"read", *CODES}
    assert {"read", "media_undecodable"} <= set(ends)
    assert ends.count("media_decode_timeout") == 0


def test_every_beginning_of_a_file_is_read_or_refused(whole, tmp_path, traces):
    paths = []
    for suffix, content in whole.items():
        for share in (0.02, 0.5, 0.98):
            paths.append(tmp_path / f"{share}.{suffix}")
            paths[-1].write_bytes(content[: int(len(content) * share)])
    assert set(outcomes(paths)) <= {"read", *CODES}


def silent_flac(path: Path, minutes: int) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=8000, layout="mono")
        for _ in range(minutes):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * 60), np.int16), "s16", "mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_small_file_of_many_hours_is_refused_before_it_fills_the_disk(tmp_path, traces):
    bomb = silent_flac(tmp_path / "bomb.flac", 240)
    assert bomb.stat().st_size < 240 * 60 * RATE_HZ * 2 / 100
    written: list[int] = []

    async def ask() -> str:
        asked = asyncio.create_task(outcome(bomb))
        while not asked.done():
            written.append(sum(os.stat(one).st_blocks for one in spools()))
            await asyncio.sleep(0.005)
        return await asked

    start = time.monotonic()
    assert asyncio.run(ask()) == "media_too_long"
    assert time.monotonic() - start < 10
    assert max(written) * 512 <= (LIMIT_S + 60) * RATE_HZ * 2


def spools() -> list[str]:
    """The files without a name that this process holds open."""
    held = (f"/proc/self/fd/{one}" for one in os.listdir("/proc/self/fd"))
    found = []
    for one in held:
        try:
            if "(deleted)" in os.readlink(one):
                found.append(one)
        except OSError:
            continue
    return found


def test_a_file_that_says_it_is_endless_is_as_long_as_it_is(whole, tmp_path, traces):
    """A wav of 4 GB by its header, as streams have it."""
    content = bytearray(whole["wav"])
    at = content.index(b"data") + 4
    content[4:8] = content[at : at + 4] = b"\xff\xff\xff\xff"
    path = tmp_path / "endless.wav"
    path.write_bytes(content)
    decoded = asyncio.run(audio.decode(path, 30, LIMIT_S))
    assert decoded.duration_s == pytest.approx(SECONDS, abs=0.1)


def looked_through(path: Path) -> tuple[float, int]:
    """Seconds of audio, and the peak of what is allocated to find speech in it, in bytes."""
    decoded = asyncio.run(audio.decode(path, 120, 12 * 3600))
    tracemalloc.start()
    try:
        assert speech.spans(Samples(decoded.samples), speech.VadOptions()) == []
        return decoded.duration_s, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_long_file_is_never_in_memory_as_a_whole(tmp_path):
    seconds, peak_bytes = looked_through(silent_flac(tmp_path / "long.flac", 20))
    assert seconds == 1200
    assert peak_bytes < seconds * RATE_HZ * 4 / 2  # half of it as floats


@pytest.mark.slow
def test_an_hour_takes_no_more_than_some_minutes(tmp_path):
    few = looked_through(silent_flac(tmp_path / "minutes.flac", 12))[1]
    hour = looked_through(silent_flac(tmp_path / "hour.flac", 60))[1]
    print(f"peak of allocations: {few / 1e6:.1f} MB, and {hour / 1e6:.1f} MB of an hour")
    assert hour < few + 5e6


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_hours_take_no_more_memory_than_a_minute():
    from benchmarks.transcribe import peak

    minute, long = peak(1 / 60), peak(10)
    print(f"peak of the process: {minute / 1e6:.0f} MB, and {long / 1e6:.0f} MB of ten hours")
    assert long < minute + 150e6
