"""The region to sign for and the bucket in the host, from a store's address.

A signature names a region (AWS Signature Version 4), and a store that is in another one refuses it.
Most stores have theirs in the host:

    s3.eu-west-1.amazonaws.com            AWS; also s3-eu-west-1, s3.dualstack.…, s3-fips.…
    s3.us-west-004.backblazeb2.com        Backblaze
    s3.eu-central-1.wasabisys.com         Wasabi
    s3.fr-par.scw.cloud                   Scaleway
    nyc3.digitaloceanspaces.com           DigitalOcean; Linode, Vultr, Hetzner alike
    <account>.r2.cloudflarestorage.com    Cloudflare R2, whose region is ``auto``

Before each there may be the bucket and a dot: a virtual host. Cloudflare's dashboard shows the
bucket behind the address, as its path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from yarl import URL

DEFAULT = "us-east-1"  # of stores that have no regions, such as MinIO
_REGION = r"(?P<region>[a-z0-9-]+)"
_PATTERNS = tuple(
    re.compile(rf"(?:^|\.){pattern}$")
    for pattern in (
        rf"s3(?:-fips)?[.-](?:dualstack\.)?{_REGION}\.amazonaws\.com(?:\.cn)?",
        rf"s3express-[a-z0-9-]+\.{_REGION}\.amazonaws\.com(?:\.cn)?",
        rf"s3-accesspoint(?:-fips)?\.(?:dualstack\.)?{_REGION}\.amazonaws\.com(?:\.cn)?",
        rf"s3\.{_REGION}\.vpce\.amazonaws\.com(?:\.cn)?",
        rf"s3\.{_REGION}\.(?:backblazeb2\.com|wasabisys\.com|scw\.cloud)",
        rf"s3\.{_REGION}\.(?:io|perf)\.cloud\.ovh\.(?:net|us)",
        rf"s3\.(?:private\.|direct\.)?{_REGION}\.cloud-object-storage\.appdomain\.cloud",
        rf"{_REGION}\.(?:digitaloceanspaces|linodeobjects|vultrobjects|your-objectstorage)\.com",
        rf"compat\.objectstorage\.{_REGION}\.(?:oraclecloud\.com|oci\.customer-oci\.com)",
        rf"cos\.{_REGION}\.myqcloud\.com",
        rf"sos-{_REGION}\.exo\.io",
        rf"storage\.{_REGION}\.nebius\.cloud",
    )
)
_NO_REGION = frozenset({"external-1", "accelerate", "dualstack", "global"})
_AUTO = re.compile(
    r"(?:^|\.)(?:r2\.cloudflarestorage\.com|storage\.googleapis\.com|storage\.tigris\.dev|"
    r"t3\.storage\.dev)$"
)
# Hosts of stores as they are without a bucket, besides those of the patterns.
_STORES = re.compile(
    r"[0-9a-f]{32}(?:\.[a-z]+)?\.r2\.cloudflarestorage\.com|storage\.googleapis\.com|"
    r"fly\.storage\.tigris\.dev|t3\.storage\.dev|s3[.-].+"
)
# A label that is a region wherever it stands: us-east-1, eu-central-2, us-gov-west-1, us-west-004.
_LIKE_A_REGION = re.compile(r"(?:af|ap|ca|cn|eu|il|me|mx|sa|us)(?:-[a-z]+)+-\d{1,3}")


def region_of(host: str) -> str:
    """Return the region that a store of this host is signed for."""
    host = host.lower().rstrip(".")
    if _AUTO.search(host):
        return "auto"
    for pattern in _PATTERNS:
        match = pattern.search(host)
        if match is not None:
            return DEFAULT if match["region"] in _NO_REGION else match["region"]
    labels = host.split(".")[:-1]
    return next((label for label in labels if _LIKE_A_REGION.fullmatch(label)), DEFAULT)


@dataclass(frozen=True)
class Address:
    """A bucket's address.

    Attributes:
        store: the URL of the store, without the bucket.
        region: that is signed for.
        style: how a URL names the bucket, in botocore's words: ``path`` or ``virtual``.
    """

    store: str
    region: str
    style: str


def address_of(endpoint_url: str, bucket: str) -> Address:
    """Read the URL of a store, or of a bucket in it.

    Only hosts of known stores, and such as are called ``s3``, are read as virtual hosts: of another
    one nobody can say whether its first label is the bucket.
    """
    url = URL(endpoint_url)
    host, style = (url.host or "").lower(), "path"
    rest = host.removeprefix(f"{bucket.lower()}.")
    if rest != host and _is_store(rest):
        url, host, style = url.with_host(rest), rest, "virtual"
    if url.path.strip("/") == bucket and _is_store(host):
        url = url.with_path("/")
    return Address(str(url), region_of(host), style)


def _is_store(host: str) -> bool:
    known = any(pattern.match(host) for pattern in _PATTERNS)
    return known or _STORES.fullmatch(host) is not None
