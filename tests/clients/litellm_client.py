"""LiteLLM, which finds what an error means by its words."""

from __future__ import annotations

import os

import litellm

CHAT = "openai/SmolLM2_135M_Instruct"
MESSAGES = [{"role": "user", "content": "Hello"}]
litellm.telemetry = False
HERE = {"api_base": os.environ["BASE_URL"], "api_key": "any"}

answer = litellm.completion(CHAT, MESSAGES, max_tokens=5, **HERE)
assert answer.choices[0].message.content

stream = litellm.completion(CHAT, MESSAGES, max_tokens=5, stream=True, **HERE)
assert "".join(part.choices[0].delta.content or "" for part in stream)

vectors = litellm.embedding("openai/All_MiniLM_L6_v2", ["a", "b"], **HERE)
assert len(vectors.data) == 2

ranked = litellm.rerank(
    "cohere/All_MiniLM_L6_v2", "a fox", ["an owl", "a fox"], top_n=1,
    api_base=os.environ["BASE_URL"].removesuffix("/v1") + "/v2/rerank", api_key="any",
)  # fmt: skip
assert ranked.results[0]["index"] == 1

picture = litellm.image_generation("a fox", "openai/Tiny_Flux", size="64x64", **HERE)
assert picture.data[0].b64_json

sound = litellm.speech("openai/tts-1", "Hello.", voice="alloy", response_format="wav", **HERE)
assert sound.content.startswith(b"RIFF")

try:
    litellm.completion(CHAT, [{"role": "user", "content": "word " * 20_000}], **HERE)
except litellm.ContextWindowExceededError:
    pass
else:
    raise AssertionError("it was answered")
