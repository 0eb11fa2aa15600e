"""Fields of other APIs of embeddings and ranking: Cohere's, Voyage's, Jina's, TEI's, vLLM's.

A field is one of ours by another name, is put into our words, or is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handler.contract.translation import Translate, Translation
from handler.contract.unsupported import Unsupported, alike
from models.errors import UnsupportedParameter

_CUT = "send truncate: true, which cuts at what the model reads"

UNSUPPORTED: dict[str, Unsupported] = {
    "add_special_tokens": Unsupported(True),
    "late_chunking": Unsupported(False),
    "truncation_direction": Unsupported("Right", "right"),
    **alike(("max_length", "truncate_prompt_tokens"), _CUT),
}

_PURPOSES = {  # Jina's tasks, and the names that sentence-transformers gives to prompts
    "retrieval.query": "query",
    "retrieval.passage": "passage",
    "query": "query",
    "document": "document",
    "passage": "passage",
}
_FORMS = {  # Jina's
    "float": {"output_dtype": "float"},
    "base64": {"encoding_format": "base64"},
    "binary": {"output_dtype": "binary"},
    "ubinary": {"output_dtype": "ubinary"},
    "int8": {"output_dtype": "int8"},
}
_CUTS = {"NONE": False, "END": True}  # Cohere's and NVIDIA's


def translated(given: Mapping[str, Any], table: Mapping[str, Translate]) -> Translation:
    """Put other APIs' fields into our words.

    Raises:
        InvalidValue: a field contradicts another one.
        UnsupportedParameter: its value cannot be honoured.
    """
    made = Translation(given)
    if made.body.get("truncate_prompt_tokens") == -1:  # vLLM: at what the model reads
        del made.body["truncate_prompt_tokens"]
        made.add("truncate", True, "truncate_prompt_tokens")
    made.apply(table)
    return made


def _purpose(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, str) or value not in _PURPOSES:
        raise UnsupportedParameter(
            f"{name} may be {', '.join(_PURPOSES)}; leave it out for a model without prefixes.",
            param=name,
        )
    return {"input_type": _PURPOSES[value]}


def _form(name: str, value: Any) -> dict[str, Any]:
    kind = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(kind, str) or kind not in _FORMS:
        raise UnsupportedParameter(f"{name} may be one of {', '.join(_FORMS)}.", param=name)
    return dict(_FORMS[kind])


def _cut(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, str):
        return {name: value}
    if value.upper() not in _CUTS:
        raise UnsupportedParameter(
            f"{name} may be true, false, END or NONE: a text is cut at its end.", param=name
        )
    return {name: _CUTS[value.upper()]}


RANKING: Mapping[str, Translate] = {"truncate": _cut}
EMBEDDING: Mapping[str, Translate] = {
    **RANKING,
    "embedding_type": _form,
    "prompt_name": _purpose,
    "task": _purpose,
}
