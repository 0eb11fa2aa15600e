"""pydantic-ai: a union as output, and a tool."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, UsageLimits
from pydantic_ai.exceptions import UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class Animal(BaseModel):
    kind: Literal["animal"]
    legs: Literal[2, 4]


class Plant(BaseModel):
    kind: Literal["plant"]
    tall: bool


provider = OpenAIProvider(base_url=os.environ["BASE_URL"], api_key="any")
model = OpenAIChatModel("SmolLM2_135M_Instruct", provider=provider)

assert Agent(model, model_settings={"max_tokens": 8}).run_sync("Hello").output
for output in (Animal, [Animal, Plant], NativeOutput([Animal, Plant])):
    agent = Agent(model, output_type=output, model_settings={"max_tokens": 200})
    assert isinstance(agent.run_sync("Name something alive.").output, Animal | Plant)

agent = Agent(model, output_type=Animal, model_settings={"max_tokens": 200})
calls = []


@agent.tool_plain
def weight(name: Literal["fox", "owl"]) -> str:
    """Return what an animal weighs."""
    calls.append(name)
    return "6 kg"


try:  # a model this small may call the tool for ever
    agent.run_sync("What does a fox weigh?", usage_limits=UsageLimits(request_limit=4))
except (UsageLimitExceeded, UnexpectedModelBehavior):
    assert calls
