"""Llama-3-8B with random weights on our chat engines: tokens per second.

Decoding uses prompts of 128 tokens, and is measured from when all conversations have their first
token until one has its last. Each step reads the weights once, and the keys and values of each
conversation. Prompts are measured with 16 of 1,024 tokens and answers of one token. Everything runs
through the engine's own ``admit`` and ``step``.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu import work
from benchmarks.gpu.made import Run, randomly
from benchmarks.gpu.outcomes import Figure, Named, Outcome, Skipped
from models import tiny
from models.catalog import CATALOG
from models.chat.request import Prompt, Sampling, Tokens
from models.row import Row
from models.work import Done

FULL = {
    "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}  # fmt: skip
TINY = {
    "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
}  # fmt: skip
_ENDS = [257, 260]  # the end tokens of the recipe's tokenizer
_LETTERS = range(256)  # token ids that are text
_SMALL_CACHE = 4096


@dataclass(frozen=True)
class Asked:
    """The workload, by the size of the run."""

    at_once: tuple[int, ...]
    prompt: int
    said: int
    prompts: int
    long: int


LARGE = Asked(at_once=(1, 16, 64), prompt=128, said=128, prompts=16, long=1024)
SMALL = Asked(at_once=(1, 4), prompt=16, said=8, prompts=2, long=64)


def layer_weights(config: dict[str, int]) -> int:
    """Return the number of weights of all layers: attention with shared keys, and the gated MLP."""
    width, heads = config["hidden_size"], config["num_attention_heads"]
    keys = width * config["num_key_value_heads"] // heads
    each = 2 * width * width + 2 * width * keys + 3 * width * config["intermediate_size"]
    return config["num_hidden_layers"] * each


def token_bytes(config: dict[str, int], number_bytes: int) -> int:
    """Return the size of one token's keys and values in all layers."""
    head = config["hidden_size"] // config["num_attention_heads"]
    return 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * head * number_bytes


def on_transformers(run: Run) -> Iterator[Outcome]:
    """Measure our engine, with a model created on the device."""
    import torch
    import transformers
    from transformers import LlamaConfig, LlamaForCausalLM

    from models.chat.in_process.engine import TransformersChat, cache_tokens
    from models.chat.in_process.paged import VERSION
    from models.chat.text import ChatText

    if not transformers.__version__.startswith(VERSION):
        yield Skipped("", f"transformers {VERSION}x is needed, this is {transformers.__version__}")
        return
    yield Named("transformers", transformers.__version__)
    config = LlamaConfig(**_sizes(run), eos_token_id=_ENDS, tie_word_embeddings=False)
    dtype = getattr(torch, run.device.dtype)
    model = randomly(lambda: LlamaForCausalLM(config), run.device, dtype).eval()
    row = _row(run)
    text = ChatText(_folder(run), config.max_position_embeddings, row.options)
    tokens = cache_tokens(model, row, run.device)
    yield from measure(TransformersChat(model, text, row, tokens), run)


def on_vllm(run: Run) -> Iterator[Outcome]:
    """Measure the same on vLLM, which creates random weights itself."""
    import vllm
    from transformers import LlamaConfig

    from models.chat.vllm.engine import VllmChat

    yield Named("vllm", vllm.__version__)
    folder = _folder(run)
    config = LlamaConfig(
        **_sizes(run), eos_token_id=_ENDS, tie_word_embeddings=False, dtype=run.device.dtype
    )
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    row = _row(run)
    row = replace(row, options={**row.options, "load_format": "dummy"})
    engine = VllmChat.load(folder, row, run.device)
    try:
        yield from measure(engine, run)
    finally:
        engine.close()


def measure(engine: Any, run: Run) -> Iterator[Outcome]:
    """Yield figures of decoding with few and many at once, then of prompts."""
    asked, sizes = (SMALL if run.small else LARGE), _sizes(run)
    number_bytes = 4 if run.device.dtype == "float32" else 2
    head = sizes["vocab_size"] * sizes["hidden_size"]
    weights = layer_weights(sizes) + head
    _Crowd(engine, 1, asked.prompt, 4).run()  # warms up, not counted
    for count in asked.at_once:
        crowd = _Crowd(engine, count, asked.prompt, asked.said)
        crowd.run()
        context = asked.prompt + asked.said / 2
        each = token_bytes(sizes, number_bytes)
        read = work.decode_bytes(weights * number_bytes, count, context, each)
        share = work.share(read * crowd.tokens / count, crowd.seconds, run.bandwidth)
        rate = crowd.tokens / crowd.seconds
        yield Figure(f"decoding, {count} at once", rate, "tokens/s", share, "bandwidth")
    _Crowd(engine, asked.prompts, asked.long, 1).run()
    crowd = _Crowd(engine, asked.prompts, asked.long, 1)
    crowd.run()
    read_tokens = asked.prompts * asked.long
    done = (
        work.linear(read_tokens, layer_weights(sizes))
        + work.linear(asked.prompts, head)
        + work.attention([asked.long] * asked.prompts, sizes["num_hidden_layers"],
                         sizes["hidden_size"], causal=True)
    )  # fmt: skip
    share = work.share(done, crowd.took, run.flops)
    what = f"prompts, {asked.prompts} of {asked.long}"
    yield Figure(what, read_tokens / crowd.took, "tokens/s", share, "arithmetic")


class _Crowd:
    """Conversations that begin at once, with different prompts.

    Attributes:
        tokens, seconds: the tokens generated while all conversations were active, and that time.
        took: seconds from the first request to the last step.
    """

    _chance = random.Random(3)

    def __init__(self, engine: Any, count: int, prompt: int, said: int) -> None:
        self._engine = engine
        self._count = count
        self._sampling = Sampling(said, temperature=0.0, ignore_eos=True)
        self._prompts = [tuple(self._chance.choices(_LETTERS, k=prompt)) for _ in range(count)]
        self.tokens, self.seconds, self.took = 0, 0.0, 0.0

    def run(self) -> None:
        """Run until all conversations have ended.

        Raises:
            QuartetError: one of them failed.
        """
        prompts = [Prompt(tokens, self._sampling) for tokens in self._prompts]
        items = [asyncio.run(self._engine.prepare(prompt)) for prompt in prompts]
        start = time.perf_counter()
        for key, item in enumerate(items):
            self._engine.admit(key, item)
        begun, done = set[int](), set[int]()
        since: float | None = None
        while len(done) < self._count:
            events = self._engine.step()
            now, together = time.perf_counter(), since is not None and not done
            for key, event in events:
                if isinstance(event, Exception):
                    raise event
                if isinstance(event, Tokens):
                    begun.add(key)
                    self.tokens += len(event.tokens) if together else 0
                elif isinstance(event, Done):
                    done.add(key)
            if since is not None and together and done:
                self.seconds = now - since
            if since is None and len(begun) == self._count:
                since = now
        self.took = time.perf_counter() - start


def _sizes(run: Run) -> dict[str, int]:
    return TINY if run.small else FULL


def _row(run: Run) -> Row:
    options = {"family": "llama3", **({"cache_tokens": _SMALL_CACHE} if run.small else {})}
    row = replace(CATALOG.find("Llama3_8B_Instruct"), options=options)
    return replace(row, memory_bytes=run.device.budget_bytes)  # as of a worker for chat alone


def _folder(run: Run) -> Path:
    """Return a folder with the recipe's tokenizer, and without its weights."""
    folder = run.folder / "llama"
    folder.mkdir()
    tiny.build("llama", folder)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    return folder
