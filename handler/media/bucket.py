"""Results in an S3-compatible bucket, handed out as presigned URLs.

botocore signs (AWS Signature Version 4); the upload itself goes through the media guard, because a
job may bring its own bucket and so name any host.
"""

from __future__ import annotations

import asyncio
import functools
import re
import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator
from yarl import URL

from handler.errors import MediaForbidden, MediaInvalid, StorageFailed
from handler.media.guard import Guard, forbidden
from handler.media.signatures import Signature, StoreClocks
from handler.media.upload import OfAnotherTime, put
from models.errors import InvalidValue
from models.networks import parse_url
from models.weights.regions import Address, address_of

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$"
_REGION = r"^[A-Za-z0-9-]{1,40}$"
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_ID = 128
MAX_TTL_S = 7 * 24 * 3600  # the longest that Signature Version 4 allows
_TRIES_WITHIN = 2  # times what one transfer may take: all tries of an upload together
_UPLOAD_S = 3600
_CLOCKS = StoreClocks()
_MAKING = threading.Lock()  # boto3 may not make two clients at once


class BucketConfig(BaseModel):
    """A bucket and the keys to it; the aliases are those of RunPod's ``s3Config``.

    The endpoint is the store's, or a virtual host of the bucket; it says the region where none is
    given (see ``models.weights.regions``).
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    endpoint_url: str = Field(alias="endpointUrl")
    access_key_id: str = Field(alias="accessId", min_length=1, repr=False)
    secret_access_key: str = Field(alias="accessSecret", min_length=1, repr=False)
    name: str = Field(validation_alias=AliasChoices("bucketName", "bucket", "name"), pattern=_NAME)
    region: str | None = Field(default=None, pattern=_REGION)
    ttl_s: int = Field(default=MAX_TTL_S, ge=1, le=MAX_TTL_S)

    @field_validator("endpoint_url")
    @classmethod
    def _has_a_host(cls, value: str) -> str:
        url = parse_url(value)
        if url.scheme not in {"http", "https"} or not url.host or not url.port:
            raise ValueError("must be an http or https URL")
        return value

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts of the endpoint, as connections name them: with the bucket and without."""
        urls = (self.endpoint_url, self.address.store)
        return frozenset(URL(url).host or "" for url in urls)

    @property
    def address(self) -> Address:
        """The bucket's address, and the region to sign for."""
        known = address_of(self.endpoint_url, self.name)
        return known if self.region is None else replace(known, region=self.region)

    @property
    def signature(self) -> Signature:
        """Signs for the bucket at any time."""
        return Signature(self.access_key_id, self.secret_access_key, self.address.region)


class BucketChoice(BaseModel):
    """Another bucket of the endpoint's own store; the names are those of the gateway.

    What else is given may be keys to another store, in words that are not RunPod's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(alias="bucket", pattern=_NAME)
    region: str | None = Field(default=None, pattern=_REGION)

    def of(self, own: BucketConfig) -> BucketConfig:
        """That bucket, by the endpoint's credentials."""
        known = address_of(own.endpoint_url, own.name)
        store = URL(known.store)
        if known.style == "virtual":
            store = store.with_host(f"{self.name}.{store.host}")
        return own.model_copy(
            update={
                "endpoint_url": str(store),
                "name": self.name,
                "region": self.region or own.region,
            }
        )


_STORE = frozenset({"accessId", "accessSecret", "bucketName", "endpointUrl"})


def read_s3_config(raw: object) -> BucketConfig | BucketChoice:
    """Read a job's ``s3Config``, which has one of two forms.

        {"accessId", "accessSecret", "bucketName", "endpointUrl", "region"?}    RunPod's: a store
        {"bucket", "region"?}          the gateway's: another bucket of the endpoint's own store

    One with any field of the first is of the first.

    Raises:
        InvalidValue: a part is missing or of the wrong type; secrets are never repeated.
    """
    given = {k: v for k, v in raw.items() if v not in (None, "")} if isinstance(raw, dict) else {}
    kind = BucketConfig if given.keys() & _STORE else BucketChoice
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        wrong = sorted({str(fault["loc"][0]) for fault in error.errors() if fault["loc"]})
        raise InvalidValue(
            "s3Config needs accessId, accessSecret, bucketName and endpointUrl, or for a bucket of "
            "the endpoint's own store bucket alone, with or without region; wrong or missing: "
            f"{', '.join(wrong) or 'all of them'}.",
            param="s3Config",
        ) from None


