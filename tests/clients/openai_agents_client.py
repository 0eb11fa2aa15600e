"""OpenAI's agents, over chat completions and over responses."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Literal

import openai
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from agents.exceptions import MaxTurnsExceeded
from pydantic import BaseModel

set_tracing_disabled(True)
client = openai.AsyncOpenAI(base_url=os.environ["BASE_URL"], api_key="any")


class Animal(BaseModel):
    name: Literal["fox", "owl"]


calls = []


@function_tool
def weight(name: Literal["fox", "owl"]) -> str:
    """Return what an animal weighs."""
    calls.append(name)
    return "6 kg"


for kind in (OpenAIChatCompletionsModel, OpenAIResponsesModel):
    model = kind("SmolLM2_135M_Instruct", client)
    settings = ModelSettings(max_tokens=64)
    plain = Agent("plain", model=model, model_settings=settings)
    assert Runner.run_sync(plain, "Hello").final_output
    typed = Agent("typed", model=model, output_type=Animal, model_settings=settings)
    assert isinstance(Runner.run_sync(typed, "Name an animal.").final_output, Animal)
    calls.clear()
    forced = ModelSettings(max_tokens=64, tool_choice="required")
    caller = Agent("caller", model=model, tools=[weight], model_settings=forced)
    with suppress(MaxTurnsExceeded):  # a model this small may call the tool for ever
        Runner.run_sync(caller, "What does a fox weigh?", max_turns=3)
    assert calls
