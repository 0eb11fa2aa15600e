"""Embeddings and rerankers on a GPU."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import pytest

from models.device.hardware import Device
from models.embeddings.request import RankRequest
from models.row import Row
from tests.conftest import row
from tests.support.driving import run

pytestmark = pytest.mark.gpu

KINDS = frozenset({"dense", "sparse", "colbert"})
TEXTS = [
    "a", "the quick brown fox", "x" * 300, "Where is the station?", "it rains", "y" * 17,
    "The road to the sea is long, and nobody knows who built it. " * 20, "b",
]  # fmt: skip
LIVELY = 8.0
On = Callable[[Row, Device], Any]


@pytest.fixture(scope="module")
def lively(store: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Row]:
    """A tiny model with larger weights: else all texts are alike, and any error is small."""
    from safetensors.torch import load_file, save_file

    def made(slug: str) -> Row:
        folder = tmp_path_factory.mktemp(slug) / "weights"
        shutil.copytree(store.resolve(row(slug)), folder)
        [file] = folder.rglob("model.safetensors")
        weights = load_file(file)
        for name, one in weights.items():
            if one.ndim == 2 and "embeddings" not in name:
                weights[name] = one * LIVELY
        save_file(weights, file, metadata={"format": "pt"})
        return replace(row(slug), weights=f"file://{folder}")

    return made


@pytest.fixture(scope="module")
def bge(lively: Callable[[str], Row]) -> Row:
    return lively("Tiny_BGE_M3")


@pytest.fixture(scope="module")
def reranker(lively: Callable[[str], Row]) -> Row:
    return lively("Tiny_BGE_Reranker")


def vectors(engine: Any, together: bool = True) -> list[dict[str, Any]]:
    """All kinds of vectors of each text, of all in one run or of each by itself."""
    parts = engine.texts.read(TEXTS, str).tokens
    runs = [parts] if together else [[one] for one in parts]
    made = [engine.forward(one, KINDS) for one in runs]
    return [
        {kind: np.asarray(out[kind][at], np.float32) for kind in KINDS}
        for out, texts in zip(made, runs, strict=True)
        for at in range(len(texts))
    ]


def apart(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, float]:
    """The largest difference, by kind of vector."""
    for one, other in zip(ours, theirs, strict=True):
        assert {kind: one[kind].shape for kind in KINDS} == {
            kind: other[kind].shape for kind in KINDS
        }
    return {
        kind: max(float(np.abs(a[kind] - b[kind]).max()) for a, b in zip(ours, theirs, strict=True))
        for kind in KINDS
    }


def test_vectors_in_float32_are_those_of_the_cpu(
    bge: Row, on: On, exact: Device, here: Device
) -> None:
    found = apart(vectors(on(bge, exact)), vectors(on(bge, here)))
    assert found["dense"] < 1e-4
    assert found["sparse"] < 1e-4
    assert found["colbert"] < 2e-3  # they leave in float16


def test_vectors_in_its_own_precision_are_near(bge: Row, on: On, gpu: Device, here: Device) -> None:
    ours, theirs = vectors(on(bge, gpu)), vectors(on(bge, here))
    for one, other in zip(ours, theirs, strict=True):
        assert float(one["dense"] @ other["dense"]) > 0.999
        assert float((one["colbert"] * other["colbert"]).sum(-1).min()) > 0.99
        assert np.abs(one["sparse"] - other["sparse"]).max() < 0.05
    others = [float(theirs[0]["dense"] @ one["dense"]) for one in theirs[1:]]
    assert min(others) < 0.95  # texts differ by more than that


@pytest.mark.parametrize("precision", ["exact", "gpu"])
def test_a_run_of_many_is_each_text_by_itself(
    bge: Row, on: On, precision: str, request: pytest.FixtureRequest
) -> None:
    """Packed or padded, no text is anything to another."""
    engine = on(bge, request.getfixturevalue(precision))
    ours, theirs = vectors(engine), vectors(engine, together=False)
    found = apart(ours, theirs)
    if precision == "exact":
        assert max(found["dense"], found["sparse"]) < 1e-4
        assert found["colbert"] < 2e-3
        return
    assert min(float(a["dense"] @ b["dense"]) for a, b in zip(ours, theirs, strict=True)) > 0.999
    assert found["sparse"] < 0.05


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("width", [16, 64])
def test_the_kernel_for_packed_texts_is_attention(gpu: Device, dtype: str, width: int) -> None:
    import torch

    from models.device import varlen

    lengths = [1, 700, 33, 128, 8, 8]
    kind, half = torch.device(gpu.kind, None if gpu.kind == "cpu" else 0), getattr(torch, dtype)
    if gpu.kind == "cuda" and not varlen.suits(kind, half, width):
        pytest.skip("this GPU, or this torch, has no attention of packed texts")
    dice = torch.manual_seed(5)
    q, k, v = torch.randn(sum(lengths), 3, 4, width, generator=dice).to(kind).unbind(1)
    begins = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=kind)
    packed = varlen.Packed(begins, max(lengths))
    expected = varlen.padded(q, k, v, packed)
    attended = varlen.attend(q.to(half), k.to(half), v.to(half), packed)
    torch.testing.assert_close(attended.float(), expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize(
    ("new", "known"),
    [([1, 1, 1, 1], [900, 1, 33, 256]), ([300, 1, 64], [300, 77, 512]), ([5], [5])],
)
def test_the_kernel_over_a_cache_is_causal_attention(
    gpu: Device, new: list[int], known: list[int]
) -> None:
    """New tokens at the end of what is known, fewer heads of keys: as chat asks for it."""
    import torch

    from models.device import varlen

    kind, half = torch.device(gpu.kind, None if gpu.kind == "cpu" else 0), torch.bfloat16
    if gpu.kind == "cuda" and not (varlen.knows_causal() and varlen.suits(kind, half, 64)):
        pytest.skip("this GPU, or this torch, has no such kernel")
    dice = torch.manual_seed(5)
    q = torch.randn(sum(new), 8, 64, generator=dice).to(kind)
    k, v = torch.randn(sum(known), 2, 2, 64, generator=dice).to(kind).unbind(1)
    begins = [
        torch.tensor([0, *accumulate(one)], dtype=torch.int32, device=kind) for one in (new, known)
    ]
    packed = varlen.Packed(begins[0], max(new), begins[1], max(known), causal=True)
    expected = varlen.padded(q, k, v, packed)
    attended = varlen.attend(q.to(half), k.to(half), v.to(half), packed)
    torch.testing.assert_close(attended.float(), expected, atol=0.02, rtol=0.02)


def scores(engine: Any) -> list[float]:
    documents = ("The capital is Paris.", "no", "z" * 400, "A train leaves at nine.")
    return list(run(engine, RankRequest("Which city is the capital?", documents)).scores)


def test_scores_of_a_reranker(
    reranker: Row, on: On, gpu: Device, exact: Device, here: Device
) -> None:
    expected = scores(on(reranker, here))
    assert max(expected) - min(expected) > 0.02
    assert scores(on(reranker, exact)) == pytest.approx(expected, abs=1e-4)
    assert scores(on(reranker, gpu)) == pytest.approx(expected, abs=0.006)
