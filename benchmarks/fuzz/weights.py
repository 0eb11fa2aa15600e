"""Targets that are weights: headers of safetensors files, and adapters."""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.fuzz.requests import OURS, Broken
from benchmarks.fuzz.scratch import scratch
from handler.assemble import assemble
from handler.errors import error_of
from handler.settings.variables import Settings
from models.catalog import CATALOG
from models.chat.adapters import CONFIG, WEIGHTS, AdapterCheck
from models.chat.request import Adapter as ChatAdapter
from models.errors import InvalidValue, WeightsUnavailable
from models.images.diffusion.lora import Adapters
from models.images.request import Adapter
from models.quiet import hush
from models.weights.header import Header, parse_header, read_header
from models.weights.store import WeightsStore

Feed = Callable[[bytes], None]
_MODEL = "Tiny_Flux"


@contextmanager
def safetensors() -> Iterator[Feed]:
    """Lend both readers of the headers of weights: of a file here, and of one at another place."""
    with scratch("weights.safetensors") as written:

        def feed(content: bytes) -> None:
            with suppress(WeightsUnavailable):
                _looked_at(read_header(written(content)))
            with suppress(WeightsUnavailable):
                _looked_at(parse_header("a", len(content), lambda start, end: content[start:end]))

        yield feed


def _looked_at(header: Header) -> None:
    assert all(size >= 0 for _, size in header.by_dtype.values())
    assert sum(header.by_part.values()) == len(header.tensors)
    assert all(isinstance(value, str) for value in header.metadata.values())


@contextmanager
def adapter() -> Iterator[Feed]:
    """Lend a small diffusion model, which loads and forgets the adapter of a request."""
    import diffusers

    hush("transformers", "diffusers")
    folder = WeightsStore(Settings.from_env(os.environ).places()).resolve(CATALOG.find(_MODEL))
    pipeline = diffusers.FluxPipeline.from_pretrained(folder, local_files_only=True)
    adapters = Adapters(pipeline, _MODEL, kept_bytes=0)
    with scratch("adapter.safetensors") as written:

        def feed(content: bytes) -> None:
            path = written(content)
            with suppress(InvalidValue), adapters.on([Adapter("fuzz", path)]):
                pass
            with adapters.on([]):
                pass

        yield feed


@contextmanager
def adapter_of_a_picture() -> Iterator[Feed]:
    """Lend a worker with that model, which makes a picture with the adapter."""
    env = {"SURFACE": "images", "MODEL_SLUG": _MODEL, "DEVICE": "cpu"}
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
            if error is not None and error["code"] in OURS:
                raise Broken(f"{error['code']}: {error['message']}")

        yield feed


@contextmanager
def peft() -> Iterator[Feed]:
    """Lend the check of chat's adapters; the first line is the configuration."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        (folder / "base").mkdir()
        check = AdapterCheck(folder / "base", _MODEL, most_rank=64)

        def feed(content: bytes) -> None:
            config, _, weights = content.partition(b"\n")
            (folder / CONFIG).write_bytes(config)
            (folder / WEIGHTS).write_bytes(weights)
            with suppress(InvalidValue):
                check.check(ChatAdapter("fuzz", folder))

        yield feed
