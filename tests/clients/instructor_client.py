"""instructor, in its modes for OpenAI's API."""

from __future__ import annotations

import os
from typing import Literal

import instructor
import openai
from pydantic import BaseModel, Field


class Animal(BaseModel):
    """An animal."""

    name: Literal["fox", "owl"]
    legs: int = Field(ge=0, le=4)


for mode in (instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON_SCHEMA):
    client = instructor.from_openai(
        openai.OpenAI(base_url=os.environ["BASE_URL"], api_key="any"), mode=mode
    )
    animal = client.chat.completions.create(
        model="SmolLM2_135M_Instruct", response_model=Animal, max_tokens=100, max_retries=0, temperature=0,
        messages=[{"role": "user", "content": "Name an animal."}],
    )  # fmt: skip
    assert isinstance(animal, Animal)
