"""Objects of a bucket of S3's protocol: ``s3://bucket/prefix``.

botocore signs (AWS Signature Version 4); the requests go through ``models.weights.web``.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree

from models.errors import WeightsUnavailable
from models.weights import web
from models.weights.places import ObjectStore
from models.weights.web import Entry

_MOST_BYTES = 4_000_000  # of a page of a listing, which has 1,000 objects


class Objects:
    """The objects below a prefix, or a single one.

    Args:
        store: that has the bucket.
        url: ``s3://bucket/prefix``, percent-encoded.
        single: whether the prefix is the key of one object.
        per_page: how many objects one request lists.

    Attributes:
        root: the bucket's address.
    """

    def __init__(
        self, store: ObjectStore, url: str, *, single: bool = False, per_page: int = 1000
    ) -> None:
        bucket, _, prefix = unquote(url.removeprefix("s3://")).partition("/")
        self._per_page = per_page
        self._store = store
        self._prefix = prefix.strip("/")
        self._single = single
        place = urlsplit(store.url)
        if store.style == "virtual":
            self.root = f"{place.scheme}://{bucket}.{place.netloc}"
        else:
            self.root = f"{store.url.rstrip('/')}/{bucket}"

    def listing(self) -> Mapping[str, Entry]:
        """Return the objects by their names below the prefix."""
        made: dict[str, Entry] = {}
        folder = self._prefix.rpartition("/")[0] if self._single else self._prefix
        start = f"{folder}/" if folder else ""
        prefix, after = self._prefix if self._single else start, None
        while True:
            page, after = self._page(prefix, after)
            for key, entry in page:
                whole = key == self._prefix if self._single else not key.endswith("/")
                if whole:
                    made[key.removeprefix(start)] = entry
            if after is None:
                return made

    @contextmanager
    def open(
        self, name: str, start: int, end: int | None, tag: str
    ) -> Iterator[http.client.HTTPResponse]:
        """Lend an answer with the bytes of an object from ``start`` on, if it is the same still."""
        key = self._prefix if self._single else f"{self._prefix}/{name}".lstrip("/")
        headers = {"If-Match": tag} if tag else {}
        with self._get(f"{self.root}/{quote(key, safe='/~')}", headers, start, end) as answer:
            yield answer

    def _page(self, prefix: str, after: str | None) -> tuple[list[tuple[str, Entry]], str | None]:
        query = {"list-type": "2", "max-keys": str(self._per_page), "prefix": prefix}
        if after is not None:
            query["continuation-token"] = after
        url = f"{self.root}/?{urlencode(query, quote_via=quote, safe='~')}"
        with self._get(url, {}, 0, None) as answer:
            text = answer.read(_MOST_BYTES)
        try:
            # Of the operator's own store; expat itself bounds how far entities expand.
            root = ElementTree.fromstring(text)  # noqa: S314
        except ElementTree.ParseError:
            raise WeightsUnavailable("The store's list of objects is no XML.") from None
        space = root.tag.rpartition("}")[0] + "}" if "}" in root.tag else ""
        found = [
            (item.findtext(f"{space}Key", ""), _entry(item, space))
            for item in root.iter(f"{space}Contents")
        ]
        return found, root.findtext(f"{space}NextContinuationToken") or None

    @contextmanager
    def _get(
        self, url: str, headers: Mapping[str, str], start: int, end: int | None
    ) -> Iterator[http.client.HTTPResponse]:
        signed = self._signed(url, headers)
        try:
            with web.get(url, signed, start, end, moves=False) as answer:
                yield answer
        except WeightsUnavailable as error:
            raise WeightsUnavailable(
                f"{error.message} Check the bucket's name, BUCKET_ENDPOINT_URL, BUCKET_REGION and "
                "the keys, which must be allowed to list and read."
            ) from None

    def _signed(self, url: str, headers: Mapping[str, str]) -> dict[str, str]:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        request = AWSRequest("GET", url, headers=dict(headers))
        keys = Credentials(self._store.key_id, self._store.secret)
        S3SigV4Auth(keys, "s3", self._store.region).add_auth(request)
        return dict(request.headers.items())


def _entry(item: ElementTree.Element, space: str) -> Entry:
    size = item.findtext(f"{space}Size", "0")
    return Entry(int(size), item.findtext(f"{space}ETag", ""))
