"""What is decoded of files that are uneven: holes, tracks, links, and levels."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.sounds import Track, muxed, noise, silence
from models.transcribe.audio import decoder_process, decoding, ogg
from models.transcribe.audio.levels import Level, decibels
from models.transcribe.audio.passes import Pass
from models.transcribe.audio.rate import RATE_HZ
from models.transcribe.audio.timeline import Timeline
from tests.support.sounds import float_wav, muxed_pcm, write


def decode(path: Path, **more: bool) -> decoding.Audio:
    return asyncio.run(decoding.decode(path, 60, 3600, **more))


def tone(seconds: float, peak: float = 0.4, hertz: float = 440) -> np.ndarray:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (32767 * peak * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def sounding(decoded: decoding.Audio) -> list[tuple[float, float]]:
    """From when to when it is not silent, in seconds, to a tenth."""
    samples = decoded.samples[:].astype(float)
    loud = [
        np.abs(samples[at : at + RATE_HZ // 20]).max() > 0.1 * np.abs(samples).max()
        for at in range(0, len(samples), RATE_HZ // 20)
    ]
    edges = [
        at for at, (left, right) in enumerate(pairwise([False, *loud, False])) if left != right
    ]
    return [
        (round(start / 20, 1), round(end / 20, 1))
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]


# Time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("webm", "libopus"), ("mkv", "aac"), ("mp4", "aac"), ("ogg", "libopus"), ("ts", "aac")],
)
def test_a_hole_in_a_files_clock_is_silence(tmp_path, suffix, codec):
    """As recorders leave it where nobody spoke, and calls where packets were lost."""
    track = Track(tone(7), codec, 48000, hole=(4.0, 5.0))
    decoded = decode(muxed(tmp_path / f"gap.{suffix}", [track]))
    assert decoded.duration_s == pytest.approx(12, abs=0.15)
    (first, second) = sounding(decoded)
    assert first == pytest.approx((0, 4), abs=0.11)
    assert second == pytest.approx((9, 12), abs=0.16)
    assert (decoded.damaged, decoded.declared_s, decoded.notes) == ((), None, ())


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [("mp4", "aac", 48000), ("mkv", "aac", 48000), ("mkv", "libopus", 48000),
     ("ts", "aac", 48000), ("flv", "mp3", 44100)],
)  # fmt: skip
def test_sound_that_begins_after_the_picture_is_later(tmp_path, suffix, codec, rate):
    track = Track(tone(3), codec, rate, starts_s=5.0)
    decoded = decode(muxed(tmp_path / f"late.{suffix}", [track], picture_s=10))
    [(start, end)] = sounding(decoded)
    assert (start, end) == pytest.approx((5, 8), abs=0.16)
    assert decoded.declared_s is None


def test_lost_packets_do_not_add_up(tmp_path):
    """One of twenty is missing: a minute of speech is a minute long."""
    import av

    whole = muxed(tmp_path / "whole.webm", [Track(noise(60, 0.3))])
    lossy = tmp_path / "lossy.webm"
    with av.open(str(whole)) as reader, av.open(str(lossy), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.audio[0])
        for number, packet in enumerate(reader.demux(audio=0)):
            if packet.size and number % 20 != 7:
                packet.stream = stream
                writer.mux(packet)
    assert decode(lossy).duration_s == pytest.approx(60, abs=0.1)


def holes(
    times: list[float | None], *, end_s: float | None = None, room_s: float = 100
) -> list[float]:
    """The silence before each of some frames of a second."""
    clock = Timeline(0.0, end_s)
    after = [*times[1:], None]
    return [
        round(clock.hole(time, 1.0, following, room_s)[0], 3)
        for time, following in zip(times, after, strict=True)
    ]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 1, 2, 3], [0, 0, 0, 0]),
        ([0, 1, 7, 8], [0, 0, 5, 0]),
        ([5, 6], [5, 0]),
        ([0.02, 1.02], [0, 0]),  # an encoder's beginning
        ([0, 1.001, 2, 3.001], [0, 0, 0, 0]),  # milliseconds
        ([0, 1, 900, 3, 4], [0, 0, 0, 0, 0]),  # the time of one frame is damaged
        ([0, 1, 0, 1, 2], [0, 0, 0, 0, 0]),  # the clock begins anew
        ([10, 11, 0, 1, 4], [10, 0, 0, 0, 2]),
        ([0, None, 2, 5], [0, 0, 0, 2]),
        ([0, 1.03, 2.06, 3.09, 4.09], [0, 0, 0, 0.09, 0]),  # small ones add up
        ([0, 1, 500, 501], [0, 0, 0, 0]),  # more than there is room for
    ],
)
def test_the_clock_of_a_container(times, expected):
    assert holes(times) == expected


def test_a_leap_beyond_the_end_is_refused():
    clock = Timeline(0.0, 20.0)
    assert clock.hole(0.0, 1.0, 60.0, 1000) == (0.0, 0.0)
    assert clock.hole(60.0, 1.0, 61.0, 1000) == (0.0, 59.0)
    assert clock.hole(61.0, 1.0, 65.0, 1000) == (0.0, 0.0)
    assert holes([0, 1, 12, 13], end_s=14) == [0, 0, 10, 0]


# What files say of their length -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("other", ["picture", "sound"])
def test_a_longer_track_beside_it_does_not_make_a_recording_cut_off(tmp_path, suffix, other):
    tracks = [Track(tone(3), "aac"), *([Track(tone(9), "aac")] if other == "sound" else [])]
    path = muxed(tmp_path / f"x.{suffix}", tracks, picture_s=9 if other == "picture" else 0)
    decoded = decode(path)
    assert decoded.duration_s == pytest.approx(3, abs=0.15)
    assert decoded.declared_s is None


@pytest.mark.parametrize(
    ("suffix", "codec", "picture_s"),
    [("mkv", "aac", 0), ("mkv", "aac", 10), ("webm", "libopus", 0)],  # WebM has no MPEG-4
)
def test_a_file_that_is_cut_off_is_said_to_be(tmp_path, suffix, codec, picture_s):
    path = muxed(tmp_path / f"x.{suffix}", [Track(noise(10, 0.3), codec)], picture_s)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    decoded = decode(path)
    assert 2 < decoded.duration_s < 8
    assert decoded.declared_s == pytest.approx(10, abs=0.2)


# Chained Ogg --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("libopus", 48000), ("flac", 44100)),  # the codec
        (("flac", 44100), ("flac", 16000)),  # the rate
        (("libopus", 48000), ("libopus", 48000)),
        (("flac", 16000), ("libopus", 48000)),
    ],
)
@pytest.mark.parametrize("layouts", [("stereo", "stereo"), ("stereo", "mono")])
def test_both_links_of_a_chained_ogg_file_are_read(tmp_path, first, second, layouts):
    sounds = [tone(2, hertz=400), tone(3, hertz=900)]
    links = []
    for number, (codec, rate) in enumerate((first, second)):
        path = tmp_path / f"{number}.ogg"
        muxed(path, [Track(sounds[number], codec, rate, layout=layouts[number])])
        links.append(path.read_bytes())
    both = tmp_path / "both.ogg"
    both.write_bytes(b"".join(links))
    assert ogg.links(str(both)) == [(0, len(links[0])), (len(links[0]), sum(map(len, links)))]
    assert ogg.links(str(tmp_path / "0.ogg")) == []
    decoded = decode(both)
    assert decoded.duration_s == pytest.approx(5, abs=0.1)
    assert (decoded.damaged, decoded.notes) == ((), ())
    for at, hertz in ((0.5, 400), (3.5, 900)):
        part = decoded.samples[int(at * RATE_HZ) : int((at + 1) * RATE_HZ)].astype(float)
        assert np.abs(np.fft.rfft(part)).argmax() == pytest.approx(hertz, abs=3)


def test_a_link_that_cannot_be_read_does_not_take_the_others_along(tmp_path):
    paths = [muxed(tmp_path / f"{number}.ogg", [Track(tone(2))]) for number in range(3)]
    first, second, third = (path.read_bytes() for path in paths)
    at = second.index(b"OpusHead")
    second = second[:at] + b"NoCodecs" + second[at + 8 :]
    (tmp_path / "x.ogg").write_bytes(first + second + third)
    decoded = decode(tmp_path / "x.ogg")
    assert decoded.duration_s == pytest.approx(4, abs=0.1)
    assert decoded.notes == (("media_damaged", "1 of the file's 3 parts could not be read."),)


def test_a_damaged_page_does_not_hide_the_link_behind_it(tmp_path):
    first = bytearray(muxed(tmp_path / "a.ogg", [Track(noise(20, 0.3))]).read_bytes())
    second = muxed(tmp_path / "b.ogg", [Track(tone(2))]).read_bytes()
    third = first.index(b"OggS", len(first) // 2)
    first[third : third + 4] = b"----"
    (tmp_path / "x.ogg").write_bytes(first + second)
    assert ogg.links(str(tmp_path / "x.ogg"))[1] == (len(first), len(first) + len(second))


class Failing:
    """A container whose reading fails behind some packets, once or for good."""

    def __init__(self, container: Any, behind: int, *, for_good: bool) -> None:
        self._container, self._behind, self._for_good = container, behind, for_good
        self._failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, *streams: Any) -> Iterator[Any]:
        import av

        if self._failed and self._for_good:
            raise av.error.InvalidDataError(1, "broken")
        for number, packet in enumerate(self._container.demux(*streams)):
            yield packet
            if number == self._behind and not self._failed:
                self._failed = True
                raise av.error.InvalidDataError(1, "broken")


@pytest.mark.parametrize("for_good", [False, True])
def test_a_failure_amid_a_file_leaves_what_can_be_read(tmp_path, for_good):
    import av

    path = muxed(tmp_path / "x.mp3", [Track(tone(6), "mp3")])
    with (tmp_path / "spool").open("w+b") as spool, av.open(str(path)) as container:
        taken = Pass(spool, 10**7, Level(1.0))
        taken.run(Failing(container, 80, for_good=for_good), container.streams.audio[0])
    [(code, message)] = taken.notes
    assert code == "media_damaged"
    seconds = taken.written / RATE_HZ
    if for_good:
        assert 1.5 < seconds < 2.2
        assert message == f"From {seconds:.1f} s on, the file could not be read."
    else:
        assert seconds == pytest.approx(6, abs=0.2)
        assert message.endswith("s some of the file could not be read; how much is not known.")


def test_what_a_failure_leaves_out_is_silence_where_the_clock_says_how_long(tmp_path):
    import av

    path = muxed(tmp_path / "x.webm", [Track(tone(6), hole=(3.0, 2.0))])
    with (tmp_path / "spool").open("w+b") as spool, av.open(str(path)) as container:
        taken = Pass(spool, 10**7, Level(1.0))
        taken.run(Failing(container, 150, for_good=False), container.streams.audio[0])
    assert taken.written / RATE_HZ == pytest.approx(8, abs=0.1)
    [(start, length)] = taken.damaged
    assert (start / RATE_HZ, length / RATE_HZ) == pytest.approx((3, 2), abs=0.1)
    assert taken.notes == []


# Levels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [-41, -60, -80, -100])
def test_what_is_quiet_is_lifted(tmp_path, level):
    sound = tone(2, 1.0) / 32767 * decibels(level)
    decoded = decode(float_wav(tmp_path / "quiet.wav", sound))
    samples = decoded.samples[:].astype(float) / 32768
    assert np.abs(samples).max() == pytest.approx(decibels(-20), rel=0.1)
    want = sound / np.abs(sound).max() * np.abs(samples).max()
    assert np.abs(samples - want).max() < 1e-4  # as fine as at any level
    plain = decode(tmp_path / "quiet.wav", amplify=False).samples[:]
    assert np.abs(plain - 32768 * sound).max() <= 1


def test_what_is_loud_enough_is_left_as_it_is(tmp_path):
    from faster_whisper.audio import decode_audio

    for level in (-38, -20, 0):
        path = float_wav(tmp_path / "x.wav", tone(2, 1.0) / 32767 * decibels(level))
        assert np.array_equal(decode(path).samples[:] / np.float32(32768), decode_audio(str(path)))


def test_a_click_is_no_level(tmp_path):
    """A door, or the switch of a microphone, is louder than any word."""
    sound = tone(4, decibels(-65))
    sound[1000:1010] = 20000
    assert np.percentile(np.abs(decode(write(tmp_path / "x.wav", sound)).samples[:]), 90) > 2000
    level = Level(1.0)
    for at in range(0, len(sound), 333):
        level.add(sound[at : at + 333].tobytes())
    assert level.value == pytest.approx(decibels(-65), rel=0.1)


@pytest.mark.parametrize("length", [0, 1, 100, 600, 3000])
def test_the_level_of_a_short_recording(length):
    level = Level(1.0)
    level.add(tone(1, 0.5)[:length].tobytes())
    assert level.value == pytest.approx(0.5 if length >= 100 else 0.0, abs=0.1)


@pytest.mark.parametrize(
    ("codec", "kind", "scale"),
    [("pcm_s16le", "s16", 32767), ("pcm_u8", "u8", 127), ("pcm_s32le", "s32", 2**31 - 1),
     ("pcm_f32le", "flt", 1), ("pcm_f64le", "dbl", 1)],
)  # fmt: skip
@pytest.mark.parametrize("other", [-1.0, -0.9])
def test_channels_that_cancel_each_other_are_heard(tmp_path, codec, kind, scale, other):
    sound = tone(3, 0.5).astype(float) / 32767
    types = {"s16": np.int16, "u8": np.uint8, "s32": np.int32, "flt": np.float32, "dbl": np.float64}
    both = np.stack([other * sound, sound]) * scale + (128 if kind == "u8" else 0)
    path = muxed_pcm(tmp_path / "x.wav", both.astype(types[kind]), codec, kind, "stereo")
    decoded = decode(path)
    assert decoded.duration_s == pytest.approx(3, abs=0.001)
    heard = decoded.samples[: len(sound)] / 32768
    errors = [np.abs(heard - sign * sound)[100:-100].max() for sign in (1, -1)]
    assert min(errors) < 0.02  # either of two that are as loud


def test_only_where_they_cancel_each_other_one_channel_is_taken(tmp_path):
    """A voice in one channel alone, or two voices, are mixed as ever."""
    sound, other = tone(3, 0.3), tone(3, 0.3, 700)
    for right in (sound, other, silence(3), -other):
        path = muxed_pcm(tmp_path / "x.wav", np.stack([sound, right]), "pcm_s16le", "s16", "stereo")
        from faster_whisper.audio import decode_audio

        assert np.array_equal(decode(path).samples[:] / np.float32(32768), decode_audio(str(path)))
    mixed = np.stack([np.concatenate([sound, sound]), np.concatenate([sound, -sound])])
    path = muxed_pcm(tmp_path / "x.wav", mixed, "pcm_s16le", "s16", "stereo")
    heard = sounding(decode(path))
    assert (heard[0][0], heard[-1][1]) == (0.0, 6.0)
    assert sum(end - start for start, end in heard) > 5.7  # it takes a moment to be sure


def test_more_channels_than_ffmpeg_mixes(tmp_path):
    import wave

    sound = tone(2, 0.3)
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setnchannels(9)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.repeat(sound, 9).tobytes())
    assert np.abs(decode(tmp_path / "x.wav").samples[:] - sound).max() <= 1


# Tracks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tracks", "seconds", "note"),
    [
        ([Track(tone(2)), Track(tone(4))], 2, "number 1, the default one,"),
        ([Track(tone(2)), Track(tone(4), default=True)], 4, "number 2, the default one,"),
        ([Track(silence(2)), Track(tone(4))], 4, "number 2, the first that is not silent,"),
        (
            [Track(silence(2)), Track(noise(3, decibels(-70))), Track(tone(4))],
            4,
            "number 3, the first that is not silent,",
        ),
        ([Track(silence(2)), Track(silence(4))], 2, "number 1, the default one,"),
    ],
)
def test_of_several_tracks_the_default_one_or_one_that_sounds(tmp_path, tracks, seconds, note):
    decoded = decode(muxed(tmp_path / "x.mkv", tracks))
    assert decoded.duration_s == pytest.approx(seconds, abs=0.1)
    [(code, message)] = decoded.notes
    assert code == "media_tracks"
    assert note in message
    assert message.startswith(f"The file has {len(tracks)} audio tracks")


def test_a_file_that_takes_long_is_not_gone_over_again(tmp_path):
    path = muxed(tmp_path / "x.mkv", [Track(silence(2)), Track(tone(4))])
    with (tmp_path / "spool").open("w+b") as spool:
        report = decoder_process.Decoder(spool, 10**7, amplify=True, again_s=0).run(str(path))
    assert report["notes"][0][1].startswith("The file has 2 audio tracks; number 1")
