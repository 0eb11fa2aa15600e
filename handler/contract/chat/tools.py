"""Functions that a model may call, and forms that an answer must have."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from handler.contract.request import Items, JsonObject, NonEmpty, Text
from models.chat.protocols import ToolCalling
from models.chat.request import Embedded, Grammar
from models.errors import InvalidValue, UnsupportedParameter

MAX_TOOLS = 128  # OpenAI's
_ANY_OBJECT = {"type": "object"}


class FunctionTool(BaseModel):
    """A function: its name, what it does, and the JSON Schema of its arguments."""

    model_config = ConfigDict(strict=True)

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
    description: Text | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None

    @field_validator("parameters")
    @classmethod
    def _of_an_object(cls, given: dict[str, Any] | None) -> dict[str, Any] | None:
        if given and given.get("type", "object") != "object":
            raise ValueError('type must be "object": arguments have names')
        return given


class Tool(BaseModel):
    """A function that the model may call."""

    model_config = ConfigDict(strict=True)

    type: Literal["function"]
    function: FunctionTool

    def plain(self) -> dict[str, Any]:
        """The tool as chat templates know it."""
        told = self.function.model_dump(exclude_none=True, exclude={"strict"})
        return {"type": "function", "function": {"parameters": _NO_ARGUMENTS, **told}}


_NO_ARGUMENTS = {"type": "object", "properties": {}}


class Named(BaseModel):
    """The name of a function."""

    model_config = ConfigDict(strict=True)

    name: NonEmpty


class NamedTool(BaseModel):
    """One function that must be called."""

    model_config = ConfigDict(strict=True)

    type: Literal["function"]
    function: Named


class AllowedTools(BaseModel):
    """The functions that may be called, and whether one must be."""

    model_config = ConfigDict(strict=True)

    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Items(MAX_TOOLS, least=1)]


class AllowedChoice(BaseModel):
    """A choice among some of ``tools``; the model sees no others."""

    model_config = ConfigDict(strict=True)

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice = Literal["none", "auto", "required"] | NamedTool | AllowedChoice


def must_call(choice: ToolChoice | None) -> bool:
    """Return whether the answer must be a call."""
    if isinstance(choice, AllowedChoice):
        return choice.allowed_tools.mode == "required"
    return choice == "required" or isinstance(choice, NamedTool)


class JsonSchema(BaseModel):
    """A form by its schema; it is always kept, ``strict`` or not."""

    model_config = ConfigDict(strict=True, populate_by_name=True)

    name: NonEmpty
    description: Text | None = None
    schema_: JsonObject | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """The form of an answer."""

    model_config = ConfigDict(strict=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def schema_text(self) -> tuple[str, str] | None:
        """The JSON Schema to keep, as text, and the field that gave it.

        Raises:
            InvalidValue: there should be one, and is none.
        """
        if self.type == "text":
            return None
        if self.type == "json_object":
            return json.dumps(_ANY_OBJECT), "response_format"
        if self.json_schema is None:
            raise InvalidValue(
                "response_format.json_schema is required where type is json_schema.",
                param="response_format.json_schema",
                code="missing_required_parameter",
            )
        schema = _ANY_OBJECT if self.json_schema.schema_ is None else self.json_schema.schema_
        return json.dumps(schema), "response_format.json_schema.schema"


def chosen(tools: Sequence[Tool], choice: ToolChoice | None) -> Mapping[int, Tool]:
    """The tools that the model is told of, by their places.

    Raises:
        InvalidValue: one is to be called, and there is none of that name.
    """
    placed = dict(enumerate(tools))
    if choice in (None, "auto") or (choice == "none" and not tools):
        return placed
    if choice == "none":
        return {}
    if not tools:
        raise InvalidValue("tool_choice needs tools to choose from.", param="tool_choice")
    if isinstance(choice, NamedTool):
        return _named(placed, {"tool_choice.function.name": choice.function.name})
    if isinstance(choice, AllowedChoice):
        path = "tool_choice.allowed_tools.tools"
        allowed = enumerate(choice.allowed_tools.tools)
        names = {f"{path}[{at}].function.name": tool.function.name for at, tool in allowed}
        return _named(placed, names)
    return placed


def _named(placed: Mapping[int, Tool], names: Mapping[str, str]) -> Mapping[int, Tool]:
    """Return the tools of some names, which are given by their fields."""
    known = {tool.function.name for tool in placed.values()}
    for param, name in names.items():
        if name not in known:
            raise InvalidValue(
                f"{param} names no function of tools, which has: {', '.join(sorted(known))}.",
                param=param,
            )
    wanted = set(names.values())
    return {at: tool for at, tool in placed.items() if tool.function.name in wanted}


def asked_form(
    family: ToolCalling | None,
    slug: str,
    tools: Mapping[int, Tool],
    choice: ToolChoice | None,
    form: Grammar | None,
    *,
    several: bool,
) -> Grammar | None:
    """Return the grammar of the answer: of forced or strict calls, else of ``response_format``.

    Args:
        family: how the model calls, None where it does not.
        slug: of the model.
        tools: that it is told of, by their places in the request.
        choice: which of them, or whether any.
        form: of an answer that is no call.
        several: whether there may be more than one call.

    Raises:
        UnsupportedParameter: the model calls nothing; or a form goes with no call.
    """
    if not tools:
        return form
    if family is None or not family.calls:
        raise UnsupportedParameter(
            f"tools: {slug} was not made to call functions; leave them out.", param="tools"
        )
    plain = [tool.plain() for tool in tools.values()]
    within = tuple(
        Embedded(family.rule(place), f"tools[{at}].function.parameters", closed=True)
        for place, at in enumerate(tools)
    )
    if must_call(choice):
        if form is not None and form.param.startswith("guided"):
            raise UnsupportedParameter(
                f"{form.param}: an answer that must be a call has no other form; leave one of "
                "them out.",
                param=form.param,
            )
        return Grammar("lark", family.forced(plain, several=several), "tools", within)
    if form is not None:
        if form.kind != "json_schema":
            raise UnsupportedParameter(
                f"{form.param}: beside tools an answer can have the form of a JSON Schema only.",
                param=form.param,
            )
        text = family.instead(plain, form.source, several=several)
        return Grammar("lark", text, form.param, within)
    if any(tool.function.strict for tool in tools.values()):
        return Grammar("lark", family.strict(plain, several=several), "tools", within)
    return None


def call_id() -> str:
    """A fresh id of a call, in OpenAI's form."""
    return f"call_{uuid.uuid4().hex[:24]}"
