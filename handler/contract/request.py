"""The base of every request type.

A field that a client sends is honoured, or named: in an error where it cannot be, in the answer's
``warnings`` where the model has no use for it. Keys that nobody knows are left aside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self

from annotated_types import GroupedMetadata, MaxLen, MinLen
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from handler.contract.explain import explain
from handler.contract.unsupported import Unsupported, is_left_out
from models.errors import InvalidValue, RequestError, UnsupportedParameter


def whole(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


MAX_OBJECT_BYTES = 500_000  # of an object with any keys, as JSON; also of a schema


@dataclass(frozen=True)
class Items(GroupedMetadata):
    """The limits on the length of a list or an object.

    Every list and object of a request has this: without it, validation keeps an error for each
    element, and a body of a few megabytes takes gigabytes. It stops at the first wrong element.
    """

    most: int
    least: int = 0

    def __iter__(self) -> Iterator[object]:
        """Yield the constraints as pydantic knows them."""
        if self.least:
            yield MinLen(self.least)
        yield MaxLen(self.most)
        yield FailFast()


# A constraint, even an empty one, has pydantic refuse what is no UTF-8 (lone surrogates).
Text = Annotated[str, Field(min_length=0)]
NonEmpty = Annotated[str, Field(min_length=1)]
Integer = Annotated[int, BeforeValidator(whole)]


def _json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        size_bytes = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError):
        raise ValueError("must be JSON that UTF-8 can hold, not nested too deeply") from None
    if size_bytes > MAX_OBJECT_BYTES:
        raise ValueError(f"must have at most {MAX_OBJECT_BYTES} bytes as JSON, not {size_bytes}")
    return value


# An object of any keys: a schema, say.
JsonObject = Annotated[dict[str, Any], Items(MAX_OBJECT_BYTES), AfterValidator(_json)]


class Part(BaseModel):
    """Base of the objects within a request; what is empty counts as left out there, too."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_empty(cls, given: Any) -> Any:
        return _without_empty(cls, given) if isinstance(given, dict) else given


def _without_empty(kind: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is empty; a field that is required is left for validation to name."""
    required = {
        name
        for key, field in kind.model_fields.items()
        if field.is_required()
        for name in (key, field.alias)
    }
    return {
        name: value for name, value in given.items() if name in required or not is_left_out(value)
    }


class Request(BaseModel):
    """Base of the surfaces' request types.

    What is empty (null, ``""``, ``[]``, ``{}``) counts as left out, unless the field is required.

    Attributes:
        unsupported: known fields that are refused by name, unless their value changes nothing.
        aliases: further names of a field, as other APIs have them.
        translates: other APIs' fields that are put into our words.
        informational: fields that are taken and change no answer, at OpenAI neither.
        files: which field stands for a file that a form brings.
        strict: whether a field that the model has no use for fails the request.
    """

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, allow_inf_nan=False)

    unsupported: ClassVar[Mapping[str, Unsupported]] = {}
    aliases: ClassVar[Mapping[str, str]] = {}
    translates: ClassVar[frozenset[str]] = frozenset()
    files: ClassVar[Mapping[str, str]] = {}
    informational: ClassVar[frozenset[str]] = frozenset(
        {"metadata", "safety_identifier", "user", "webhook_url", "return_result_in_response"}
    )

    model: str | None = None
    strict: bool = False

    _called: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def asks_for_stream(self) -> bool:
        """Whether it asks for a stream in other words than ``stream``."""
        return False

    @property
    def parts(self) -> int:
        """The number of results asked for at once; a smaller request asks for fewer."""
        return 1

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Validate a body.

        Raises:
            UnsupportedParameter: a known field that this surface does not take.
            InvalidValue: a missing field, a wrong type, a value out of range, or two values of one
                field that has several names.
        """
        given = {key: value for key, value in body.items() if value is not None}
        given, called = cls.translated(given)
        refuse_unsupported(given, cls.unsupported, called)
        called |= cls._rename(given)
        given = _without_empty(cls, given)
        try:
            request = cls.model_validate(given)
        except ValidationError as error:
            raise explain(error, called) from None
        except RequestError as error:
            _rename_fields(error, called)
            raise
        request._called.update(called)
        return request

    @classmethod
    def translated(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Put other APIs' fields into our words, where an alias does not do.

        Returns:
            The body, and what the client called the fields that it then has instead.
        """
        return dict(given), {}

    @classmethod
    def known(cls) -> frozenset[str]:
        """Return every field that is honoured, refused by name, or taken without effect."""
        names = (cls.model_fields, cls.aliases, cls.unsupported, cls.informational, cls.translates)
        return frozenset().union(*names)

    def called(self, param: str) -> str:
        """A field as the client called it, with what stands behind it: ``images[0]``."""
        name = re.match(r"\w*", param)
        if name is None:
            return param
        return self._called.get(name[0], name[0]) + param[name.end() :]

    def renamed(self, error: RequestError) -> None:
        """Put an error of a field of ours in the client's words."""
        if error.param is not None:
            ours, error.param = error.param, self.called(error.param)
            if error.message.startswith(ours):
                error.message = error.param + error.message[len(ours) :]

    @classmethod
    def _rename(cls, given: dict[str, Any]) -> dict[str, str]:
        """Give each field its own name; returns what the client called those it renamed."""
        called: dict[str, str] = {}
        for alias, name in cls.aliases.items():
            if alias not in given:
                continue
            value, empty = given[alias], is_left_out(given[alias])
            if name not in given or (is_left_out(given[name]) and not empty):
                given[name], called[name] = value, alias
            elif not empty and _single(given[name]) != _single(value):
                raise InvalidValue(
                    f"{alias} and {called.get(name, name)} are one field with two names and got "
                    "two values; send one of them.",
                    param=alias,
                )
        return called


def _rename_fields(error: RequestError, called: Mapping[str, str]) -> None:
    """Put the names of fields in an error into the client's words."""
    for name, theirs in called.items():
        error.message = re.sub(rf"\b{re.escape(name)}\b", theirs, error.message)
        if error.param is not None:
            error.param = re.sub(rf"^{re.escape(name)}\b", theirs, error.param)


def _single(value: Any) -> Any:
    """What a list of one element says as well as the element."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def refuse_unsupported(
    given: Mapping[str, Any],
    unsupported: Mapping[str, Unsupported],
    called: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Refuse known fields by name, unless their value changes nothing.

    Args:
        given: the fields that the client sent.
        unsupported: those that are refused.
        called: the client's own names of fields, where they differ.

    Raises:
        UnsupportedParameter: names the first such field, what to do instead, and the others.
    """
    refused = [name for name, field in unsupported.items() if not field.takes(given.get(name))]
    if not refused:
        return
    first, *others = (called.get(name, name) for name in refused)
    also = f" Nor {'is' if len(others) == 1 else 'are'} {', '.join(others)}." if others else ""
    raise UnsupportedParameter(
        f"{first} is not supported; {unsupported[refused[0]].instead}.{also}", param=first
    )
