"""What a chat template and its tokenizer say of themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from models.chat.share import config_of


def picture_marks(folder: Path, tokenizer: Any) -> list[str]:
    """Return the tokens, as text, that stand for a model's pictures and videos."""
    config = config_of(folder)
    marks = (config.get(f"{kind}_token_id") for kind in ("image", "video"))
    return [tokenizer.convert_ids_to_tokens(mark) for mark in marks if mark is not None]


def variables(template: object) -> frozenset[str]:
    """Return the variables that a chat template reads; none of a template that is not one text."""
    from jinja2 import Environment, TemplateError, meta

    if not isinstance(template, str):
        return frozenset()
    plain = re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", template)  # transformers' own block
    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)  # noqa: S701
    except TemplateError:
        return frozenset()
    return frozenset(meta.find_undeclared_variables(tree))
