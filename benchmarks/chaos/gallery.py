"""The bodies of the jobs: some for each surface, each with an answer of its own."""

from __future__ import annotations

import base64
import io
import random
import wave
from collections.abc import Callable
from typing import Any

SURFACES = ("chat", "images", "transcribe", "speech", "music", "embeddings")
_EACH = 12
_WORDS = tuple(
    "amber birch cedar delta ember fjord grove harbor island jasmine kettle lantern "  # noqa: SIM905
    "meadow nectar orchid pebble quartz river saffron timber".split()
)


def sound(number: int) -> bytes:
    """Return a WAV of noise; each number has its own length."""
    chance = random.Random(number)
    samples = bytes(chance.randrange(256) for _ in range(2 * (4000 + 400 * number)))
    with io.BytesIO() as buffer:
        with wave.open(buffer, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(8000)
            writer.writeframes(samples)
        return buffer.getvalue()


def _sentence(surface: str, number: int) -> str:
    chance = random.Random(f"{surface} {number}")
    return f"{number} " + " ".join(chance.choices(_WORDS, k=4 + 3 * number))


def _chat(number: int) -> dict[str, Any]:
    message = {"role": "user", "content": _sentence("chat", number)}
    return {"messages": [message], "max_tokens": 1024, "temperature": 0}


def _images(number: int) -> dict[str, Any]:
    size = f"{64 + 16 * (number % 3)}x64"
    body = {"prompt": _sentence("images", number), "seed": 1000 + number, "size": size, "steps": 2}
    return body | ({"response_format": "b64_json"} if number % 4 == 0 else {})


def _transcribe(number: int) -> dict[str, Any]:
    if number % 2:  # from the media server; ``MEDIA`` becomes its address
        return {"audioUrl": f"MEDIA/{number}.wav", "language": "en"}
    content = base64.b64encode(sound(number)).decode()
    return {"audioUrl": f"data:audio/wav;base64,{content}", "language": "en"}


def _speech(number: int) -> dict[str, Any]:
    return {"input": _sentence("speech", number)[:40], "response_format": "wav", "seed": 7}


def _music(number: int) -> dict[str, Any]:
    body = {"caption": _sentence("music", number), "duration": 10 + number, "seed": number}
    return {**body, "inference_steps": 2, "audio_format": "wav"}


def _embeddings(number: int) -> dict[str, Any]:
    return {"input": [_sentence(f"embeddings {part}", number) for part in range(1 + number % 3)]}


_MAKERS: dict[str, Callable[[int], dict[str, Any]]] = {
    "chat": _chat,
    "images": _images,
    "transcribe": _transcribe,
    "speech": _speech,
    "music": _music,
    "embeddings": _embeddings,
}
BODIES: dict[str, dict[str, Any]] = {
    f"{surface} {number}": make(number)
    for surface, make in _MAKERS.items()
    for number in range(_EACH)
}


# An engine without weights repeats them: long enough to be cancelled, or to meet a fault, in the
# middle of the answer.
_LONG = frozenset({"chat 3", "chat 7", "chat 11"})


def body(name: str, media_url: str, most_tokens: int | None = None) -> dict[str, Any]:
    """Return a body of the gallery, with the media server's address.

    Args:
        name: of the body.
        media_url: the media server's address.
        most_tokens: of an answer; None = as many as the body asks for.
    """
    content = dict(BODIES[name])
    if most_tokens is not None and "max_tokens" in content:
        content["max_tokens"] = most_tokens
    elif name in _LONG:
        [message] = content["messages"]
        content["messages"] = [{**message, "content": message["content"] * 12}]
    if str(content.get("audioUrl", "")).startswith("MEDIA/"):
        content["audioUrl"] = media_url + content["audioUrl"].removeprefix("MEDIA")
    return content
