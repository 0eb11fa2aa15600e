"""Headers of weights at another place, which are read without safetensors' own checks."""

from __future__ import annotations

import json
import time

import pytest
from safetensors.numpy import save

from models.chat.adapters import AdapterCheck
from models.chat.request import Adapter as ChatAdapter
from models.errors import InvalidValue, WeightsUnavailable
from models.images.diffusion.lora import Adapters
from models.images.request import Adapter
from models.weights.header import parse_header, read_header

ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def parse(content: bytes):
    return parse_header("a.safetensors", len(content), lambda start, end: content[start:end])


def made(header: object) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(4)


@pytest.mark.parametrize(
    "change",
    [
        {"data_offsets": [0, 1e400]}, {"data_offsets": [4, 0]}, {"data_offsets": [-4, 0]},
        {"data_offsets": [0]}, {"data_offsets": [0, None]}, {"shape": [-1]}, {"shape": [1e400]},
        {"shape": None}, {"dtype": None, "shape": "x"},
    ],
)  # fmt: skip
def test_impossible_figures_are_refused(change):
    with pytest.raises(WeightsUnavailable):
        parse(made({"a": {**ENTRY, **change}}))


@pytest.mark.parametrize("header", [[], None, 7, {"a": []}, {"a": ENTRY, "__metadata__": 7}])
def test_what_is_no_header_is_refused(header):
    with pytest.raises(WeightsUnavailable):
        parse(made(header))


def test_an_adapter_whose_header_is_dear_to_read_is_refused(tmp_path):
    """One of 97 MB with 1.7 million tensors took a minute and a half, and two gigabytes."""
    header = {f"base.{n}": {**ENTRY, "shape": [0], "data_offsets": [0, 0]} for n in range(160_000)}
    config = {"peft_type": "LORA", "r": 1}
    (tmp_path / "adapter_model.safetensors").write_bytes(made(header)[:-4])
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert (tmp_path / "adapter_model.safetensors").stat().st_size > 10_000_000
    start = time.process_time()
    with pytest.raises(InvalidValue, match="that of an adapter at most 10000000"):
        AdapterCheck(tmp_path / "none", "Model", 64).check(ChatAdapter("a", tmp_path))
    assert time.process_time() - start < 0.2
    file = Adapter("a", tmp_path / "adapter_model.safetensors")
    with pytest.raises(InvalidValue, match="no safetensors file"):
        with Adapters(None, "Model", 0).on([file]):
            pass


def test_it_reads_what_the_library_reads(tmp_path):
    import numpy as np

    content = save({"a.b": np.zeros((2, 3), np.float16), "c": np.zeros(0, np.int8)}, {"k": "v"})
    (tmp_path / "a.safetensors").write_bytes(content)
    assert parse(content) == read_header(tmp_path / "a.safetensors")
