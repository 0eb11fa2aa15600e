"""What a request of Anthropic's says of tools and of the answer's form, as a chat has it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from handler.contract.chat.reasoning import Effort
from handler.contract.request import JsonObject, NonEmpty, Part, Text
from models.errors import UnsupportedParameter, shorten


class AnthropicTool(BaseModel):
    """A function; a tool of any other type than ``custom`` is a server's, or has its own schema."""

    model_config = ConfigDict(strict=True)

    name: NonEmpty
    type: Text | None = None
    description: Text | None = None
    input_schema: JsonObject | None = None
    strict: bool | None = None

    def as_chat(self, path: str) -> dict[str, Any]:
        """Return the tool as chat has it.

        Raises:
            UnsupportedParameter: it is one that Anthropic's own servers and models know.
        """
        if self.type not in (None, "custom"):
            raise UnsupportedParameter(
                f"{path}.type: tools of type {shorten(self.type or '')} are Anthropic's own; send "
                "a tool with a name, a description and an input_schema.",
                param=f"{path}.type",
            )
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": self.input_schema,
            "strict": self.strict,
        }
        given = {name: value for name, value in function.items() if value is not None}
        return {"type": "function", "function": given}


class AnthropicChoice(BaseModel):
    """Whether the model calls, and what."""

    model_config = ConfigDict(strict=True)

    type: Literal["auto", "any", "tool", "none"]
    name: NonEmpty | None = None
    disable_parallel_tool_use: bool = False

    def as_chat(self) -> Any:
        """Return chat's ``tool_choice``."""
        if self.type == "tool":
            return {"type": "function", "function": {"name": self.name}}
        return {"auto": "auto", "any": "required", "none": "none"}[self.type]


class JsonForm(BaseModel):
    """The form of an answer."""

    model_config = ConfigDict(strict=True, populate_by_name=True)

    type: Literal["json_schema"]
    schema_: Annotated[JsonObject, Field(alias="schema")]

    def as_chat(self) -> dict[str, Any]:
        """Return chat's ``response_format``."""
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": self.schema_}}


class OutputConfig(Part):
    """How much work the model puts into its answer, and the answer's form."""

    effort: Effort | None = None
    format: JsonForm | None = None
