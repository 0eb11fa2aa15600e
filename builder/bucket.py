"""The store of the environment's bucket."""

from __future__ import annotations

from collections.abc import Mapping

from models.weights.places import ObjectStore

_NAMES = ("BUCKET_ENDPOINT_URL", "BUCKET_NAME", "BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY")


def object_store(environment: Mapping[str, str]) -> ObjectStore | None:
    """Return the store for ``s3://`` addresses; None if one of its variables is not set."""
    url, bucket, key_id, secret = (environment.get(name) for name in _NAMES)
    if not (url and bucket and key_id and secret):
        return None
    from models.weights.regions import address_of

    where = address_of(url, bucket)
    region = environment.get("BUCKET_REGION") or where.region
    return ObjectStore(where.store, region, where.style, key_id, secret)
