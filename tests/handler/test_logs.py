"""Lines of the log: no token of an address, whoever writes it."""

from __future__ import annotations

import errno
import logging
import tempfile

import pytest

from handler.errors import error_object, error_of, http_status
from handler.logs import JsonLines, Plain
from tests.support.bodies import TRANSCRIBE

ADDRESS = "http://h:1/v2/all/ping/w?token=s3cret&job_id=a"


@pytest.mark.parametrize("kind", [JsonLines, Plain])
@pytest.mark.parametrize(
    ("name", "message", "argument"),
    [
        ("urllib3.connection", "Failed to parse headers (url=%s): %s", "[MissingHeader()]"),
        ("urllib3.connectionpool", "Retrying (%s) after connection broken: %s", ADDRESS),
    ],
)
def test_the_log_of_a_library_holds_no_token(kind, name, message, argument):
    error = ValueError(f"at {ADDRESS}")
    record = logging.LogRecord(
        name, logging.WARNING, "f", 1, message, (ADDRESS, argument), (ValueError, error, None)
    )
    line = kind(with_messages=True).format(record)
    assert "s3cret" not in line
    assert "/ping/w?" in line


@pytest.mark.anyio
async def test_a_full_disk_is_named(worker, monkeypatch):
    def full(*arguments: object, **options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    answer = await worker.answer({"id": "j", "input": TRANSCRIBE})
    error = error_of(answer)
    assert error is not None
    assert (error["code"], error["type"]) == ("disk_full", "server_error")
    assert http_status(error) == 503
    assert "/tmp" not in error["message"]


def test_another_fault_of_the_system_is_ours():
    assert error_object(OSError(errno.EIO, "x"))["code"] == "internal_error"
