"""Attention of packed texts against each text by itself; the GPU's kernel is played here."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from models.embeddings.encoder import varlen

LENGTHS = {"mixed": [5, 1, 17, 3], "equal": [6, 6, 6], "one": [9], "alone in length": [1]}


def packed(lengths: list[int], heads: int = 4, width: int = 16) -> tuple[Any, ...]:
    """Queries, keys, values as views of one tensor; where texts begin; the longest."""
    mixed = torch.randn(sum(lengths), 3, heads, width, generator=torch.manual_seed(3))
    begins = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    return (*mixed.unbind(1), begins, max(lengths))


def by_itself(q: Any, k: Any, v: Any, begins: Any, _longest: int) -> Any:
    """One text after the other."""
    made = [
        scaled_dot_product_attention(*(one[a:b].transpose(0, 1) for one in (q, k, v)))
        for a, b in pairwise(begins.tolist())
    ]
    return torch.cat(made, dim=1).transpose(0, 1)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_each_text_is_by_itself(lengths):
    given = packed(lengths)
    out = varlen.attend(*given)
    assert out.shape == given[0].shape
    torch.testing.assert_close(out, by_itself(*given), atol=1e-6, rtol=1e-5)


def test_texts_do_not_see_each_other():
    q, k, v, begins, longest = packed([4, 7])
    before = varlen.attend(q, k, v, begins, longest)
    k, v = k.clone(), v.clone()
    k[4:], v[4:] = 9.0, 9.0
    after = varlen.attend(q, k, v, begins, longest)
    assert torch.equal(before[:4], after[:4])
    assert not torch.equal(before[4:], after[4:])


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_the_kernel_is_called_as_it_wants_to_be(monkeypatch, lengths):
    """Played by its reference, with the library's own signature."""
    import inspect

    calls: list[Any] = []
    pytest.importorskip("torch.nn.attention.varlen", reason="torch before 2.10 has no varlen_attn")
    from torch.nn.attention.varlen import varlen_attn

    def played(*args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(varlen_attn).bind(*args, **kwargs)
        given.apply_defaults()
        said = given.arguments
        calls.append(said)
        assert said["window_size"] == (-1, -1)  # every token sees all of its text
        assert said["scale"] is None
        assert said["cu_seq_q"].dtype == torch.int32
        assert said["cu_seq_q"] is said["cu_seq_k"]
        assert said["max_q"] == said["max_k"] == max(lengths)
        names = ("query", "key", "value", "cu_seq_q", "max_q")
        return by_itself(*(said[name] for name in names))

    given = packed(lengths)
    padded = varlen.attend(*given)
    monkeypatch.setattr(varlen, "suits", lambda *_: True)
    monkeypatch.setattr(varlen, "varlen_attn", played)
    torch.testing.assert_close(varlen.attend(*given), padded, atol=1e-6, rtol=1e-5)
    assert len(calls) == 1


def test_where_the_kernel_suits(monkeypatch):
    cuda, half = torch.device("cuda", 0), torch.bfloat16
    capability = [(8, 0)]
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability[0])
    suits = varlen.suits.__wrapped__  # not what was found before
    assert suits(cuda, half)
    assert suits(cuda, torch.float16, 128)
    assert not suits(cuda, torch.float32)
    assert not suits(cuda, half, 12)
    assert not suits(cuda, half, 512)
    assert not suits(torch.device("cpu"), half)
    capability[0] = (7, 5)
    assert not suits(cuda, half)
    capability[0] = (9, 0)
    monkeypatch.setattr(varlen, "varlen_attn", None)
    assert not suits(cuda, half)
