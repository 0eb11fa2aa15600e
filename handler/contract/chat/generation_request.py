"""The fields that every request for generated text has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from handler.contract.base import Call
from handler.contract.chat import foreign
from handler.contract.chat.tools import ResponseFormat
from handler.contract.request import (
    Integer,
    Items,
    JsonObject,
    NonEmpty,
    Part,
    Request,
)
from models.chat.request import Grammar, Sampling
from models.errors import InvalidValue, UnsupportedParameter

MAX_CHOICES = 16
MAX_TOP_LOGPROBS = 20  # OpenAI's
MAX_BIASES = 300  # OpenAI's
MAX_REGEX = 10_000  # characters
Bias = Annotated[float, Field(ge=-100, le=100)]
Choice = Annotated[NonEmpty, Field(max_length=1000)]
Stop = Annotated[NonEmpty, Field(max_length=1000)]  # what may begin it is looked for at each token
Penalty = Annotated[float, Field(ge=-2, le=2)]  # OpenAI's range
_LONG = 20  # digits; no vocabulary is as large
_FORMS = ("response_format", "guided_json", "guided_regex", "guided_choice")


class StreamOptions(Part):
    """Options of a stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # random padding; taken, never sent


class GenerationRequest(Request):
    """The fields of every conversation and completion: sampling, stops, streams, forms."""

    aliases: ClassVar[Mapping[str, str]] = foreign.ALIASES
    translates: ClassVar = foreign.TRANSLATED
    informational: ClassVar = Request.informational | foreign.INFORMATIONAL
    unsupported: ClassVar = foreign.UNSUPPORTED

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[Integer, Field(ge=-1)] | None = None  # -1 is vLLM's word for all
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Annotated[dict[str, Bias], Items(MAX_BIASES)] = Field(default={})
    max_tokens: Annotated[Integer, Field(ge=1)] | None = None
    min_tokens: Annotated[Integer, Field(ge=0)] = 0
    ignore_eos: bool = False
    seed: Annotated[Integer, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[Integer, Field(ge=1, le=MAX_CHOICES)] = 1
    stop: Stop | Annotated[list[Stop], Items(4)] = Field(default=[])
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    response_format: ResponseFormat | None = None
    guided_json: JsonObject | None = None
    guided_regex: Annotated[NonEmpty, Field(max_length=MAX_REGEX)] | None = None
    guided_choice: Annotated[list[Choice], Items(1000, least=1)] | None = None
    lora: NonEmpty | None = None

    @classmethod
    def translated(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Put other servers' fields into our words; see ``foreign``."""
        made = foreign.translated(given)
        return made.body, made.called

    @property
    def asked_tokens(self) -> int | None:
        """The answer's length that was asked for."""
        return self.max_tokens

    @property
    def told_logprobs(self) -> int | None:
        """The number of alternatives to each token; None = no log probabilities at all."""
        return None

    def sampling(self, call: Call, vocabulary: int) -> Sampling:
        """The request's sampling, the model's defaults where it says nothing.

        Raises:
            InvalidValue: ``logit_bias`` names no token of the vocabulary.
        """

        def pick(name: str, fallback: Any) -> Any:
            given = getattr(self, name)
            return call.default(name, fallback) if given is None else given

        return Sampling(
            max_tokens=self.asked_tokens or call.default("max_tokens"),
            min_tokens=self.min_tokens,
            temperature=pick("temperature", 1.0),
            top_p=pick("top_p", 1.0),
            top_k=min(max(pick("top_k", 0), 0), vocabulary),
            min_p=pick("min_p", 0.0),
            repetition_penalty=pick("repetition_penalty", 1.0),
            frequency_penalty=pick("frequency_penalty", 0.0),
            presence_penalty=pick("presence_penalty", 0.0),
            logit_bias=_bias(self.logit_bias, vocabulary),
            ignore_eos=self.ignore_eos,
            seed=self.seed,
            logprobs=self.told_logprobs,
        )

    @property
    def stops(self) -> list[str]:
        """Stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        named = [name for name in _FORMS if self._form(name) is not None]
        if len(named) > 1:
            raise InvalidValue(
                f"{' and '.join(named)} each ask for a form of the answer; send one of them.",
                param=named[1],
            )
        if named and (self.min_tokens or self.ignore_eos):
            param = "min_tokens" if self.min_tokens else "ignore_eos"
            raise UnsupportedParameter(
                f"{param}: an answer by {named[0]} ends where its form does; leave one of them "
                "out.",
                param=param,
            )
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise InvalidValue(
                f"min_tokens must not be more than max_tokens, {self.max_tokens}; got "
                f"{self.min_tokens}.",
                param="min_tokens",
            )
        return self

    def grammar(self) -> Grammar | None:
        """The form that the answer must have."""
        return next((form for name in _FORMS if (form := self._form(name)) is not None), None)

    def _form(self, name: str) -> Grammar | None:
        given = getattr(self, name)
        if given is None:
            return None
        if name == "guided_json":
            return Grammar("json_schema", json.dumps(given), name)
        if name == "guided_regex":
            return Grammar("regex", given, name)
        if name == "guided_choice":
            choices = " | ".join(_lark_string(choice) for choice in given)
            return Grammar("lark", f"start: {choices}", name)
        schema = given.schema_text()
        return None if schema is None else Grammar("json_schema", *schema)


def _lark_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _bias(given: Mapping[str, float], vocabulary: int) -> dict[int, float]:
    bias = {}
    for name, value in given.items():
        if not (name.isdecimal() and len(name) < _LONG and int(name) < vocabulary):
            raise InvalidValue(
                f"logit_bias: {name[:40]!r} is no token of the model; its ids go from 0 to "
                f"{vocabulary - 1}.",
                param="logit_bias",
            )
        bias[int(name)] = value
    return bias
