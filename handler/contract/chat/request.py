"""The body of a chat request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from handler.contract.chat.generation_request import MAX_TOP_LOGPROBS, GenerationRequest
from handler.contract.chat.messages import MAX_MESSAGES, Message, check
from handler.contract.chat.pictures import Reference, references_of
from handler.contract.chat.reasoning import Effort, Reasoning, Thinking, Wish
from handler.contract.chat.tools import MAX_TOOLS, Tool, ToolChoice, chosen, must_call
from handler.contract.request import Integer, Items, JsonObject, NonEmpty, Text
from handler.contract.unsupported import Unsupported, is_left_out
from models.errors import InvalidValue, UnsupportedParameter

MAX_IMAGES = 100  # beside the messages; fewer are seen
# What a template gets from elsewhere.
_TEMPLATE_OWN = frozenset({
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation",
    "documents", "max_length", "messages", "padding", "return_assistant_tokens_mask",
    "return_dict", "return_tensors", "tokenize", "tokenizer_kwargs", "tools", "truncation",
})  # fmt: skip


class ChatRequest(GenerationRequest):
    """The body of a chat request; a bare ``prompt`` stands for one user message.

    ``system`` stands for a first message of that role, as other APIs have it.
    """

    unsupported: ClassVar = {
        **{name: one for name, one in GenerationRequest.unsupported.items() if name != "thinking"},
        "add_special_tokens": Unsupported(False),
        "apply_chat_template": Unsupported(True, instead="send it to /v1/completions"),
        "audio": Unsupported(),
        "best_of": Unsupported(1),
        "function_call": Unsupported("none", instead="send tools and tool_choice"),
        "chat_template": Unsupported(instead="send chat_template_kwargs"),
        "documents": Unsupported(instead="write them into a message"),
        "echo": Unsupported(False, instead="send it to /v1/completions"),
        "functions": Unsupported(instead="send tools"),
        "modalities": Unsupported(["text"]),
        "moderation": Unsupported(),
        "prediction": Unsupported(),
        "service_tier": Unsupported("auto", "default"),
        "store": Unsupported(False),
        "suffix": Unsupported(),
        "text": Unsupported(instead="send response_format"),
        "verbosity": Unsupported("medium"),
        "web_search_options": Unsupported(),
    }

    informational: ClassVar = GenerationRequest.informational | {
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    }

    aliases: ClassVar = {
        **GenerationRequest.aliases,
        **dict.fromkeys(("images", "image_url", "input_image"), "image"),
    }

    messages: Annotated[list[Message], Items(MAX_MESSAGES, least=1)]
    image: NonEmpty | Annotated[list[NonEmpty], Items(MAX_IMAGES)] = Field(default=[])
    system: Text = ""
    logprobs: bool = False
    top_logprobs: Annotated[Integer, Field(ge=0, le=MAX_TOP_LOGPROBS)] = 0
    tools: Annotated[list[Tool], Items(MAX_TOOLS)] = Field(default=[])
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    chat_template_kwargs: JsonObject = Field(default={})
    reasoning_effort: Effort | None = None
    reasoning: Reasoning | None = None
    thinking: Thinking | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None

    @classmethod
    def translated(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Put other servers' fields into our words; vLLM's ``logprobs`` is a number."""
        body, called = super().translated(given)
        count = body.get("logprobs")
        if isinstance(count, int) and not isinstance(count, bool):
            body["logprobs"], body["top_logprobs"] = True, body.get("top_logprobs", count)
            called["top_logprobs"] = called.get("logprobs", "logprobs")
        return body, called

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Validate a body; also inside the messages nothing known is ignored in silence."""
        check(body.get("messages"))
        return super().parse(body)

    @model_validator(mode="before")
    @classmethod
    def _prompt_as_message(cls, body: Any) -> Any:
        if not isinstance(body, dict) or body.get("prompt") is None:
            return body
        if not is_left_out(body.get("messages")):
            raise InvalidValue(
                "prompt and messages both say what is to be answered; send one of them.",
                param="prompt",
            )
        if isinstance(body["prompt"], str):
            return {**body, "messages": [{"role": "user", "content": body["prompt"]}]}
        return body

    @model_validator(mode="after")
    def _agreed(self) -> Self:
        for index, message in enumerate(self.messages):
            message.check(f"messages[{index}]")
        if self.system and self.messages[0].role in {"system", "developer"}:
            raise InvalidValue(
                "system and messages both hold a system message; send one of them.", param="system"
            )
        if self.top_logprobs and not self.logprobs:
            raise InvalidValue("top_logprobs needs logprobs: true.", param="top_logprobs")
        if taken := sorted(_TEMPLATE_OWN & self.chat_template_kwargs.keys()):
            raise InvalidValue(
                f"chat_template_kwargs: {taken[0]} is not for the client to set.",
                param=f"chat_template_kwargs.{taken[0]}",
            )
        chosen(self.tools, self.tool_choice)
        if self.continue_final_message and not self._ends_with_words:
            raise InvalidValue(
                "continue_final_message needs a last message of the assistant, without calls.",
                param="continue_final_message",
            )
        if self.goes_on and (form := self.grammar()) is not None:
            raise UnsupportedParameter(
                f"{form.param}: an answer that goes on with the assistant's message has no form of "
                "its own; leave one of them out.",
                param=form.param,
            )
        if self.add_generation_prompt is self.goes_on:
            raise InvalidValue(
                "add_generation_prompt: an answer either begins (true) or goes on with the "
                "assistant's last message (false, with continue_final_message).",
                param="add_generation_prompt",
            )
        return self

    @property
    def goes_on(self) -> bool:
        """Whether the last message is the beginning of the answer."""
        if self.continue_final_message is None:
            return self._ends_with_words and not self.add_generation_prompt
        return self.continue_final_message

    @property
    def _ends_with_words(self) -> bool:
        last = self.messages[-1]
        return last.role == "assistant" and not last.tool_calls

    @property
    def told_logprobs(self) -> int | None:
        """The number of alternatives to each token; None = no log probabilities at all."""
        return self.top_logprobs if self.logprobs else None

    @property
    def told_tools(self) -> Mapping[int, Tool]:
        """The tools that the model is told of, by their places in the request."""
        return chosen(self.tools, self.tool_choice)

    @property
    def must_call(self) -> bool:
        """Whether the answer must be a call."""
        return must_call(self.tool_choice)

    @property
    def wish(self) -> Wish:
        """What is asked of the model's reasoning."""
        return Wish(self.reasoning_effort, self.reasoning, self.thinking)

    @property
    def conversation(self) -> list[dict[str, Any]]:
        """Every turn as chat templates know it, where each file is one picture."""
        return self.turns([1] * len(self.references))

    def turns(self, counts: Sequence[int]) -> list[dict[str, Any]]:
        """Return every turn as chat templates know it.

        Args:
            counts: how many pictures each of the ``references`` comes to.
        """
        left = iter(counts)
        turns = [{"role": "system", "content": self.system}] if self.system else []
        for index, message in enumerate(self.messages):
            here = self._further if index == self._shown_at else ()
            turns += message.turns(sum(next(left) for _ in here), left)
        return turns

    @property
    def references(self) -> list[Reference]:
        """Every picture or PDF in the conversation's order; those of ``image`` in its last turn."""
        found: list[Reference] = []
        for index, message in enumerate(self.messages):
            if index == self._shown_at:
                found += self._further
            found += message.references(f"messages[{index}]")
        return found

    @property
    def _further(self) -> list[Reference]:
        """The pictures beside the messages."""
        return references_of(self.image)

    @property
    def _shown_at(self) -> int:
        """The place of the user's last message, before which the pictures beside them stand."""
        places = [at for at, one in enumerate(self.messages) if one.role == "user"]
        return places[-1] if places else len(self.messages) - 1