@dataclass(frozen=True)
class Bucket:
    """Stores results.

    Attributes:
        config: where, and with which keys.
        guard: what the upload goes through; the operator's own bucket may be a private host.
    """

    config: BucketConfig
    guard: Guard

    async def store(self, key: str, content: bytes, content_type: str) -> str:
        """Upload ``content`` and return a URL that anyone may read it from, for ``ttl_s``.

        Args:
            key: the job's id and the file's name, ``id/name``. The id comes from outside: what
                could mean another place to a store or to a client is replaced.
            content: the file.
            content_type: its media type.

        Raises:
            MediaForbidden: a job's own bucket is at a private address.
            StorageFailed: the bucket cannot be reached or refuses.
        """
        folder, _, name = key.rpartition("/")
        folder = _UNSAFE.sub("_", folder)[:_LONGEST_ID]
        place = {"Bucket": self.config.name, "Key": f"{uuid.uuid4().hex}/{folder}/{name}"}
        return await self._put(place, content, content_type)

    async def probe(self) -> None:
        """Write a small object and remove it; one that may not be removed stays.

        Raises:
            StorageFailed: the bucket cannot be reached or refuses.
        """
        place = {"Bucket": self.config.name, "Key": f"quartet-check/{uuid.uuid4().hex}"}
        await self._put(place, b"quartet", "text/plain")
        client = await asyncio.to_thread(signer, self.config)
        away = self._signed(client, "DELETE", place, _UPLOAD_S)
        url = self.guard.check_url(away, "s3Config")
        with suppress(aiohttp.ClientError, TimeoutError):
            async with (
                asyncio.timeout(self.guard.timeout_s),
                self.guard.session() as session,
                session.delete(url),
            ):
                pass

    async def _put(self, place: Mapping[str, str], content: bytes, content_type: str) -> str:
        store = self.config.endpoint_url
        may_learn = True
        while True:
            signed_s = _CLOCKS.now_s(store)
            try:
                return await self._put_signed(place, content, content_type)
            except OfAnotherTime as refusal:
                if not (may_learn and _CLOCKS.learn(store, refusal.date, signed_s)):
                    raise refusal.failure from refusal
            may_learn = False

    async def _put_signed(self, place: Mapping[str, str], content: bytes, content_type: str) -> str:
        from botocore.exceptions import BotoCoreError

        try:
            upload, download = await asyncio.to_thread(self._presign, place, content_type)
            url = self.guard.check_url(upload, "s3Config")
        except (BotoCoreError, ValueError, MediaInvalid) as error:
            raise StorageFailed("The bucket's configuration cannot be used.") from error
        try:
            async with (
                asyncio.timeout(_TRIES_WITHIN * self.guard.timeout_s),
                self.guard.session() as session,
            ):
                await put(session, url, content, content_type)
        except MediaForbidden:
            raise forbidden("s3Config") from None  # the operator's own store is never forbidden
        except TimeoutError as error:
            raise StorageFailed(
                "The result could not be stored: the bucket did not take it in time."
            ) from error
        return download

    def _presign(self, place: Mapping[str, str], content_type: str) -> tuple[str, str]:
        client = signer(self.config)
        upload = self._signed(client, "PUT", place, _UPLOAD_S, content_type)
        return upload, self._signed(client, "GET", place, self.config.ttl_s)

    def _signed(
        self,
        client: Any,
        method: str,
        place: Mapping[str, str],
        expires_s: int,
        content_type: str | None = None,
    ) -> str:
        """Return a presigned URL, by the store's clock if that is known to be another."""
        operation, given = f"{method.lower()}_object", dict(place)
        if content_type is not None:
            given["ContentType"] = content_type
        url = client.generate_presigned_url(operation, given, ExpiresIn=expires_s)
        store = self.config.endpoint_url
        if not _CLOCKS.knows(store):
            return str(url)
        headers = {} if content_type is None else {"Content-Type": content_type}
        return self.config.signature.at(_CLOCKS.now_s(store), method, url, headers, expires_s)


@functools.lru_cache(maxsize=16)
def signer(config: BucketConfig) -> Any:
    """Return boto3's client of a store, which signs for it; it is kept, as making one is slow."""
    import boto3
    from botocore.config import Config

    address = config.address
    with _MAKING:
        return boto3.client(
            "s3",
            endpoint_url=address.store,
            aws_access_key_id=config.access_key_id,
            aws_secret_access_key=config.secret_access_key,
            region_name=address.region,
            config=Config(signature_version="s3v4", s3={"addressing_style": address.style}),
        )
