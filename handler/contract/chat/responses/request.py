"""The body of a responses request, and the chat that it comes to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from handler.contract.chat.messages import MAX_MESSAGES
from handler.contract.chat.reasoning import Reasoning
from handler.contract.chat.request import ChatRequest
from handler.contract.chat.responses.items import is_one_turn
from handler.contract.chat.responses.items import messages as items_as_messages
from handler.contract.chat.responses.shapes import (
    FlatAllowed,
    FlatChoice,
    FlatTool,
    TextOptions,
    nested_choice,
    nested_form,
    nested_tool,
)
from handler.contract.chat.tools import MAX_TOOLS
from handler.contract.request import Integer, Items, NonEmpty, Request, Text
from handler.contract.unsupported import Unsupported, alike
from models.errors import InvalidValue, RequestError, UnsupportedParameter, shorten

_STATELESS = "nothing is kept between requests; send what was said before as input"
MAX_METADATA = 64  # OpenAI has 16
MAX_INCLUDED = 20
# Parts of an answer that is kept nowhere and calls no tools of a server: there are none to include.
_ABSENT = frozenset({
    "code_interpreter_call.outputs", "computer_call_output.output.image_url",
    "file_search_call.results", "message.input_image.image_url", "reasoning.encrypted_content",
    "web_search_call.action.sources", "web_search_call.results",
})  # fmt: skip
Item = Annotated[dict[str, Any], Items(100)]  # a message, a call, what it gave


class ResponsesRequest(Request):
    """The body of a responses request."""

    unsupported: ClassVar = {
        "background": Unsupported(False),
        "context_management": Unsupported(),
        "conversation": Unsupported(instead=_STATELESS),
        "max_tool_calls": Unsupported(),
        "moderation": Unsupported(),
        "n": Unsupported(1),
        "previous_response_id": Unsupported(instead=_STATELESS),
        "prompt": Unsupported(instead="send it as input"),
        "service_tier": Unsupported("auto", "default"),
        "store": Unsupported(False, instead=_STATELESS),
        "top_logprobs": Unsupported(0),
        "truncation": Unsupported("disabled"),
        **alike(("messages", "system"), "send input and instructions"),
        **alike(("logprobs",), "ask /v1/chat/completions for them", False),
        **alike(("response_format",), "send text.format"),
    }
    aliases: ClassVar = {
        "max_tokens": "max_output_tokens",
        "max_completion_tokens": "max_output_tokens",
        "max_new_tokens": "max_output_tokens",
    }
    informational: ClassVar = Request.informational | {
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "stream_options",
    }

    input: NonEmpty | Annotated[list[Item], Items(MAX_MESSAGES, least=1)]
    instructions: Text = ""
    max_output_tokens: Annotated[Integer, Field(ge=1)] | None = None
    metadata: Annotated[dict[str, Text], Items(MAX_METADATA)] = Field(default={})
    temperature: float | None = None
    top_p: float | None = None
    text: TextOptions = TextOptions()
    tools: Annotated[list[FlatTool], Items(MAX_TOOLS)] = Field(default=[])
    tool_choice: Literal["none", "auto", "required"] | FlatChoice | FlatAllowed = "auto"
    include: Annotated[list[Text], Items(MAX_INCLUDED)] = Field(default=[])
    reasoning: Reasoning | None = None
    parallel_tool_calls: bool = True
    stream: bool = False
    _chat: ChatRequest = PrivateAttr()
    _items: list[list[int]] = PrivateAttr(default=[])  # that each message of the chat is made of

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Validate a body, and what it comes to as a chat."""
        request = super().parse(body)
        if request.text.verbosity not in (None, "medium"):
            raise UnsupportedParameter(
                'text.verbosity is not supported; leave it out or send "medium".',
                param="text.verbosity",
            )
        request._check_included()
        # Chat's fields that OpenAI's Responses do not have are honoured, or refused, all the same.
        chats = ChatRequest.known() - cls.known()
        more = {name: body[name] for name in chats if body.get(name) is not None}
        try:
            request._chat = ChatRequest.parse({**more, **request._as_chat()})
        except RequestError as error:
            request.renamed(error)
            raise
        return request

    def _check_included(self) -> None:
        for at, name in enumerate(self.include):
            if name not in _ABSENT:
                param = f"include[{at}]"
                raise UnsupportedParameter(
                    f"{param}: {shorten(name)} cannot be included; leave it out.", param=param
                )

    @property
    def effort(self) -> str | None:
        """How much the model is asked to reason."""
        return None if self.reasoning is None else self.reasoning.effort

    @property
    def chat(self) -> ChatRequest:
        """The same as a chat request."""
        return self._chat

    def renamed(self, error: RequestError) -> None:
        """An error of chat's field, by its name here; its message begins with the name."""
        of_chat = error.param
        if of_chat is not None:
            error.param = self._named(of_chat)
            error.message = re.sub(rf"\b{re.escape(of_chat)}", error.param, error.message)
        super().renamed(error)

    def _named(self, param: str) -> str:
        """A field of chat's by its name here."""
        of_message = re.match(r"messages\[(\d+)\](?:\.tool_calls\[(\d+)\])?(?:.*\.(\w+))?", param)
        if of_message is not None:
            place = int(of_message[1]) - bool(self.instructions)
            if not (isinstance(self.input, list) and 0 <= place < len(self._items)):
                return "input"
            items, field = self._items[place], _FIELDS.get(of_message[3], of_message[3])
            # What is called comes after what is said.
            calls = [index for index in items if self.input[index].get("type") == "function_call"]
            item = items[0] if of_message[2] is None else calls[int(of_message[2])]
            given = self.input[item].get("type") == "function_call_output"
            content = "output" if given else "content"
            if part := re.match(_PICTURE, param):
                return f"input[{item}].{content}{part[1]}{part[2] or ''}"
            if field == "content":
                field = content
            return f"input[{item}].{field}" if field else f"input[{item}]"
        if of_tool := re.match(r"(tools\[\d+\])\.function(.*)", param):
            return of_tool[1] + of_tool[2]
        if of_allowed := re.match(
            r"tool_choice\.allowed_tools(.*?)(?:\.function)?(\.name)?$", param
        ):
            return f"tool_choice{of_allowed[1]}{of_allowed[2] or ''}"
        for prefix, name in _NAMES.items():
            if param.startswith(prefix):
                return name + param.removeprefix(prefix)
        return param

    def _as_chat(self) -> dict[str, Any]:
        """The body of the chat.

        Raises:
            InvalidValue: an item is none that a chat can have.
        """
        given = self.input
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        messages: list[dict[str, Any]] = []
        for index, message in items_as_messages(items):
            if messages and is_one_turn(messages[-1], message):
                calls = messages[-1].get("tool_calls", [])
                messages[-1] = {**messages[-1], "tool_calls": calls + message["tool_calls"]}
                self._items[-1].append(index)
            else:
                messages.append(message)
                self._items.append([index])
        if not messages:
            raise InvalidValue("input holds nothing to answer.", param="input")
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "max_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "response_format": nested_form(self.text.format),
            "tools": [nested_tool(tool) for tool in self.tools],
            "tool_choice": None if self.tool_choice == "auto" else self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls,
            "reasoning": self.reasoning and self.reasoning.model_dump(exclude_none=True),
            "strict": self.strict,
        }
        if not isinstance(self.tool_choice, str):
            body["tool_choice"] = nested_choice(self.tool_choice)
        if self.instructions:
            body["messages"] = [{"role": "system", "content": self.instructions}, *messages]
        return body


_FIELDS = {"tool_call_id": "call_id", "id": "call_id"}
_PICTURE = r"messages\[\d+\]\.content(\[\d+\])(?:(\.image_url.*)|\.file)"
_NAMES = {
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "tool_choice.function.name": "tool_choice.name",
}
