"""Audio made to break the worker: each file is read or refused by name, and none leaves a trace."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.transcribe.audio import decoding, voice_activity
from models.transcribe.audio.decoding import RATE_HZ
from models.transcribe.audio.samples import Samples
from models.transcribe.whisper import engine
from tests.conftest import ROOT
from tests.support.hostile_sounds import flac_of_large_frames, nothing_left, silent_flac
from tests.support.sounds import CODECS, convert, write

CODES = {
    "media_undecodable",
    "media_empty",
    "media_no_audio",
    "media_too_long",
    "media_decode_timeout",
}
SECONDS, LIMIT_S = 4, 60
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


def siren(path: Path) -> Path:
    phase = np.cumsum(300 + 200 * np.sin(np.arange(SECONDS * RATE_HZ) / 4000)) / RATE_HZ
    return write(path, 9000 * np.sin(2 * np.pi * phase))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A few seconds of a siren, in every format."""
    folder = tmp_path_factory.mktemp("whole")
    source = siren(folder / "source.wav")
    made = {}
    for suffix, codec in CODECS:
        rate = 48000 if codec == "libopus" else 44100
        made[suffix] = convert(source, folder / f"siren.{suffix}", codec, rate).read_bytes()
    return made


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After a test no process, no file and no descriptor is left of it."""
    with nothing_left(tmp_path / "scratch", monkeypatch):
        descriptors = len(os.listdir("/proc/self/fd"))
        yield
    assert len(os.listdir("/proc/self/fd")) <= descriptors


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
    """What becomes of a file: a code, or that it is read, with what is said of damage or without.

    No damage makes it much longer: what is repeated is some kilobytes.
    """
    try:
        decoded = await decoding.decode(path, 30, LIMIT_S)
    except decoding.Undecodable as error:
        return error.code
    assert 0 < decoded.duration_s <= 1.5 * SECONDS
    assert decoded.samples[:].dtype == np.int16
    assert sum(length for _, length in decoded.damaged) <= decoded.duration_s + 0.1
    assert all(0 <= start <= decoded.duration_s for start, _ in decoded.damaged)
    return "read" if not decoded.damaged and decoded.declared_s is None else "damaged"


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
    assert set(ends) <= {"read", "damaged", *CODES}
    assert {"read", "damaged"} <= set(ends)  # most damage is not the end of a file


@pytest.mark.slow
def test_three_hundred_damaged_files_are_read_or_refused(whole, tmp_path, traces):
    ends = outcomes(damaged_files(whole, tmp_path, 43))
    assert len(ends) == 301
    print({end: ends.count(end) for end in sorted(set(ends))})
    assert set(ends) <= {"read", "damaged", *CODES}
    assert {"read", "damaged", "media_undecodable"} <= set(ends)
    assert ends.count("media_decode_timeout") == 0


def test_every_beginning_of_a_file_is_read_or_refused(whole, tmp_path, traces):
    paths = []
    for suffix, content in whole.items():
        for share in (0.02, 0.5, 0.98):
            paths.append(tmp_path / f"{share}.{suffix}")
            paths[-1].write_bytes(content[: int(len(content) * share)])
    ends = outcomes(paths)
    assert set(ends) <= {"read", "damaged", *CODES}
    assert "damaged" in ends


# Long files --------------------------------------------------------------------------------------


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
    decoded = asyncio.run(decoding.decode(path, 30, LIMIT_S))
    assert decoded.duration_s == pytest.approx(SECONDS, abs=0.1)


def looked_through(path: Path) -> tuple[float, int]:
    """Seconds of audio, and the peak of what is allocated to find speech in it, in bytes."""
    decoded = asyncio.run(decoding.decode(path, 120, 12 * 3600))
    tracemalloc.start()
    try:
        assert voice_activity.spans(Samples(decoded.samples), voice_activity.VadOptions()) == []
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
    hour = looked_through(write(tmp_path / "hour.wav", np.zeros(3600 * 8000), 8000))[1]
    print(f"peak of allocations: {few / 1e6:.1f} MB, and {hour / 1e6:.1f} MB of an hour")
    assert hour < few + 5e6


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_hours_take_no_more_memory_than_a_minute():
    from benchmarks.transcribe import peak

    minute, long = peak(1 / 60), peak(10)
    print(f"peak of the process: {minute / 1e6:.0f} MB, and {long / 1e6:.0f} MB of ten hours")
    assert long < minute + 150e6


@pytest.mark.slow
def test_thirteen_hours_are_refused_in_the_time_that_a_file_has(tmp_path, traces):
    """With the worker's own limits: twelve hours of them are written to the disk before."""
    bomb = silent_flac(tmp_path / "bomb.flac", 13 * 60)
    limits = engine._DECODE_TIMEOUT_S, engine._LIMIT_S
    start = time.monotonic()
    with pytest.raises(decoding.Undecodable) as caught:
        asyncio.run(decoding.decode(bomb, *limits))
    print(f"{bomb.stat().st_size / 1e6:.1f} MB: {time.monotonic() - start:.0f} s")
    assert caught.value.code == "media_too_long"


