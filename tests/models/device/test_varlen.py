"""Attention of packed texts against each text by itself; the GPU's kernel is played here."""

from __future__ import annotations

import inspect
from itertools import accumulate, pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from models.device import varlen
from models.device.varlen import Packed

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
    out = varlen.attend(*given[:3], Packed(*given[3:]))
    assert out.shape == given[0].shape
    torch.testing.assert_close(out, by_itself(*given), atol=1e-6, rtol=1e-5)


def test_texts_do_not_see_each_other():
    q, k, v, begins, longest = packed([4, 7])
    before = varlen.attend(q, k, v, Packed(begins, longest))
    k, v = k.clone(), v.clone()
    k[4:], v[4:] = 9.0, 9.0
    after = varlen.attend(q, k, v, Packed(begins, longest))
    assert torch.equal(before[:4], after[:4])
    assert not torch.equal(before[4:], after[4:])


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_the_kernel_is_called_as_it_wants_to_be(monkeypatch, lengths):
    """Played by its reference, with the library's own signature."""
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
    whose = Packed(*given[3:])
    padded = varlen.attend(*given[:3], whose)
    monkeypatch.setattr(varlen, "suits", lambda *_: True)
    monkeypatch.setattr(varlen, "varlen_attn", played)
    torch.testing.assert_close(varlen.attend(*given[:3], whose), padded, atol=1e-6, rtol=1e-5)
    assert len(calls) == 1


# A causal model with a cache: new tokens at the end of what is known, fewer heads of keys ----------

NEW = {  # tokens that are asked about, and that are known with them, of each sequence
    "a prompt": ([7], [7]),
    "one more token of each": ([1, 1, 1], [9, 1, 33]),
    "a prompt beside others": ([12, 1, 1, 5], [12, 20, 3, 30]),
    "a prompt whose beginning is cached": ([3, 4], [19, 4]),
}


def cached(new: list[int], known: list[int], heads: int = 6, fewer: int = 2) -> tuple[Any, ...]:
    dice, width = torch.manual_seed(8), 16
    q = torch.randn(sum(new), heads, width, generator=dice)
    k, v = torch.randn(sum(known), 2, fewer, width, generator=dice).unbind(1)
    begins = [torch.tensor([0, *accumulate(one)], dtype=torch.int32) for one in (new, known)]
    return q, k, v, Packed(begins[0], max(new), begins[1], max(known), causal=True, scale=0.3)


def causal_by_itself(q: Any, k: Any, v: Any, packed: Packed) -> Any:
    """One sequence after the other, each query and each head by the formula."""
    made = []
    ends = zip(pairwise(packed.queries.tolist()), pairwise(packed.keys.tolist()), strict=True)
    for (start, end), (first, last) in ends:
        keys, values = (one[first:last].repeat_interleave(3, dim=1) for one in (k, v))
        for place in range(start, end):
            seen = last - first - (end - place) + 1
            scores = torch.einsum("hd,thd->ht", q[place], keys[:seen]) * packed.scale
            made.append(torch.einsum("ht,thd->hd", scores.softmax(-1), values[:seen]))
    return torch.stack(made)


@pytest.mark.parametrize("lengths", NEW.values(), ids=NEW)
def test_a_causal_model_sees_what_it_has_read(lengths):
    given = cached(*lengths)
    torch.testing.assert_close(
        varlen.attend(*given), causal_by_itself(*given), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("lengths", NEW.values(), ids=NEW)
def test_the_kernel_is_told_what_is_causal(monkeypatch, lengths):
    pytest.importorskip("torch.nn.attention.varlen", reason="torch before 2.10 has no varlen_attn")
    from torch.nn.attention.varlen import varlen_attn

    if not varlen.knows_causal():
        pytest.skip("this torch's kernel knows no causal attention of grouped heads")
    given = cached(*lengths)
    expected = varlen.padded(*given)

    def played(*args: Any, **kwargs: Any) -> Any:
        bound = inspect.signature(varlen_attn).bind(*args, **kwargs)
        bound.apply_defaults()
        said = bound.arguments
        assert (said["window_size"], said["enable_gqa"], said["scale"]) == ((-1, 0), True, 0.3)
        assert (said["max_q"], said["max_k"]) == tuple(map(max, lengths))
        assert said["cu_seq_k"].dtype == said["cu_seq_q"].dtype == torch.int32
        return causal_by_itself(said["query"], said["key"], said["value"], given[3])

    monkeypatch.setattr(varlen, "suits", lambda *_: True)
    monkeypatch.setattr(varlen, "varlen_attn", played)
    torch.testing.assert_close(varlen.attend(*given), expected, atol=1e-5, rtol=1e-5)


def test_chat_over_its_cache_is_the_same_as_on_a_cpu(load, monkeypatch):
    """Through the library's own cache and steps, with the padded twin in the kernel's place."""
    from models.chat.in_process import attention
    from models.chat.request import Prompt, Sampling
    from tests.conftest import row
    from tests.support.chatting import letters, together

    llama = load(row("Tiny_Llama"))
    rules = Sampling(max_tokens=8, temperature=0.0, logprobs=2, ignore_eos=True)
    asked = [Prompt(tuple(letters(length, length)), rules) for length in (70, 3, 41, 9)]
    expected = together(llama, asked, apart=2)
    calls: list[int] = []

    def at_once(module: Any, query: Any, key: Any, value: Any, mask: Any, **kwargs: Any) -> Any:
        scaling, begins = kwargs.pop("scaling", None), kwargs.pop("cu_seq_lens_q")
        cache = kwargs.pop("cache")
        key, value = cache.update(
            key_states=key, value_states=value, layer_idx=module.layer_idx, kwargs=kwargs
        )
        calls.append(query.shape[2])
        return attention._at_once(query, key, value, scaling, begins, kwargs), None

    from transformers import AttentionInterface

    monkeypatch.setitem(AttentionInterface._global_mapping, attention.NAME, at_once)
    llama._paged.cache.evict_cached_blocks()
    for one, other in zip(together(llama, asked, apart=2), expected, strict=True):
        assert one.tokens == other.tokens
        for mine, theirs in zip(one.logprobs[0], other.logprobs[0], strict=True):
            assert mine.logprob == pytest.approx(theirs.logprob, abs=1e-4)
    assert max(calls) > 1


def test_chat_computes_itself_where_the_kernel_runs(monkeypatch):
    """On a GPU without it the library's own attention stays: padded, a prompt would make all long."""
    from models.chat.in_process.attention import suits

    def model(kind: str, dtype: Any, width: int = 64) -> Any:
        config = SimpleNamespace(head_dim=width, hidden_size=256, num_attention_heads=4)
        config.get_text_config = lambda: config
        return SimpleNamespace(device=torch.device(kind), dtype=dtype, config=config)

    monkeypatch.setattr(varlen, "suits", lambda device, dtype, width: dtype is torch.bfloat16)
    assert suits(model("cpu", torch.float32))
    assert suits(model("cuda", torch.bfloat16))
    assert not suits(model("cuda", torch.float32))
    monkeypatch.setattr(varlen, "knows_causal", lambda: False)
    assert not suits(model("cuda", torch.bfloat16))


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
