"""Multipart forms, as OpenAI's clients send files, turned into a body like every other.

A form's values are all text: numbers and booleans are read where the request's type has them, and a
name that ends in ``[]`` is a list. Files go to a folder of the request's own, and the body holds a
reference to each.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest

from handler.contract.request import Request
from models.errors import InvalidValue

_MAX_FIELDS, _MAX_FILES = 100, 16
_MAX_FIELD_BYTES = 1 << 20
_SCALARS = frozenset({"integer", "number", "boolean"})


@asynccontextmanager
async def read_form(
    http: HttpRequest, kind: type[Request]
) -> AsyncIterator[tuple[dict[str, Any], dict[str, Path]]]:
    """Lend a form's body and its files by reference; the files go away with the block.

    Raises:
        InvalidValue: the form cannot be read, or brings no file where one is needed.
    """
    with tempfile.TemporaryDirectory(prefix="quartet-") as folder:
        try:
            form = await http.form(
                max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
            )
        except HTTPException as error:  # what Starlette makes of a form that breaks its rules
            raise InvalidValue(f"The form cannot be read: {error.detail}") from error
        try:
            uploads: dict[str, Path] = {}
            body = await _body(form, kind, Path(folder), uploads)
            _check_files(body, kind)
            yield body, uploads
        finally:
            await form.close()


async def _body(
    form: FormData, kind: type[Request], folder: Path, uploads: dict[str, Path]
) -> dict[str, Any]:
    body: dict[str, Any] = {}
    scalars = _scalars(kind)
    for key, value in form.multi_items():
        name = key.removesuffix("[]")
        one: Any = value
        if isinstance(value, UploadFile):
            one = f"upload:{name}:{uuid.uuid4().hex}"
            name = kind.files.get(name, name)
            uploads[one] = folder / str(len(uploads))
            await asyncio.to_thread(_save, value.file, uploads[one])
        elif name in scalars:
            one = _scalar(value)
        if key.endswith("[]") or name in body:
            before = body.get(name, [])
            body[name] = [*(before if isinstance(before, list) else [before]), one]
        else:
            body[name] = one
    return body


def _check_files(body: Mapping[str, Any], kind: type[Request]) -> None:
    for name, field in kind.files.items():
        if field not in body:
            raise InvalidValue(
                f"{name} is required: the file itself (with curl: -F {name}=@path).",
                param=name,
                code="missing_required_parameter",
            )


def _save(file: BinaryIO, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(file, target)


def _scalar(text: str) -> Any:
    """A number or a boolean; what is neither stays text, for validation to name."""
    try:
        value = json.loads(text.strip().lower())
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, int | float) else text


def _scalars(kind: type[Request]) -> set[str]:
    """The names of the fields that are numbers or booleans, under every alias."""
    properties: Mapping[str, Any] = kind.model_json_schema().get("properties", {})
    names = {name for name, schema in properties.items() if _types(schema) & _SCALARS}
    neutral = {
        name
        for name, field in kind.unsupported.items()
        if any(isinstance(value, int | float) for value in field.neutral)
    }
    return names | neutral | {alias for alias, name in kind.aliases.items() if name in names}


def _types(schema: Mapping[str, Any]) -> set[str]:
    branches = schema.get("anyOf", [schema])
    return {str(branch.get("type")) for branch in branches}