@pytest.mark.parametrize("rate", [1, 50, 1999])
def test_too_few_samples_a_second_are_no_sound(tmp_path, rate, traces):
    """At 1 Hz, a WAV of 40 kB orders eleven hours of work."""
    path = write(tmp_path / "slow.wav", np.zeros(20_000), rate)
    start = time.monotonic()
    with pytest.raises(decoding.Undecodable, match="fewer than 2,000 samples a second") as caught:
        asyncio.run(decoding.decode(path, 30, 12 * 3600))
    assert caught.value.code == "media_undecodable"
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("rate", [3_000_001, 269_000_000, 2**31 - 1])
def test_too_many_samples_a_second_are_no_sound(tmp_path, rate, traces):
    """At 269 MHz, the filter of a WAV of 95 bytes took 13 s."""
    path = write(tmp_path / "fast.wav", np.zeros(100), 16_000)
    content = path.read_bytes()
    path.write_bytes(content[:24] + struct.pack("<I", rate) + content[28:])
    start = time.monotonic()
    with pytest.raises(decoding.Undecodable, match="more than 3,000,000") as caught:
        asyncio.run(decoding.decode(path, 30, 12 * 3600))
    assert caught.value.code == "media_undecodable"
    assert time.monotonic() - start < 5


def test_few_bytes_hold_no_hours(tmp_path, traces):
    """Half an hour of silence is free; more needs a hundred bytes a second."""
    assert asyncio.run(decoding.decode(silent_flac(tmp_path / "a.flac", 25), 30, 12 * 3600))
    bomb = flac_of_large_frames(tmp_path / "b.flac", 2000, 120)
    assert bomb.stat().st_size < 3000
    start = time.monotonic()
    with pytest.raises(decoding.Undecodable) as caught:
        asyncio.run(decoding.decode(bomb, 60, 12 * 3600))
    assert caught.value.code == "media_too_long"
    assert time.monotonic() - start < 20


DECODER = """
import asyncio, json, re, resource, sys
from pathlib import Path
from models.transcribe.audio import decoding

async def ask():
    try:
        decoded = await decoding.decode(Path(sys.argv[1]), 60, float(sys.argv[2]))
        return decoded.duration_s, decoded.damaged
    except decoding.Undecodable as error:
        return error.code, ()

found = asyncio.run(ask())
theirs = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
# Not getrusage's, which begins with that of the process before exec.
own = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps([*found, 1024 * theirs, 1024 * own]))
"""


def measured(path: Path, limit_s: float) -> tuple[float | str, list[list[float]], int, int]:
    """What is decoded, its damage, and peaks of memory: of what decodes, and of who asks for it."""
    command = [sys.executable, "-c", DECODER, str(path), str(limit_s)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=ROOT, check=True)
    return json.loads(run.stdout)


@pytest.mark.parametrize(
    ("rate", "expected"), [(1, "media_undecodable"), (2000, 65535 / 2000), (65535, 1.0)]
)
def test_a_frame_of_hours_takes_no_memory(tmp_path, rate, expected):
    """A file of 60 bytes; resampled at once it would be 2 GB."""
    found, damaged, decoder, _ = measured(flac_of_large_frames(tmp_path / "x.flac", rate), 2 * 3600)
    assert found == (expected if isinstance(expected, str) else pytest.approx(expected, abs=0.1))
    assert damaged == []
    assert decoder < 150e6


# What files say of themselves --------------------------------------------------------------------


