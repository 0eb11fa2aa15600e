"""Presigned URLs by the store's clock, where this machine's is wrong.

S3 refuses a signature whose time is more than a quarter of an hour ahead, or more than its validity
ago. botocore signs by the machine's clock only. A refusal has the store's time in its ``Date``
header (RFC 9110, section 6.6.1). It is kept relative to the monotonic clock, so that later jumps of
the wall clock, and its correction, change nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

_LEAST_S = 60.0  # clocks that are closer agree
_EARLIEST_S, _LATEST_S = 946_684_800, 4_102_444_800  # the years 2000 and 2100
_MOST_STORES = 64


class StoreClocks:
    """The clocks of stores that have refused a time, by their endpoints."""

    def __init__(self) -> None:
        self._ahead_s: dict[str, float] = {}  # of the monotonic clock

    def learn(self, endpoint: str, date: str, signed_s: float) -> bool:
        """Note a store's time; return whether a signature of that time may be accepted.

        Args:
            endpoint: the store's URL.
            date: the ``Date`` header of its refusal; empty if it sent none.
            signed_s: the time of the signature that it refused, in seconds since 1970.
        """
        try:
            moment_s = parsedate_to_datetime(date).timestamp()
        except (ValueError, TypeError, OverflowError):
            return False
        if abs(moment_s - signed_s) < _LEAST_S or not _EARLIEST_S < moment_s < _LATEST_S:
            return False
        if abs(moment_s - self.now_s(endpoint)) >= _LEAST_S:  # no other upload has learnt it
            ahead_s = moment_s - time.time()
            log.warning("the store's clock is %.0f s ahead; signatures follow it", ahead_s)
        if len(self._ahead_s) >= _MOST_STORES:
            self._ahead_s.clear()
        self._ahead_s[endpoint] = moment_s - time.monotonic()
        return True

    def knows(self, endpoint: str) -> bool:
        """Whether a store's clock is known."""
        return endpoint in self._ahead_s

    def now_s(self, endpoint: str) -> float:
        """Return the time of a store in seconds since 1970; this machine's if none is known."""
        ahead_s = self._ahead_s.get(endpoint)
        return time.time() if ahead_s is None else time.monotonic() + ahead_s


@dataclass(frozen=True)
class Signature:
    """Signs as botocore does, at another time than the machine's."""

    key_id: str
    secret: str = field(repr=False)
    region: str

    def at(
        self, moment_s: float, method: str, url: str, headers: Mapping[str, str], expires_s: int
    ) -> str:
        """Return a presigned URL.

        Args:
            moment_s: the time, in seconds since 1970.
            method: the only one that it is valid for.
            url: what it names; a query is removed.
            headers: those that must be sent with it.
            expires_s: how long it is valid.
        """
        from botocore.auth import SIGV4_TIMESTAMP, S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        class AtThatTime(S3SigV4QueryAuth):  # type: ignore[misc]
            """Replaces the time between the reading of the clock and its use."""

            def _modify_request_before_signing(self, request: AWSRequest) -> None:
                moment = datetime.fromtimestamp(moment_s, UTC)
                request.context["timestamp"] = moment.strftime(SIGV4_TIMESTAMP)
                super()._modify_request_before_signing(request)

        bare = urlsplit(url)._replace(query="").geturl()
        request = AWSRequest(method, bare, headers=dict(headers))
        keys = Credentials(self.key_id, self.secret)
        AtThatTime(keys, "s3", self.region, expires=expires_s).add_auth(request)
        return str(request.url)
