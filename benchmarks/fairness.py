"""How long one large job holds up small ones, on each surface.

    .venv/bin/python -m benchmarks.fairness

A worker over HTTP with small models. Small requests come one after the other, alone and then beside
a large one that goes on all the while: 2,048 texts, a long recording, a long answer, eight
pictures, a long text to be spoken, four songs. The goal is that a small request takes at most twice
its time. Where the large one is soon over, it is sent again until there are enough small ones.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import os
import statistics
import sys
import time
import wave
from collections.abc import Mapping
from typing import Any

import aiohttp
import numpy as np

from benchmarks.platform import ROOT
from benchmarks.report import figures, table
from local.environment import clean
from local.process import free_port
from models.transcribe.whisper.selftest import CLIP

GOAL = 2.0
_SMALL, _SECONDS = 12, 6.0  # at least so many small requests, and for so long
_WORDS = "The quick brown fox jumps over the lazy dog near the bank of the river. "


def recording(minutes: float) -> str:
    """Return a clip of speech, cut or repeated, as a data URI."""
    import av

    with av.open(str(CLIP)) as container:
        resampler = av.AudioResampler("s16", "mono", 16_000)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    clip = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    samples = np.resize(clip, round(minutes * 60 * 16_000))
    with io.BytesIO() as buffer:
        with wave.open(buffer, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(16_000)
            writer.writeframes(samples.astype("<i2").tobytes())
        return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


def cases() -> dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Return for each surface its model, route, small body and large body."""
    said = {"role": "user", "content": "Count."}
    picture = {"prompt": "A fox", "size": "128x128", "response_format": "b64_json"}
    return {
        "embeddings": (
            "All_MiniLM_L6_v2", "/v1/embeddings",
            {"input": _WORDS}, {"input": [f"{n} {_WORDS * 3}" for n in range(2048)]},
        ),
        "chat": (
            "SmolLM2_135M_Instruct", "/v1/chat/completions",
            {"messages": [said], "max_tokens": 4},
            {"messages": [{"role": "user", "content": _WORDS * 60}], "max_tokens": 300,
             "ignore_eos": True},
        ),
        "images": (
            "Tiny_Flux", "/v1/images/generations",
            {**picture, "steps": 4}, {**picture, "steps": 50, "n": 8, "size": "256x256"},
        ),
        "transcribe": (
            "Whisper_Base", "/v1/audio/transcriptions",
            {"audioUrl": recording(0.12), "language": "en"},
            {"audioUrl": recording(1.5), "language": "en"},
        ),
        "speech": (
            "Hibari_Heart", "/v1/audio/speech",
            {"input": "Hello there."}, {"input": _WORDS * 40},
        ),
        "music": (
            "Tiny_AceStep", "/v1/audio/music",
            {"caption": "Calm piano", "duration": 10, "inference_steps": 2},
            {"caption": "Loud drums", "duration": 120, "inference_steps": 20, "batch_size": 4},
        ),
    }  # fmt: skip


async def started(surface: str, model: str, **more: str) -> tuple[asyncio.subprocess.Process, str]:
    """Run a worker of one model over HTTP, and wait until it is warm."""
    port = free_port()
    env = {**clean(os.environ), "SURFACE": surface, "MODEL_SLUG": model, "DEVICE": "cpu"}
    env |= more
    command = [sys.executable, "-m", "handler", "--serve", "--port", str(port)]
    env["RUNPOD_LOG_LEVEL"] = "WARN"
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < end and process.returncode is None:
            try:
                async with session.get(f"{url}/ping") as answer:
                    if answer.status == 200:
                        return process, url
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)
    if process.returncode is None:
        process.kill()
    raise SystemExit(f"{model} does not start")


async def times(
    session: aiohttp.ClientSession,
    url: str,
    body: Mapping[str, Any],
    large: asyncio.Task[Any] | None,
) -> list[float]:
    """Return the seconds of small requests, one after the other, while a large one goes on."""
    took: list[float] = []
    end = time.perf_counter() + _SECONDS
    while (len(took) < _SMALL or time.perf_counter() < end) and not (large and large.done()):
        start = time.perf_counter()
        await ask(session, url, body)
        took.append(time.perf_counter() - start)
    return took


async def ask(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> None:
    """Send a request, and read its answer."""
    async with session.post(url, json=body) as answer:
        if answer.status != 200:
            raise SystemExit(await answer.text())
        await answer.read()


async def measure(surface: str) -> tuple[list[float], list[float], float]:
    """Return the seconds of small requests alone and beside the large one, and its own."""
    model, route, small, large = cases()[surface]
    process, url = await started(surface, model)
    try:
        timeout = aiohttp.ClientTimeout(total=600)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await times(session, url + route, small, None)  # warm
            alone = await times(session, url + route, small, None)
            beside, large_s = list[float](), list[float]()
            while len(beside) < _SMALL:
                start = time.perf_counter()
                asking = asyncio.create_task(ask(session, url + route, large))
                await asyncio.sleep(0.3)
                beside += await times(session, url + route, small, asking)
                await asking
                large_s.append(time.perf_counter() - start)
            return alone, beside, statistics.median(large_s)
    finally:
        process.terminate()
        await process.wait()


async def main(surfaces: list[str]) -> None:
    rows, named = [], {}
    for surface in surfaces:
        alone, beside, large_s = await measure(surface)
        medians = statistics.median(alone), statistics.median(beside)
        ratio = medians[1] / medians[0]
        rows.append([
            surface, *(f"{1000 * value:.0f}" for value in medians), f"{1000 * max(beside):.0f}",
            len(beside), f"{large_s:.1f}", f"{ratio:.2f}", "yes" if ratio <= GOAL else "no",
        ])  # fmt: skip
        named[f"fairness_{surface}"] = ratio
    head = [
        "surface",
        "alone ms",
        "beside ms",
        "longest ms",
        "small",
        "large s",
        "ratio",
        "goal met",
    ]
    table(head, rows)
    figures(named)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness")
    parser.add_argument("surfaces", nargs="*", default=list(cases()))
    asyncio.run(main(parser.parse_args().surfaces))
