"""Targets that are files."""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from handler.assemble import assemble
from handler.errors import error_of
from handler.settings.variables import Settings
from models.errors import QuartetError
from models.pictures.decoding import decode as decode_picture
from models.pictures.decoding import mask_of
from models.transcribe.audio.decoding import Undecodable, decode
from models.weights.header import read_header

Feed = Callable[[bytes], None]
_OURS = frozenset({"internal_error", "device_lost"})


def picture(content: bytes) -> None:
    """Decode a picture in each of its uses."""
    for use in (lambda: decode_picture(content, alpha=True), lambda: mask_of(content, (8, 8))):
        with suppress(QuartetError):
            use()


@contextmanager
def audio() -> Iterator[Feed]:
    """Lend the decoder of recordings, with its child process."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "sound"

        def feed(content: bytes) -> None:
            path.write_bytes(content)
            with suppress(Undecodable):
                asyncio.run(decode(path, 20, 3600))

        yield feed


@contextmanager
def safetensors() -> Iterator[Feed]:
    """Lend the reader of the headers of weights."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "weights.safetensors"

        def feed(content: bytes) -> None:
            path.write_bytes(content)
            with suppress(QuartetError):
                header = read_header(path)
                assert header.by_dtype is not None
                assert header.by_part is not None

        yield feed


@contextmanager
def adapter() -> Iterator[Feed]:
    """Lend a worker with a small diffusion model, which is given adapters."""
    env = {"SURFACE": "images", "MODEL_SLUG": "Tiny_Flux", "DEVICE": "cpu"}
    env["QUARTET_CACHE"] = os.environ.get("QUARTET_CACHE", "")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, asyncio.Runner() as runner:
        worker = assemble(Settings.from_env({**env, "LORA_ALLOW": f"file://{folder}/*"}))
        runner.run(worker.warm())

        def feed(content: bytes) -> None:
            path = Path(folder) / f"{uuid.uuid4().hex}.safetensors"
            path.write_bytes(content)
            loras = [{"path": f"file://{path}"}]
            body = {"prompt": "x", "size": "64x64", "steps": 1, "loras": loras}
            error = error_of(runner.run(worker.answer({"id": "fuzz", "input": body})))
            path.unlink()
            if error is not None and error["code"] in _OURS:
                raise RuntimeError(f"{error['code']}: {error['message']}")

        yield feed
