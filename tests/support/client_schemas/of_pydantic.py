"""Schemas that pydantic writes: of models as pydantic-ai, instructor and LangChain have them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar, Union
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, Json, TypeAdapter, create_model
from typing_extensions import TypedDict

from tests.support.client_schemas import Sample


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Point(NamedTuple):
    x: int
    y: float


class Row(TypedDict, total=False):
    name: str
    size: int


class Address(BaseModel):
    street: str
    number: int = Field(ge=1, le=9999)
    zip: str | None = Field(default=None, pattern=r"^\d{5}$")


class Person(BaseModel):
    """A person."""

    model_config = ConfigDict(extra="forbid", title="A person")
    name: str = Field(min_length=1, max_length=30, description="Full name")
    age: Annotated[int, Field(ge=0, lt=150)]
    address: Address
    other: Address | None = None
    tags: list[str] = Field(default_factory=list, max_length=3)


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    breed: str | None = None


class Fish(BaseModel):
    kind: Literal["fish", "shark"]
    metres: float


class Owner(BaseModel):
    pet: Annotated[Cat | Dog | Fish, Field(discriminator="kind")]
    pets: list[Cat | Dog] = Field(default=[], max_length=2)


class Ok(BaseModel):
    result: int


class Failed(BaseModel):
    reason: str


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    known: bool


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next: int | None


FIELDS: list[Any] = [
    int, float, str, bool, None, date, datetime, time, timedelta, UUID, Decimal, bytes, Any,
    Colour, Level, Point, Row, Address, Person, Node, Loose, dict[str, int], dict[str, Any],
    dict[str, Address], dict[Colour, int], list[int], list[Any], list[Address], tuple[int, str],
    tuple[int, ...], Literal["a", "b", 3], Literal[True], int | str, int | None, Cat | Dog,
    Annotated[Cat | Dog | Fish, Field(discriminator="kind")], list[Cat | Dog] | None,
    Annotated[str, Field(pattern=r"^[A-Z]{2}-\d+$")], Annotated[str, Field(max_length=8)],
    Annotated[int, Field(multiple_of=5, ge=0)], Annotated[float, Field(gt=0, lt=1)],
    Annotated[list[int], Field(min_length=1, max_length=3)], Json[Any], object,
    set[str],
    Annotated[Decimal, Field(max_digits=6, decimal_places=2)], dict[str, list[dict[str, float]]],
    Page[int], Page[Address], Ok | Failed, list[list[int]], bool | list[str] | dict[str, bool],
]  # fmt: skip

PLAIN: list[tuple[Any, Any, Any]] = [
    (Person, {"name": "Ada", "age": 36, "address": {"street": "S", "number": 1}}, {"name": "Ada"}),
    (Node, {"value": 1, "children": [{"value": 2, "children": []}]}, {"children": []}),
    (Owner, {"pet": {"kind": "dog", "breed": None}}, {"pet": {"kind": "cat", "lives": "x"}}),
    (Owner, {"pet": {"kind": "shark", "metres": 2.5}}, {"pet": {"kind": "cow"}}),
    (Loose, {"known": True, "more": [1]}, {"known": "yes"}),
    (Page[Address], {"items": [], "next": None}, {"items": [{}], "next": None}),
    (Union[Ok, Failed], {"reason": "none"}, {"neither": 1}),  # noqa: UP007 - a type of its own
    (dict[Colour, int], {"red": 1}, {"green": 1}),
    (tuple[int, str], [1, "a"], [1, 2]),
    (Row, {"size": 3}, {"size": "3"}),
    (date, "2024-02-29", "2023-02-30"),
    (UUID, "12345678-1234-5678-1234-567812345678", "1234"),
    (list[Annotated[Cat | Dog, Field(discriminator="kind")]], [{"kind": "cat", "lives": 9}], [{}]),
]  # fmt: skip


def schemas() -> Iterator[Sample]:
    """Yield the schemas of models by hand, and of models of random fields."""
    for at, (kind, good, bad) in enumerate(PLAIN):
        yield Sample(f"pydantic-{at}", TypeAdapter(kind).json_schema(), (good,), (bad,))
    for at, kind in enumerate(FIELDS):
        yield Sample(
            f"pydantic-field-{at}", create_model("Single", value=(kind, ...)).model_json_schema()
        )
    chance = random.Random(3)
    for at in range(80):
        fields: dict[str, Any] = {}
        for name in chance.sample(["id", "first name", "größe", "a", "b", "c", "x-y"], 3):
            kind = chance.choice(FIELDS)
            optional: Any = (Optional[kind], None)  # noqa: UP045 - None is a kind, too
            fields[name] = (kind, ...) if chance.random() < 0.6 else optional
        config = ConfigDict(extra=chance.choice(["allow", "ignore", "forbid"]))
        model = create_model("Random", __config__=config, **fields)
        mode: Any = chance.choice(["validation", "serialization"])
        yield Sample(f"pydantic-random-{at}", model.model_json_schema(mode=mode))
