"""Checkpoints by their headers, and the ways in which eight bits are stored."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from builder.__main__ import main
from models.errors import WeightsUnavailable
from models.pipelines.int8 import Int8Linear
from models.pipelines.quantized import fill
from models.weights.header import read_header
from models.weights.layout import QUANTO, layout_of
from tests.support.checkpoints import LAYOUTS, stored


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 8, bias=False), nn.LayerNorm(8)
    )


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(tensors: dict[str, torch.Tensor], **metadata: str) -> Path:
        path = tmp_path / "checkpoint.safetensors"
        save_file(tensors, path, metadata or None)
        return path

    return save


@pytest.mark.parametrize(
    ("layout", "one_scale"),
    [("quanto", False), ("sdnq", False), ("comfy", False), ("comfy", True), ("plain", False)],
)
def test_every_layout_computes_what_was_stored(saved, layout, one_scale):
    """Within what eight bits of a weight leave of an output near 1."""
    whole = net()
    path = saved(stored(whole, layout, one_scale=one_scale))
    found = layout_of(read_header(path))
    assert found is LAYOUTS[layout]
    model = fill(net().requires_grad_(True), load_file(path), found, torch.float32)
    eights = [isinstance(one, Int8Linear) for one in model.modules()].count(True)
    assert eights == (0 if layout == "plain" else 2)
    given = torch.randn(5, 16)
    error = (model(given) - whole(given)).abs().max()
    assert error < (0.02 if layout == "plain" else 0.1)
    assert not any(one.requires_grad for one in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_of_eight_bits_is_as_exact_as_its_weights_made_whole(dtype, bias):
    """Against double precision, beside the same layer with weights multiplied out in float32."""
    dice = torch.manual_seed(2)
    weight = torch.randint(-127, 128, (64, 3072), generator=dice, dtype=torch.int8)
    scale = torch.rand(64, 1, generator=dice) / 4000 + 1e-5
    shift = torch.randn(64, generator=dice).to(dtype) if bias else None
    x = (torch.randn(40, 3072, generator=dice) * 3).to(dtype)
    true = torch.nn.functional.linear(
        x.double(), weight.double() * scale.double(), None if shift is None else shift.double()
    )
    whole = torch.nn.functional.linear(x, (weight.float() * scale).to(dtype), shift)
    got = Int8Linear(weight, scale, shift)(x)
    assert got.dtype == dtype
    assert torch.isfinite(got).all()
    ours, theirs = ((one.double() - true).pow(2).mean().sqrt() for one in (got, whole))
    assert ours < 1.25 * theirs


def test_a_layer_of_eight_bits_makes_no_float32_of_its_weights():
    """It would write and read four bytes a weight where one is stored."""
    made: list[torch.dtype] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None):
            out = operator(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.shape == (256, 512):
                made.append(out.dtype)
            return out

    layer = Int8Linear(torch.ones(256, 512, dtype=torch.int8), torch.ones(256, 1))
    with Watch(), torch.inference_mode():
        layer(torch.ones(3, 512, dtype=torch.bfloat16))
    assert set(made) == {torch.bfloat16}


def test_what_is_missing_and_what_is_too_much_is_named():
    weights = stored(net(), "quanto")
    del weights["0.bias"], weights["3.weight"]
    weights["9.weight"] = torch.ones(2)
    with pytest.raises(
        WeightsUnavailable, match=r"missing 3\.weight; unexpected 9\.weight"
    ) as told:
        fill(net(), weights, QUANTO, torch.float32)
    assert "another model" in told.value.message


@pytest.mark.parametrize(
    ("tensors", "metadata", "says"),
    [
        ({"a.weight": torch.ones(2, 2).to(torch.float8_e4m3fn)}, {}, "fp8"),
        ({"a.weight": torch.ones(2, 2, dtype=torch.uint8)}, {}, r"four bits.*a\.weight"),
        ({"a.weight": torch.ones(2, 2, dtype=torch.int8)}, {}, r"an unknown kind \(a\.weight\)"),
        ({"a": torch.ones(2, dtype=torch.int64)}, {}, "I64"),
        (
            {"a.weight": torch.ones(2, 2, dtype=torch.int8), "a.weight_scale": torch.ones(())},
            {"_quantization_metadata": '{"layers": {"a": {"format": "int8", "convrot": true}}}'},
            "convrot",
        ),
    ],
)
def test_other_ways_are_refused_by_name(saved, tensors, metadata, says):
    with pytest.raises(WeightsUnavailable, match=says):
        layout_of(read_header(saved(tensors, **metadata)))


def raw(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def described(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


BROKEN = {
    "nothing": (b"", "header too small"),
    "ten gigabytes in a kilobyte": (raw({}, b"x" * 1000, length=10**10), "header too large"),
    "no JSON": (raw(b"{not json"), "invalid JSON"),
    "no text": (raw(b"\xff\xfe{}"), "invalid"),
    "a list": (raw([1]), "invalid type: sequence"),
    "too deep": (raw(b"[" * 100_000), "invalid JSON"),
    "no tensor": (raw({"a": 1}), "invalid type: integer"),
    "no such type": (raw(described("F31"), bytes(4)), "unknown variant `F31`"),
    "another size": (raw(described(shape=(2,)), bytes(4)), "invalid shape"),
    "less than nothing": (raw(described(shape=(-1,)), bytes(4)), "integer `-1`"),
    "half a number": (raw(described(shape=(0.5,)), bytes(4)), "floating point `0.5`"),
    "cut off": (raw(described(shape=(100,), offsets=(0, 400)), bytes(40)), "not fully covered"),
    "a gap": (raw(described(offsets=(4, 8)), bytes(8)), "invalid offset for tensor"),
    "more behind it": (raw(described(), bytes(40)), "not fully covered"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "header too large"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_said_to_be_one(tmp_path, name):
    content, says = BROKEN[name]
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsUnavailable, match=says) as told:
        read_header(path)
    assert "broken.safetensors is not a complete safetensors file" in told.value.message
    assert str(tmp_path) not in told.value.message


def test_the_header_is_the_librarys(saved):
    weights = stored(net(), "quanto")
    header = read_header(saved(weights, format="pt"))
    assert {name: one.shape for name, one in header.tensors.items()} == {
        name: tuple(one.shape) for name, one in weights.items()
    }
    assert header.metadata == {"format": "pt"}
    sizes = sum(one.numel() * one.element_size() for one in weights.values())
    assert sum(size for _, size in header.by_dtype.values()) == sizes


# The command --------------------------------------------------------------------------------------


def inspect(monkeypatch: pytest.MonkeyPatch, path: Path) -> int:
    monkeypatch.setattr("sys.argv", ["builder", "inspect", str(path)])
    return main()


def test_a_person_sees_what_a_file_is(monkeypatch, capsys, saved):
    path = saved(stored(net(), "quanto"), format="pt", config="x" * 1000)
    assert inspect(monkeypatch, path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("checkpoint.safetensors: ")
    assert lines[0].endswith(" 11 tensors")
    assert lines[1] == "layout: quanto int8"
    assert [line.split() for line in lines if line.startswith("  I8")] == [
        ["I8", "2", "tensors", "768", "B"]
    ]
    assert "  0 (5)" in lines
    assert "  format: pt" in lines
    assert f"  config: {'x' * 200}… (1000 characters)" in lines


def test_a_layout_that_is_not_read_is_shown_all_the_same(monkeypatch, capsys, saved):
    path = saved({"a.weight": torch.ones(2, 2).to(torch.float8_e4m3fn)})
    assert inspect(monkeypatch, path) == 0
    assert "layout: not supported. The checkpoint is stored as fp8;" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["broken.safetensors", "nowhere.safetensors"])
def test_what_cannot_be_read_is_one_line(monkeypatch, capsys, caplog, tmp_path, name):
    (tmp_path / "broken.safetensors").write_bytes(b"12345")
    with caplog.at_level("ERROR"):
        assert inspect(monkeypatch, tmp_path / name) == 1
    assert capsys.readouterr().out == ""
    assert len(caplog.messages) == 1
    assert name in caplog.messages[0]
