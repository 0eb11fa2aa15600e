"""The parts of a responses request, flat where chat nests, and what they are in a chat."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from handler.contract.chat.tools import MAX_TOOLS
from handler.contract.request import Items, JsonObject, NonEmpty, Part, Text
from models.errors import InvalidValue


class TextFormat(BaseModel):
    """The form of the answer: OpenAI's ``text.format``, flat where chat nests."""

    model_config = ConfigDict(strict=True)

    type: Literal["text", "json_object", "json_schema"]
    name: NonEmpty | None = None
    schema_: JsonObject | None = Field(default=None, alias="schema")
    description: Text | None = None
    strict: bool | None = None


class TextOptions(Part):
    """What the answer's text is like."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class FlatTool(BaseModel):
    """A function, flat where chat nests."""

    model_config = ConfigDict(strict=True)

    type: Literal["function"]
    name: NonEmpty
    description: Text | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class FlatChoice(BaseModel):
    """One function that must be called."""

    model_config = ConfigDict(strict=True)

    type: Literal["function"]
    name: NonEmpty


class FlatAllowed(BaseModel):
    """A choice among some functions, flat where chat nests."""

    model_config = ConfigDict(strict=True)

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[FlatChoice], Items(MAX_TOOLS, least=1)]


def nested_tool(tool: FlatTool) -> dict[str, Any]:
    """Return a function as chat has it."""
    function = tool.model_dump(exclude={"type"}, exclude_none=True)
    return {"type": "function", "function": function}


def nested_choice(choice: FlatChoice | FlatAllowed) -> dict[str, Any]:
    """Return a choice of functions as chat has it."""
    if isinstance(choice, FlatChoice):
        return {"type": "function", "function": {"name": choice.name}}
    tools = [nested_choice(tool) for tool in choice.tools]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}}


def nested_form(form: TextFormat | None) -> dict[str, Any] | None:
    """Return chat's ``response_format``.

    Raises:
        InvalidValue: a JSON Schema lacks its name, or is missing.
    """
    if form is None:
        return None
    if form.type != "json_schema":
        return {"type": form.type}
    for name, given in (("name", form.name), ("schema", form.schema_)):
        if given is None:
            raise InvalidValue(
                f"text.format.{name} is required where type is json_schema.",
                param=f"text.format.{name}",
                code="missing_required_parameter",
            )
    return {"type": "json_schema", "json_schema": {"name": form.name, "schema": form.schema_}}
