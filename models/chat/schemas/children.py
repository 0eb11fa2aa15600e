"""What stands below a form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from models.chat.schemas.forms import ArrayForm, Nodes, ObjectForm

Form = dict[str, Any] | ArrayForm | ObjectForm


def is_plain(forms: Sequence[Form]) -> bool:
    """Whether forms contain no subschemas, so that they can be inlined."""
    return all(isinstance(form, dict) for form in forms)


def children_of(form: Form) -> Iterator[Nodes]:
    """Yield the subschemas of a form."""
    if isinstance(form, ObjectForm):
        yield from (nodes for nodes in form.names.values() if nodes is not None)
        yield from (nodes for _, nodes in form.patterns)
    elif isinstance(form, ArrayForm):
        yield from form.front
        yield form.rest


def item_of(form: ArrayForm, at: int) -> Nodes:
    """Return the schemas of the item at an index."""
    return form.front[at] if at < len(form.front) else form.rest