def packets(path: Path, every: int, count: int) -> Path:
    """A file of so many packets, of which each so-manieth is silence and all others are nothing."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        made = [packet for _ in range(4) for packet in stream.encode(frame)]
        good = bytes(made[-1])
        for number in range(count):
            packet = av.Packet(b"\x03" if number % every else good)
            packet.stream, packet.time_base = stream, stream.codec_context.time_base
            packet.pts = packet.dts = 1024 * number
            container.mux(packet)
    return path


@pytest.mark.parametrize(("every", "stretches"), [(10**9, 1), (2, 1000)])
def test_damage_is_told_in_few_words_however_much_there_is(tmp_path, every, stretches):
    """A megabyte may have a hundred thousand damaged places."""
    count = 20_000
    path = packets(tmp_path / "x.mkv", every, count)
    seconds, damaged, _, peak = measured(path, 3600)
    # Matroska counts in milliseconds: 21 of each that is lost, not 21.3.
    assert seconds == pytest.approx(count * 1024 / 48000, rel=0.02)
    assert len(damaged) == stretches
    lost = sum(number % every != 0 for number in range(count))
    assert sum(length for _, length in damaged) == pytest.approx(lost * 1024 / 48000, rel=0.03)
    starts = [start for start, _ in damaged]
    assert starts == sorted(starts)
    assert peak < 150e6


def test_damage_in_two_places_is_told_as_two(tmp_path, traces):
    path = packets(tmp_path / "x.mkv", 20, 60)
    decoded = asyncio.run(decoding.decode(path, 30, LIMIT_S))
    assert len(decoded.damaged) == 3
    first, second, _ = decoded.damaged
    assert first[1] == second[1] == pytest.approx(19 * 1024 / 48000, abs=0.02)
    assert second[0] - first[0] == pytest.approx(20 * 1024 / 48000, abs=0.02)


def test_a_file_that_says_it_has_years_has_what_it_has(whole, tmp_path, traces):
    """Matroska says its length as a float, in milliseconds."""
    content = bytearray(whole["mkv"])
    at = content.index(b"\x44\x89\x88") + 3
    content[at : at + 8] = struct.pack(">d", 1e12)
    path = tmp_path / "years.mkv"
    path.write_bytes(content)
    decoded = asyncio.run(decoding.decode(path, 30, LIMIT_S))
    assert decoded.duration_s == pytest.approx(SECONDS, abs=0.1)
    assert decoded.declared_s == pytest.approx(1e9)


RATES = [
    ("ogg", "libopus", 48000, 16000), ("aac", "aac", 44100, 16000), ("mp3", "mp3", 44100, 16000),
    ("ts", "aac", 44100, 16000), ("ac3", "ac3", 48000, 32000),
]  # fmt: skip


@pytest.mark.parametrize("upwards", [False, True])
@pytest.mark.parametrize(("suffix", "codec", "fast", "slow"), RATES)
def test_a_stream_may_change_its_rate(tmp_path, traces, suffix, codec, fast, slow, upwards):
    """And its tone is what it was: nothing is read at the rate of what came before."""
    source = siren(tmp_path / "source.wav")
    rates = (slow, fast) if upwards else (fast, slow)
    parts = [convert(source, tmp_path / f"{rate}.{suffix}", codec, rate) for rate in rates]
    both = tmp_path / f"both.{suffix}"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    decoded = asyncio.run(decoding.decode(both, 30, LIMIT_S))
    assert decoded.duration_s == pytest.approx(2 * SECONDS, abs=0.25)
    assert sum(length for _, length in decoded.damaged) < 0.1
    middle = SECONDS // 2 * RATE_HZ
    for start in (0, SECONDS * RATE_HZ):
        part = decoded.samples[start + middle - 8000 : start + middle + 8000]
        assert crossings(part) == pytest.approx(crossings(heard(source, middle)), rel=0.1)


def heard(source: Path, middle: int) -> np.ndarray:
    return np.frombuffer(source.read_bytes()[44:], np.int16)[middle - 8000 : middle + 8000]


def crossings(samples: np.ndarray) -> int:
    """How often the sign changes: twice in each period."""
    return int(np.count_nonzero(np.diff(np.signbit(samples))))


# Who does not wait -------------------------------------------------------------------------------


def test_whenever_a_decoding_is_cancelled_nothing_is_left(tmp_path, traces):
    """Also while its process is being started, and when it is about to end."""
    bomb = silent_flac(tmp_path / "long.flac", 30)

    async def cancelled_after(seconds: float) -> bool:
        asked = asyncio.create_task(decoding.decode(bomb, 30, 3600))
        await asyncio.sleep(seconds)
        asked.cancel()
        return isinstance((await asyncio.gather(asked, return_exceptions=True))[0], BaseException)

    others = len(spools())
    for seconds in (0, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 0.2, 0.3):
        cancelled = asyncio.run(cancelled_after(seconds))
        assert cancelled or seconds > 0.02
        gc.collect()
        assert len(spools()) == others


def test_a_decoder_that_waits_for_ever_is_ended(tmp_path, traces):
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    start = time.monotonic()
    with pytest.raises(decoding.Undecodable) as caught:
        asyncio.run(decoding.decode(pipe, 0.5, LIMIT_S))
    assert caught.value.code == "media_decode_timeout"
    assert time.monotonic() - start < 5
