"""LangChain's classes for OpenAI; its embeddings send token ids of OpenAI's encoding."""

from __future__ import annotations

import os
from typing import Literal

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Animal(BaseModel):
    """An animal."""

    name: Literal["fox", "owl"]


@tool
def weight(name: Literal["fox", "owl"]) -> str:
    """Return what an animal weighs."""
    return "6 kg"


chat = ChatOpenAI(
    model="SmolLM2_135M_Instruct", base_url=os.environ["BASE_URL"], api_key="any", max_tokens=64
)
assert chat.invoke("Hello").content
assert "".join(part.text for part in chat.stream("Hello"))
for method in ("json_schema", "function_calling"):
    assert isinstance(
        chat.with_structured_output(Animal, method=method).invoke("Name an animal."), Animal
    )
called = chat.bind_tools([weight], tool_choice="any").invoke("What does a fox weigh?")
assert called.tool_calls[0]["name"] == "weight"
agent = create_agent(chat, [weight])
messages = agent.invoke({"messages": [("user", "Hello")]}, {"recursion_limit": 6})["messages"]
assert messages[-1].type == "ai"

vectors = OpenAIEmbeddings(
    model="All_MiniLM_L6_v2", base_url=os.environ["BASE_URL"], api_key="any"
)  # its default tokenizer is that of OpenAI's models, which a host serves
vectors.check_embedding_ctx_length = False
assert len(vectors.embed_documents(["a", "b"])[1]) == 384
