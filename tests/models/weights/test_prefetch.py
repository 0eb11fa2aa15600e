"""Weights are read into memory beside the imports, and only those that are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.device import hardware
from models.weights import prefetch
from models.weights.prefetch import read_ahead

pytestmark = pytest.mark.skipif(
    not hasattr(os, "RWF_NOWAIT"), reason="whether a page is in memory cannot be asked here"
)
MB = 1 << 20


def in_memory(file: Path) -> bool:
    """Whether every megabyte of a file is in the page cache."""
    with file.open("rb") as opened:
        try:
            for offset in range(0, file.stat().st_size, MB):
                os.preadv(opened.fileno(), [bytearray(1)], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files that are on the disk and not in memory."""
    (tmp_path / "inner").mkdir()
    for name in ("a.safetensors", "inner/b.safetensors"):
        (tmp_path / name).write_bytes(os.urandom(9 * MB))
    evict(tmp_path)
    return tmp_path


def evict(folder: Path) -> None:
    for file in folder.rglob("*.safetensors"):
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if in_memory(file):
            pytest.skip("this file system keeps its pages")


def finish(threads: list) -> None:
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
        assert thread.daemon  # it never holds up an end


def test_what_is_on_the_disk_comes_into_memory(folder, monkeypatch):
    monkeypatch.setattr(prefetch, "_SEGMENT_BYTES", 4 * MB)
    assert len(list(prefetch._segments(folder, 10**9))) == 6
    finish(read_ahead(folder))
    assert in_memory(folder / "a.safetensors")
    assert in_memory(folder / "inner/b.safetensors")


def test_what_is_there_is_not_read_again(folder):
    for file in folder.rglob("*.safetensors"):
        file.read_bytes()
    assert list(prefetch._segments(folder, 10**9)) == []
    finish(read_ahead(folder))


def test_one_file(folder):
    finish(read_ahead(folder / "a.safetensors"))
    assert in_memory(folder / "a.safetensors")
    assert not in_memory(folder / "inner/b.safetensors")


def test_no_more_than_there_is_room_for(folder, monkeypatch):
    """Half of what is free: the first file, and not the second."""
    monkeypatch.setattr(prefetch, "available_bytes", lambda: 2 * 10 * MB)
    finish(read_ahead(folder))
    assert in_memory(folder / "a.safetensors")
    assert not in_memory(folder / "inner/b.safetensors")


def test_files_that_cannot_be_read_are_the_loaders_to_tell_of(tmp_path):
    finish(read_ahead(tmp_path / "nowhere"))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    finish(read_ahead(tmp_path))


def test_the_containers_share_is_what_counts(tmp_path, monkeypatch):
    """Version 2: what files keep in the page cache counts as free."""
    (tmp_path / "max").write_text("1000000\n")
    (tmp_path / "current").write_text("900000\n")
    (tmp_path / "stat").write_text("anon 100000\ninactive_file 700000\n")
    names = {"limit": "max", "used": "current", "stat": "stat"}
    files = {name: str(tmp_path / file) for name, file in names.items()}
    monkeypatch.setattr(hardware, "_CGROUPS", (hardware._Group(**files, cached="inactive_file"),))
    assert hardware.available_bytes() == 800_000
    (tmp_path / "max").write_text("max\n")  # no limit
    assert hardware.available_bytes() > 10**7
