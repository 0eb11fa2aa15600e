"""Clients' schemas: every answer is valid by them, and none is refused but by the documented list."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import jsonschema
import pytest

from models.chat.request import Grammar
from models.chat.vetting import Vetting
from tests.support.client_schemas import Sample, of_mcp, of_openapi, of_pydantic, of_zod
from tests.support.walking import accepts, walk

SAMPLES = list(
    chain.from_iterable(family.schemas() for family in (of_pydantic, of_zod, of_openapi, of_mcp))
)
# docs/chat.md, "Schemas that are refused".
DOCUMENTED = re.compile(r"/uniqueItems is a keyword that no answer can be held to")  # sets


@pytest.fixture(scope="module")
def vetting() -> Iterator[Vetting]:
    made = Vetting(cpu_s=5.0)
    yield made
    made.close()


def held(vetting: Vetting, schema: Any) -> Grammar | str:
    """Return a schema's grammar, or why it is refused."""
    vetted = vetting.vetted(Grammar("json_schema", json.dumps(schema), "guided_json"))
    return vetted if isinstance(vetted, Grammar) else vetted[1]


def validator(schema: dict[str, Any]) -> Any:
    kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    return kind(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def check(vetting: Vetting, sample: Sample, walks: int) -> tuple[int, bool]:
    """Walk through a sample; return how many answers ended, and whether it is refused."""
    grammar = held(vetting, sample.schema)
    if isinstance(grammar, str):
        assert DOCUMENTED.search(grammar), (sample, grammar)
        assert '"uniqueItems": true' in json.dumps(sample.schema)
        return 0, True
    for value in sample.good:
        assert accepts(grammar, value), (sample, value, grammar.source)
    for value in sample.bad:
        assert not accepts(grammar, value), (sample, value)
    valid, ended = validator(sample.schema), 0
    for turn in range(walks):
        text = walk(grammar, random.Random(f"{sample.name} {turn}"))
        if text is None:
            continue
        value = json.loads(text)
        error = next(valid.iter_errors(value), None)
        assert error is None, (sample, text, error)
        ended += 1
    return ended, False


def test_answers_to_four_hundred_schemas_are_valid(vetting):
    assert len(SAMPLES) >= 400
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES)
    results = [check(vetting, sample, 1) for sample in SAMPLES]
    refused = sum(refused for _, refused in results)
    assert refused <= 0.03 * len(SAMPLES)
    assert sum(ended for ended, _ in results) > 0.95 * (len(SAMPLES) - refused)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_answers_to_four_hundred_schemas_are_valid(vetting):
    for sample in SAMPLES:
        check(vetting, sample, 12)
