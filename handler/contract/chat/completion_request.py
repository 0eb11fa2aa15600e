"""The request of ``POST /v1/completions``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self, cast

from pydantic import Field, model_validator

from handler.contract.chat.generation_request import MAX_TOP_LOGPROBS, GenerationRequest
from handler.contract.request import Integer, Items, NonEmpty
from handler.contract.unsupported import Unsupported, alike
from models.errors import UnsupportedParameter

MAX_PROMPTS = 20  # OpenAI's limit


MAX_PROMPT_TOKENS = 1 << 20  # more than any model reads


Tokens = Annotated[list[Annotated[Integer, Field(ge=0)]], Items(MAX_PROMPT_TOKENS, least=1)]


DEFAULT_TOKENS = 16  # OpenAI's


class CompletionRequest(GenerationRequest):
    """The body of a completions request."""

    unsupported: ClassVar = {
        **GenerationRequest.unsupported,
        "add_special_tokens": Unsupported(True),
        "suffix": Unsupported(),
        "top_logprobs": Unsupported(0, instead="send logprobs"),
        **alike(
            (
                "messages",
                "tools",
                "functions",
                "function_call",
                "chat_template_kwargs",
                "continue_final_message",
                "add_generation_prompt",
                "reasoning_effort",
            ),
            "send it to /v1/chat/completions",
        ),
        **alike(("tool_choice",), "send it to /v1/chat/completions", "none", "auto"),
        **alike(("parallel_tool_calls",), "send it to /v1/chat/completions", True, False),
        "system": Unsupported(instead="write it at the beginning of prompt"),
    }

    prompt: (
        NonEmpty
        | Tokens
        | Annotated[list[NonEmpty], Items(MAX_PROMPTS, least=1)]
        | Annotated[list[Tokens], Items(MAX_PROMPTS, least=1)]
        | None
    ) = None
    max_tokens: Annotated[Integer, Field(ge=0)] | None = None
    best_of: Integer | None = None
    echo: bool = False
    logprobs: Annotated[Integer, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None

    @model_validator(mode="after")
    def _agreed(self) -> Self:
        if self.echo and self.logprobs is not None:
            raise UnsupportedParameter(
                "echo: the prompt's own logprobs are not known; send echo or logprobs.",
                param="echo",
            )
        if self.best_of not in (None, self.n):
            raise UnsupportedParameter(
                f"best_of: every answer is sent; leave it out or send n, {self.n}.",
                param="best_of",
            )
        return self

    @property
    def asked_tokens(self) -> int | None:
        """OpenAI answers 16 tokens here when nothing is said."""
        return DEFAULT_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def told_logprobs(self) -> int | None:
        """The number of alternatives to each token; None = no log probabilities at all."""
        return self.logprobs

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt, a text or its token ids; without a prompt the empty text."""
        if self.prompt is None or isinstance(self.prompt, str):
            return [self.prompt or ""]
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(cast("list[str | list[int]]", self.prompt))
