"""The body of a messages request, and the chat that it comes to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PrivateAttr

from handler.contract.chat.anthropic.blocks import cited, system_text, turns
from handler.contract.chat.anthropic.options import (
    AnthropicChoice,
    AnthropicTool,
    JsonForm,
    OutputConfig,
)
from handler.contract.chat.anthropic.turns import Turn
from handler.contract.chat.generation_request import Stop
from handler.contract.chat.messages import MAX_MESSAGES
from handler.contract.chat.reasoning import Thinking
from handler.contract.chat.request import ChatRequest
from handler.contract.chat.tools import MAX_TOOLS
from handler.contract.request import Integer, Items, Request, Text
from handler.contract.unsupported import Unsupported, alike
from models.errors import InvalidValue, RequestError
from models.leniency import LeftOut, Leniency

MAX_BLOCKS = 1000
MAX_STOPS = 4  # as many as chat looks for
_Object = Annotated[dict[str, Any], Items(100)]
# Templates leave out what they do not know.
_UNREASONED = {"enable_thinking": False, "thinking": False}


class MessagesRequest(Request):
    """The body of a messages request."""

    unsupported: ClassVar = {
        "container": Unsupported(),
        "mcp_servers": Unsupported(instead="send tools, and call them yourself"),
        "logprobs": Unsupported(False, instead="ask /v1/chat/completions for them"),
        "n": Unsupported(1),
        "top_logprobs": Unsupported(0),
        "service_tier": Unsupported("auto", "standard_only"),
        "speed": Unsupported("standard"),
        **alike(("prompt",), "send messages"),
        **alike(("response_format",), "send output_config.format"),
    }
    aliases: ClassVar = {"stop": "stop_sequences"}
    informational: ClassVar = Request.informational | {
        "anthropic_beta", "anthropic_version", "betas", "cache_control", "diagnostics",
        "inference_geo", "user_profile_id", "workspace_id",
    }  # fmt: skip

    messages: Annotated[list[_Object], Items(MAX_MESSAGES, least=1)]
    max_tokens: Annotated[Integer, Field(ge=1)] | None = None
    system: Text | Annotated[list[_Object], Items(MAX_BLOCKS)] = ""
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: float | None = None
    top_k: Annotated[Integer, Field(ge=0)] | None = None
    stop_sequences: Annotated[list[Stop], Items(MAX_STOPS)] = Field(default=[])
    stream: bool = False
    tools: Annotated[list[AnthropicTool], Items(MAX_TOOLS)] = Field(default=[])
    tool_choice: AnthropicChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig = OutputConfig()
    output_format: JsonForm | None = None
    context_management: _Object = Field(default={})
    _chat: ChatRequest = PrivateAttr()
    _turns: list[Turn] = PrivateAttr(default=[])

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Validate a body, and what it comes to as a chat."""
        request = super().parse(body)
        # Chat's fields that Anthropic's do not have are honoured, or refused, all the same.
        chats = ChatRequest.known() - cls.known() - _OTHER_SHAPES
        more = {name: body[name] for name in chats if body.get(name) is not None}
        chat = request._as_chat(more)
        try:
            request._chat = ChatRequest.parse(chat)
        except RequestError as error:
            request.renamed(error)
            raise
        return request

    @property
    def chat(self) -> ChatRequest:
        """The same as a chat request."""
        return self._chat

    @property
    def shows_reasoning(self) -> bool:
        """Whether the answer has the model's reasoning."""
        return self.thinking is None or self.thinking.display != "omitted"

    def unedited(self) -> Sequence[LeftOut]:
        """Return warnings of what nobody does here: edit the conversation, and cite documents.

        Raises:
            UnsupportedParameter: the request is strict.
        """
        leniency = Leniency(self.strict)
        if self.context_management:
            leniency.leave_out(
                "context_management", "context_management: the conversation is read as it is sent"
            )
        for param in cited(self.messages):
            leniency.leave_out(param, f"{param}: an answer has no citations")
        return leniency.left_out

    def warned(self, left_out: LeftOut) -> LeftOut:
        """Return a warning of chat's field, by its name here."""
        name = self._named(left_out.param)
        return LeftOut(name, left_out.message.replace(left_out.param, name, 1))

    def renamed(self, error: RequestError) -> None:
        """An error of chat's field, by its name here; its message begins with the name."""
        of_chat = error.param
        if of_chat is not None:
            error.param = self._named(of_chat)
            error.message = re.sub(rf"{re.escape(of_chat)}\b", error.param, error.message)
        super().renamed(error)

    def _named(self, param: str) -> str:
        """A field of chat's by its name here."""
        of_message = re.match(r"messages\[(\d+)\](?:\.(content|tool_calls)\[(\d+)\])?(.*)", param)
        if of_message is not None:
            return self._placed(int(of_message[1]), *of_message.groups()[1:])
        if of_tool := re.match(r"(tools\[\d+\])\.function(.*)", param):
            return of_tool[1] + of_tool[2].replace(".parameters", ".input_schema", 1)
        for prefix, name in _NAMES.items():
            if param.startswith(prefix):
                return name
        return param

    def _placed(self, index: int, kind: str | None, at: str | None, rest: str) -> str:
        place = index - bool(self.system)
        if not 0 <= place < len(self._turns):
            return "system" if self.system and index == 0 else "messages"
        turn = self._turns[place]
        if kind is None or at is None:
            return turn.path + _FIELDS.get(rest, rest)
        places = turn.parts if kind == "content" else turn.calls
        inner = {
            ".function.name": ".name", ".function.arguments": ".input", ".image_url": ".source",
            ".file": ".source",
        }  # fmt: skip
        return places[int(at)] + inner.get(rest, "" if kind == "content" else rest)

    def _as_chat(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """The body of the chat.

        Raises:
            RequestError: a block, a tool or the choice is none that a chat can have.
        """
        self._turns.extend(turns(self.messages))
        system = system_text(self.system)
        messages = [turn.message for turn in self._turns]
        if self.system:
            messages = [{"role": "system", "content": system}, *messages]
        choice = self.tool_choice
        if choice is not None and choice.type == "tool" and choice.name is None:
            raise InvalidValue(
                "tool_choice.name is required where type is tool.",
                param="tool_choice.name",
                code="missing_required_parameter",
            )
        form = self.output_config.format or self.output_format
        switches = _UNREASONED if self.thinking is None else {}
        return {
            **more,
            "chat_template_kwargs": {**switches, **more.get("chat_template_kwargs", {})},
            "model": self.model,
            "messages": messages,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "stop": self.stop_sequences,
            "tools": [tool.as_chat(f"tools[{at}]") for at, tool in enumerate(self.tools)],
            "tool_choice": None if choice is None else choice.as_chat(),
            "parallel_tool_calls": choice is None or not choice.disable_parallel_tool_use,
            "thinking": self.thinking and self.thinking.model_dump(exclude_none=True),
            "reasoning_effort": self.output_config.effort,
            "response_format": None if form is None else form.as_chat(),
            "strict": self.strict,
        }


class CountRequest(MessagesRequest):
    """The body of a request for a count of tokens: a messages request that is not answered."""


_OTHER_SHAPES = frozenset({"stop", "metadata", "stream_options"})
_FIELDS = {".tool_call_id": ".tool_use_id", ".content": ".content"}
_NAMES = {
    "stop": "stop_sequences",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "tool_choice.function.name": "tool_choice.name",
}
