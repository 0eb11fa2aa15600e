"""What the shapes of all surfaces share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

# Of a field that an answer may lack: the field is left out then, and is never null.
Absent = SkipJsonSchema[None]


def _open(schema: dict[str, Any]) -> None:
    """Let clients expect further fields: they may come with a later version."""
    schema.pop("additionalProperties", None)


class Shape(BaseModel):
    """Base of the shapes; a field that none of them names does not leave the worker."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_open)


class Warned(Shape):
    """A field that changed nothing, or a fault of the file that was worked around."""

    param: str
    message: str
    code: str | Absent = None


Notice = Annotated[
    str | Absent,
    Field(description="Only where a stand-in with random weights answered: says so."),
]
Warnings = Annotated[
    list[Warned] | Absent,
    Field(description="Fields that the model has no use for, and what could not be read."),
]


class ErrorObject(Shape):
    """OpenAI's error object."""

    message: str = Field(description="What is wrong, the limit, and what was got.")
    type: str = Field(description="`invalid_request_error` or `server_error`.")
    param: str | None = Field(description="The field of the request, as the client called it.")
    code: str = Field(description="A stable name, such as `model_not_found`.")


class ErrorResponse(Shape):
    """The body of every answer that is not 200."""

    error: ErrorObject


class Model(Shape):
    """OpenAI's Model; `surface`, `tasks` and `notice` are extensions."""

    id: str
    object: str
    created: int
    owned_by: str
    surface: str
    tasks: list[str]
    notice: Notice = None


class ModelList(Shape):
    """OpenAI's list of models; the surfaces' defaults come first."""

    object: str
    data: list[Model]


class Parameter(Shape):
    """A field that a model honours, in JSON Schema's words."""

    model_config = ConfigDict(extra="allow")


class SpokenVoice(Shape):
    """A voice of a model of speech."""

    name: str
    slug: str
    gender: str


class SpokenLanguage(Shape):
    """A language that a model speaks, and the voices that speak it."""

    name: str
    slug: str
    voices: list[SpokenVoice]


class ModelDetail(Model):
    """A model, and the fields that it honours."""

    parameters: dict[str, Parameter]
    languages: list[SpokenLanguage] | Absent = None
