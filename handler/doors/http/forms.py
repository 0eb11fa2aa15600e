"""Forms, as OpenAI's clients send files, turned into a body like every other.

A form's values are all text, and its names say where in the body a value belongs:

    name                    a field; sent twice, a list
    name[], name[0]         an element of a list
    name[key], name[0][key] a field of an object

Each text is read by the type of its field: a number, a boolean, an object or a list as JSON text.
A text that is empty, and a file input in which nothing is chosen, count as left out. Files go to a
folder of the request's own, and the body holds a reference to each.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request as HttpRequest

from handler.contract.request import Request
from handler.doors.http.form_values import Upload, body_of
from models.errors import InvalidValue

_MAX_FIELDS, _MAX_FILES = 200, 16
_MAX_FIELD_BYTES = 1 << 20
_MAX_DEPTH = 6
_MAX_INDEX = 1000
_NAME_LENGTH = 260  # characters; base64 of any recording has more
_NAME = re.compile(r"(?P<field>[^\[\]]+)(?P<inside>(\[[^\[\]]*\])*)")

Path_ = tuple[str, ...]


@asynccontextmanager
async def read_form(
    http: HttpRequest, kind: type[Request]
) -> AsyncIterator[tuple[dict[str, Any], dict[str, Path]]]:
    """Lend a form's body and its files by reference; the files go away with the block.

    Raises:
        InvalidValue: the form cannot be read, or brings no file where the request needs one.
    """
    with tempfile.TemporaryDirectory(prefix="quartet-") as folder:
        try:
            form = await _parse(http)
        except MultiPartException as error:
            raise InvalidValue(f"The form cannot be read: {error.message}") from error
        try:
            uploads: dict[str, Path] = {}
            values = await _values(form, Path(folder), uploads)
            body = body_of(values, kind)
            _check_files(body, uploads, kind)
            yield body, uploads
        finally:
            await form.close()


async def _parse(http: HttpRequest) -> FormData:
    if http.headers.get("content-type", "").lower().startswith("multipart/"):
        parser = _Parser(
            http.headers,
            http.stream(),
            max_files=_MAX_FILES,
            max_fields=_MAX_FIELDS,
            max_part_size=_MAX_FIELD_BYTES,
        )
        return await parser.parse_whole()
    fields = FormParser(
        http.headers, http.stream(), max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES
    )
    return await fields.parse()


class _Parser(MultiPartParser):
    """Starlette's parser, which also notices what browsers never send."""

    _ended = False

    def on_headers_finished(self) -> None:
        """Take a part that names its file by ``filename*`` alone (RFC 5987) for a file, too."""
        part = self._current_part
        disposition = part.content_disposition or b""
        if b"filename*" in disposition and not re.search(rb"[; ]filename=", disposition):
            part.content_disposition = disposition + b'; filename="file"'
        super().on_headers_finished()

    def on_end(self) -> None:
        """Note the last boundary."""
        self._ended = True

    async def parse_whole(self) -> FormData:
        """Parse a form to its end.

        Raises:
            MultiPartException: it breaks the rules of RFC 7578, or breaks off.
        """
        form = await self.parse()
        if not self._ended:
            await form.close()
            for file in self._files_to_close_on_error:  # of a part that breaks off, too
                file.close()
            raise MultiPartException(
                "it ends without its last boundary (two hyphens, the boundary, two hyphens)."
            )
        return form


async def _values(
    form: FormData, folder: Path, uploads: dict[str, Path]
) -> list[tuple[Path_, str]]:
    """Return the form's values with their paths, in order; files as references."""
    values: list[tuple[Path_, str]] = []
    for name, value in form.multi_items():
        path = _path(name)
        if isinstance(value, str):
            values.append((path, value))
            continue
        if not value.filename and not value.size:
            continue  # a file input in which nothing is chosen
        reference = Upload(f"upload:{uuid.uuid4().hex}")
        uploads[reference] = folder / str(len(uploads))
        await asyncio.to_thread(_save, value, uploads[reference])
        values.append((path, reference))
    return values


def _save(upload: UploadFile, path: Path) -> None:
    source: BinaryIO = upload.file
    with path.open("wb") as target:
        shutil.copyfileobj(source, target)


def _path(name: str) -> Path_:
    """Return the steps of a value's name: ``a[b][0]`` is ``("a", "b", "0")``, ``a[]`` ends in "".

    Raises:
        InvalidValue: the name is none that can be read.
    """
    match = _NAME.fullmatch(name)
    steps = (match["field"], *re.findall(r"\[([^\[\]]*)\]", match["inside"])) if match else ()
    far = any(step.isdecimal() and int(step) >= _MAX_INDEX for step in steps[1:])
    if not steps or len(steps) > _MAX_DEPTH or far:
        raise InvalidValue(
            f"The form's field {name[:60]!r} cannot be read; names are as name, name[], name[0] or "
            f"name[key], with {_MAX_DEPTH} levels and {_MAX_INDEX} elements at most.",
            param=name[:60],
        )
    return steps


def _check_files(body: Mapping[str, Any], uploads: Mapping[str, Path], kind: type[Request]) -> None:
    for name, field in kind.files.items():
        names = [alias for alias, of in kind.aliases.items() if of == field]
        given = next((body[name] for name in (*names, field) if name in body), None)
        # ``-F file=speech.wav`` sends the name of the file; its content needs an @.
        is_name = isinstance(given, str) and len(given) < _NAME_LENGTH and ":" not in given
        if given is None or (is_name and given not in uploads):
            raise InvalidValue(
                f"{name} is required: the file itself (with curl: -F {name}=@path).",
                param=name,
                code="missing_required_parameter",
            )
