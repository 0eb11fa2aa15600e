"""The ``openai`` package: every surface, as its users call it."""

from __future__ import annotations

import base64
import io
import os
from typing import Literal

import openai
from pydantic import BaseModel

CHAT, EMBEDDINGS = "SmolLM2_135M_Instruct", "All_MiniLM_L6_v2"
MESSAGES = [{"role": "user", "content": "Name an animal."}]
QUEUED = "openai/v1" in os.environ["BASE_URL"]  # no files go that way
client = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key="any", max_retries=0)


class Animal(BaseModel):
    name: Literal["fox", "owl"]
    legs: Literal[2, 4]


def chat() -> None:
    answer = client.chat.completions.create(model=CHAT, messages=MESSAGES, max_tokens=5)
    assert answer.choices[0].message.content
    stream = client.chat.completions.create(
        model=CHAT, messages=MESSAGES, max_tokens=5, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    *_, last = stream
    assert last.usage is not None
    parsed = client.chat.completions.parse(model=CHAT, messages=MESSAGES, response_format=Animal)
    assert isinstance(parsed.choices[0].message.parsed, Animal)
    tool = openai.pydantic_function_tool(Animal)
    answer = client.chat.completions.create(
        model=CHAT, messages=MESSAGES, tools=[tool], tool_choice="required"
    )
    [call] = answer.choices[0].message.tool_calls
    Animal.model_validate_json(call.function.arguments)
    again = [
        *MESSAGES,
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "done"},
    ]
    assert client.chat.completions.create(model=CHAT, messages=again, max_tokens=5).choices


def responses() -> None:
    answer = client.responses.parse(model=CHAT, input="Name an animal.", text_format=Animal)
    assert isinstance(answer.output_parsed, Animal)
    with client.responses.stream(model=CHAT, input="Hello", max_output_tokens=5) as stream:
        kinds = [event.type for event in stream]
    assert kinds[0] == "response.created"
    assert kinds[-1] in ("response.completed", "response.incomplete")


def completions() -> None:
    answer = client.completions.create(model=CHAT, prompt=["A", "B"], max_tokens=3)
    assert len(answer.choices) == 2


def embeddings() -> None:
    answer = client.embeddings.create(model=EMBEDDINGS, input=["a", "b"])
    assert len(answer.data[1].embedding) == 384


def images() -> None:
    answer = client.images.generate(model="Tiny_Flux", prompt="a fox", size="64x64")
    picture = base64.b64decode(answer.data[0].b64_json)
    if QUEUED:
        return
    edited = client.images.edit(
        model="Tiny_Flux", image=("a.png", picture, "image/png"), prompt="an owl", size="64x64"
    )
    assert edited.data[0].b64_json


def transcriptions() -> None:
    with open(os.environ["RECORDING"], "rb") as recording:
        sound = io.BytesIO(recording.read())
    sound.name = os.path.basename(os.environ["RECORDING"])
    answer = client.audio.transcriptions.create(
        model="Tiny_Whisper", file=sound, response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        chunking_strategy={"type": "server_vad", "threshold": 0.5},
    )  # fmt: skip
    assert answer.duration
    sound.seek(0)
    text = client.audio.transcriptions.create(
        model="Tiny_Whisper", file=sound, response_format="vtt"
    )
    assert text.startswith("WEBVTT")


def speech() -> None:
    spoken = {"model": "tts-1", "voice": "alloy", "input": "Hello there."}
    for form, begins in (("mp3", b"\xff"), ("opus", b"OggS"), ("flac", b"fLaC"), ("wav", b"RIFF")):
        answer = client.audio.speech.create(**spoken, response_format=form)
        assert answer.content.startswith(begins), form
    streaming = client.audio.speech.with_streaming_response
    with streaming.create(**spoken, response_format="pcm", extra_body={"stream": True}) as answer:
        assert answer.headers["content-type"] == "audio/pcm"
        assert sum(map(len, answer.iter_bytes())) > 24_000
    with streaming.create(**spoken, stream_format="sse", instructions="Be calm.") as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert "speech.audio.done" in lines[-1]


def errors() -> None:
    refused = None
    try:
        client.chat.completions.create(model=CHAT, messages=MESSAGES, temperature=9)
    except openai.BadRequestError as error:
        refused = error
    assert refused is not None
    assert (refused.param, refused.type) == ("temperature", "invalid_request_error")


chat()
responses()
completions()
embeddings()
images()
if not QUEUED:
    transcriptions()
    speech()
errors()
assert client.models.list().data
