"""The one door for clients' files: URLs, data URIs and base64 become files of the job's own."""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, unquote_to_bytes, urljoin

from handler.errors import (
    NO_ROOM,
    MediaForbidden,
    MediaInvalid,
    MediaRefused,
    MediaTimeout,
    MediaTooLarge,
    MediaUnreachable,
)
from handler.media.guard import Guard, forbidden
from models.errors import shorten

if TYPE_CHECKING:
    import aiohttp

_MAX_REDIRECTS = 5
_CHUNK_BYTES = 1 << 20
_DATA_URI = re.compile(r"data:[^,]*?(?P<base64>;\s*base64\s*)?,", re.IGNORECASE)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class MediaDoor:
    """Fetches one job's files; a context manager that removes them at the end.

    Args:
        guard: for URLs.
        uploads: files that came with the request, by reference; their owner removes them.
    """

    def __init__(self, guard: Guard, uploads: Mapping[str, Path] | None = None) -> None:
        self._guard = guard
        self._uploads = uploads or {}
        self._folder: Path | None = None

    async def __aenter__(self) -> Self:
        """Open the door; the folder is made with the first file."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove every file."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def fetch(
        self,
        reference: str,
        param: str,
        limit_bytes: int,
        check_url: Callable[[str], None] = lambda _: None,
    ) -> Path:
        """Bring a file here.

        Args:
            reference: an http(s) URL, a data URI, bare base64, or that of an uploaded file.
            param: the request's field, for errors.
            limit_bytes: the largest file taken.
            check_url: raises for an address that may not be asked, the first or one that a host
                redirects to; besides the guard's own check.

        Raises:
            MediaError: one class for each way that this fails; see ``handler.errors``.
        """
        if reference in self._uploads:
            return _within(self._uploads[reference], param, limit_bytes)
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="quartet-"))
        reference = reference.strip()
        path = self._folder / f"{len(list(self._folder.iterdir()))}.bin"
        if "://" in reference[:16]:
            await self._download(reference, path, param, limit_bytes, check_url)
        else:
            path.write_bytes(_inline(reference, param, limit_bytes))
        return path

    async def _download(
        self,
        url: str,
        path: Path,
        param: str,
        limit_bytes: int,
        check_url: Callable[[str], None],
    ) -> None:
        import aiohttp

        try:
            async with self._guard.session() as session:
                await self._follow(session, url, path, param, limit_bytes, check_url)
        except MediaForbidden:
            raise forbidden(param) from None
        except TimeoutError as error:
            raise MediaTimeout(
                f"The file behind {param} did not come within {self._guard.timeout_s:g} s.",
                param=param,
            ) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if getattr(error, "errno", None) in NO_ROOM:  # here, not at the host
                raise
            raise MediaUnreachable(
                f"The host of {param} cannot be reached, or broke off.", param=param
            ) from error

    async def _follow(
        self,
        session: aiohttp.ClientSession,
        url: str,
        path: Path,
        param: str,
        limit_bytes: int,
        check_url: Callable[[str], None],
    ) -> None:
        for _hop in range(_MAX_REDIRECTS + 1):
            checked = self._guard.check_url(url, param)
            check_url(str(checked))
            async with session.get(checked, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status in _REDIRECTS and location:
                    url = urljoin(url, location)
                    continue
                if response.status != 200:
                    raise MediaRefused(
                        f"The host of {param} answered with status {response.status}.", param=param
                    )
                await _save(response, path, param, limit_bytes)
                return
        raise MediaRefused(f"{param} redirects more than {_MAX_REDIRECTS} times.", param=param)


def _within(path: Path, param: str, limit_bytes: int) -> Path:
    size_bytes = path.stat().st_size
    if not size_bytes:
        raise MediaInvalid(f"{param} holds no data.", param=param)
    if size_bytes > limit_bytes:
        raise _too_large(param, limit_bytes, size_bytes)
    return path


async def _save(response: aiohttp.ClientResponse, path: Path, param: str, limit_bytes: int) -> None:
    """Stream the body into the file, never more of it than the limit."""
    announced = response.content_length
    if announced is not None and announced > limit_bytes:
        raise _too_large(param, limit_bytes, announced)
    unpack = _unpacking(response.headers.get("Content-Encoding", ""), param)
    written = 0
    with path.open("wb") as file:
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            for piece in unpack(chunk):
                written += len(piece)
                if written > limit_bytes:
                    raise _too_large(param, limit_bytes, written)
                file.write(piece)


def _unpacking(encoding: str, param: str) -> Callable[[bytes], Iterable[bytes]]:
    """Return what undoes a body's compression, in pieces of bounded size.

    Nobody asked for it; some stores keep their files compressed and send them so all the same.

    Raises:
        MediaRefused: it is compressed in another way than gzip or deflate.
    """
    kind = encoding.strip().lower()
    if kind in ("", "identity"):
        return lambda chunk: (chunk,)
    if kind not in ("gzip", "x-gzip", "deflate"):
        raise MediaRefused(
            f"The host of {param} sends it compressed ({shorten(kind, 20)}), and was asked not to.",
            param=param,
        )
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip's header or zlib's

    def unpack(chunk: bytes) -> Iterator[bytes]:
        while chunk:
            try:
                yield unpacker.decompress(chunk, _CHUNK_BYTES)
            except zlib.error as error:
                raise MediaInvalid(
                    f"The file behind {param} is not compressed as its host says ({kind}).",
                    param=param,
                ) from error
            chunk = unpacker.unconsumed_tail

    return unpack


def _too_large(param: str, limit_bytes: int, got_bytes: int) -> MediaTooLarge:
    return MediaTooLarge(
        f"{param} may have {limit_bytes} bytes at most; got {got_bytes} or more.", param=param
    )


def _inline(reference: str, param: str, limit_bytes: int) -> bytes:
    """Decode a data URI (RFC 2397) or bare base64."""
    match = _DATA_URI.match(reference)
    payload = reference[match.end() :] if match else reference
    if len(payload) > 4 * (limit_bytes // 3 + 1) * (1 if not match or match["base64"] else 3):
        raise _too_large(param, limit_bytes, len(payload) * 3 // 4)
    try:
        content = unquote_to_bytes(payload) if match and not match["base64"] else _base64(payload)
    except (binascii.Error, ValueError) as error:
        raise MediaInvalid(
            f"{param} is neither an http(s) URL, nor a data URI, nor base64.", param=param
        ) from error
    if not content:
        raise MediaInvalid(f"{param} holds no data.", param=param)
    if len(content) > limit_bytes:
        raise _too_large(param, limit_bytes, len(content))
    return content


def _base64(text: str) -> bytes:
    """Decode base64 as clients write it: wrapped, percent-encoded, URL-safe, without padding."""
    plain = unquote("".join(text.split())).replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
