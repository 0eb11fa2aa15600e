"""The share of the device's arithmetic that a full-size BGE-M3 with random weights uses.

    .venv/bin/python -m benchmarks.arithmetic [--texts 512]

Texts of mixed lengths are sent at once through ``Worker.answer``, in the device's own precision.
The limit is the speed of one large matrix product on this device in that precision. A token takes
two operations per weight of the linear layers, and in attention four per number of a layer's width
and token of its text. The first run builds the weights (2 GB) in the temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import embeddings as full
from benchmarks.gpu.limits import peak_flops
from benchmarks.report import figures, table
from handler.assemble import assemble
from handler.settings.variables import Settings
from models import tiny
from models.catalog import CATALOG
from models.device import hardware
from models.row import Catalog
from models.tiny import bge_m3

FOLDER = Path(tempfile.gettempdir()) / "quartet-random-bge-m3"


def weights() -> Path:
    """Return a folder with BGE-M3's architecture and random weights."""
    if not (FOLDER / "modules.json").exists():
        torch.manual_seed(tiny.SEED)
        bge_m3.write(FOLDER, *bge_m3.parts(**full.FULL))
    return FOLDER


def texts(count: int) -> list[str]:
    """Return texts: of ten, seven are lines and three passages; each letter is a token."""
    chance = random.Random(7)
    lengths = [
        chance.randint(10, 60) if chance.random() < 0.7 else chance.randint(300, 500)
        for _ in range(count)
    ]
    return ["".join(chance.choices("abcdefgh", k=length)) for length in lengths]


async def seconds(worker: Any, asked: list[str]) -> float:
    """Return the seconds for all texts at once, as jobs of 8."""

    async def one(job: list[str]) -> None:
        answer = await worker.answer(
            {"id": "j", "input": {"input": job, "encoding_format": "base64"}}
        )
        assert b'"data"' in answer.content, answer

    await one(asked[:8])  # warms up, not counted
    start = time.perf_counter()
    await asyncio.gather(*(one(asked[at : at + 8]) for at in range(0, len(asked), 8)))
    return time.perf_counter() - start


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arithmetic")
    parser.add_argument("--texts", type=int, default=0, help="default: 96, on a GPU 8192")
    device = hardware.detect()
    count = parser.parse_args().texts or (8192 if device.kind == "cuda" else 96)
    row = replace(CATALOG.find("BGE_M3"), weights=f"file://{weights()}")
    row = replace(row, default_on=frozenset({device.kind}))
    worker = assemble(Settings.from_env({"SURFACE": "embeddings", "JOB_TIMEOUT_S": "3600"}))
    endpoint = replace(worker.endpoint, catalog=Catalog([row]))
    worker = replace(worker, reception=replace(worker.reception, endpoint=endpoint))
    asked = texts(count)
    lengths = [len(text) + 3 for text in asked]  # a space before a text, and two special tokens
    took = asyncio.run(seconds(worker, asked))
    [model] = worker.dispatcher.pool.models()
    named: dict[str, float | str] = {
        "device": torch.cuda.get_device_name() if device.kind == "cuda" else "cpu",
        "dtype": device.dtype,
        "tokens_per_s": sum(lengths) / took,
        "tflops": full.operations(lengths, full.FULL) / took / 1e12,
        "tflops_of_a_matrix_product": peak_flops(device) / 1e12,
        "budget": float(model.budget),
        "padding_waste": model.load.padded_size / model.load.size,
    }
    named["share_of_the_limit"] = named["tflops"] / named["tflops_of_a_matrix_product"]
    table(["figure", "measured"], [[key, f"{value:.3f}" if isinstance(value, float) else value]
                                   for key, value in named.items()])  # fmt: skip
    figures(named)


if __name__ == "__main__":
    main()
