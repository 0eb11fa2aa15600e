"""Chat: the worker compared with transformers' ``generate`` and its own continuous batching.

    .venv/bin/python -m benchmarks.chat
    .venv-vllm/bin/python -m benchmarks.chat --engine vllm     (made by ./scripts/test -m vllm)

The workload is 16 conversations with SmolLM2 in float32: 38 to 458 prompt tokens, answers of 16 to
128, greedy. Each round uses new words, so that no prompt is cached from another round. In turns:

- ``generate``, one conversation after the other
- the bare engine, all at once: transformers' ``ContinuousBatchingManager`` with our options, or
  vLLM's ``AsyncLLM``
- the worker, all at once: ``Worker.answer``, as the queue's loop calls it

Then the engine alone: the time to the first token with 1, 4 and 16 conversations at once, the time
between tokens with 16, and the throughput with 64. Ratios are computed within a round; figures are
medians over rounds. The goals: 2.5 times ``generate`` with equal answers, 0.95 of the bare engine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import figures, table
from handler.assemble import assemble
from handler.entry import Worker
from handler.settings.variables import Settings
from handler.wire import Encoded
from models.chat.in_process.engine import CPU_CACHE_TOKENS
from models.chat.in_process.paged import STEP_TOKENS, options
from models.chat.request import Prompt, Sampling, Tokens
from models.warm.ticket import NEVER
from models.weights.store import WeightsStore

MODEL = "SmolLM2_135M_Instruct"
REQUESTS, SHORTEST, LONGEST = 16, 38, 458
WORDS = """
    time year people way day man thing woman life child world school state family student group
    country problem hand part place case week company system program question work government
    number night point home water room mother area money story fact month lot right study book
"""


@dataclass(frozen=True)
class Asked:
    """A conversation, its prompt's tokens, and the length of its answer."""

    text: str
    tokens: tuple[int, ...]
    limit: int

    @property
    def job(self) -> dict[str, Any]:
        """Return the job that a client sends."""
        messages = [{"role": "user", "content": self.text}]
        body = {"messages": messages, "max_tokens": self.limit, "temperature": 0, "top_p": 1}
        return {"id": "job", "input": body}


class Workload:
    """Generates conversations of mixed lengths, and answers them in several ways."""

    def __init__(self, engine: Any, worker: Worker, plain: Any) -> None:
        self.engine, self.worker, self.plain = engine, worker, plain
        self._chance = random.Random(1)

    def conversations(self, count: int) -> list[Asked]:
        """Return new conversations, never the same twice."""
        spread = max(1, count - 1)
        asked = []
        for index in range(count):
            wanted = SHORTEST + (LONGEST - SHORTEST) * index // spread
            asked.append(self._conversation(wanted, 16 + 112 * (index * 7 % count) // spread))
        self._chance.shuffle(asked)
        return asked

    def _conversation(self, wanted: int, limit: int) -> Asked:
        text = self.engine.text
        words = self._chance.choices(WORDS.split(), k=wanted)
        while True:
            said = " ".join(words)
            tokens = text.encode(({"role": "user", "content": said},))
            if len(tokens) <= wanted:
                return Asked(said, tuple(tokens), limit)
            words = words[: -max(1, len(tokens) - wanted)]

    def generated(self, asked: Sequence[Asked]) -> tuple[float, list[str]]:
        """Return the seconds and the answers of ``generate``, one by one."""
        import torch

        start, said = time.perf_counter(), []
        for request in asked:
            ids = torch.tensor([request.tokens])
            out = self.plain.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=request.limit,
                pad_token_id=0,
            )
            said.append(self.engine.text.decode(out[0, len(request.tokens) :].tolist()))
        return time.perf_counter() - start, said

    def managed(self, bare: Any, asked: Sequence[Asked]) -> float:
        """Return the seconds of the bare engine, all at once."""
        start = time.perf_counter()
        for request in asked:
            bare.add_request(list(request.tokens), max_new_tokens=request.limit)
        left = len(asked)
        while left:
            if (result := bare.get_result(timeout=60)) is None:
                raise RuntimeError("the manager gave up")
            left -= result.is_finished()
        return time.perf_counter() - start

    async def answered(self, asked: Sequence[Asked]) -> tuple[float, list[str]]:
        """Return the seconds and the answers of the worker, all at once."""
        start = time.perf_counter()
        outputs = await asyncio.gather(*(self.worker.answer(request.job) for request in asked))
        took = time.perf_counter() - start
        said = []
        for output in outputs:
            assert isinstance(output, Encoded), output
            said.append(json.loads(output.content)["choices"][0]["message"]["content"])
        return took, said

    async def timed(self, asked: Sequence[Asked]) -> tuple[list[float], list[float], float]:
        """Return the engine's times to the first token, times between tokens, and tokens/s."""
        row = self.worker.endpoint.pick("chat", None)
        first: list[float] = []
        between: list[float] = []

        async def one(conversation: Asked) -> int:
            start = last = time.perf_counter()
            sampling = Sampling(conversation.limit, temperature=0.0, ignore_eos=True)
            count = 0
            async with self.worker.dispatcher.pool.lease(row, NEVER) as model:
                prompt = Prompt(conversation.tokens, sampling)
                async with aclosing(model.stream(prompt)) as events:
                    async for event in events:
                        if not isinstance(event, Tokens):
                            continue
                        now = time.perf_counter()
                        (between if count else first).append(now - (last if count else start))
                        last, count = now, count + 1
            return count

        start = time.perf_counter()
        counts = await asyncio.gather(*(one(conversation) for conversation in asked))
        return first, between, sum(counts) / (time.perf_counter() - start)


class Manager:
    """transformers' continuous batching, unmodified, on the model of ``generate``."""

    def __init__(self, load: Workload, _folder: Path) -> None:
        self._load = load

    async def timed(self, asked: Sequence[Asked]) -> float:
        """Return the seconds for all conversations."""
        from transformers import ContinuousBatchingConfig, GenerationConfig

        plain = self._load.plain
        implementation = plain.config._attn_implementation
        manager = plain.init_continuous_batching(
            generation_config=GenerationConfig(
                do_sample=False, eos_token_id=list(self._load.engine.ends)
            ),
            continuous_batching_config=ContinuousBatchingConfig(
                **options(CPU_CACHE_TOKENS, STEP_TOKENS["cpu"])
            ),
        )
        manager.start()
        try:
            return await asyncio.to_thread(self._load.managed, manager, asked)
        finally:
            await asyncio.to_thread(manager.stop)
            plain.set_attn_implementation(implementation)

    def close(self) -> None:
        """Do nothing: there is nothing to end."""


class BareVllm:
    """``AsyncLLM``, unmodified, in its own process."""

    def __init__(self, load: Workload, folder: Path) -> None:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = AsyncEngineArgs(
            model=str(folder), dtype="float32", enforce_eager=True, disable_log_stats=True
        )
        self._engine = AsyncLLM.from_engine_args(arguments)

    async def timed(self, asked: Sequence[Asked]) -> float:
        """Return the seconds for all conversations."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        async def one(conversation: Asked) -> None:
            sampling = SamplingParams(
                temperature=0.0,
                max_tokens=conversation.limit,
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
            )
            prompt = {"prompt_token_ids": list(conversation.tokens)}
            async for _ in self._engine.generate(prompt, sampling, conversation.text):
                pass

        start = time.perf_counter()
        await asyncio.gather(*(one(conversation) for conversation in asked))
        return time.perf_counter() - start

    def close(self) -> None:
        """End the process."""
        self._engine.shutdown()


BARE = {"transformers": Manager, "vllm": BareVllm}


async def compare(load: Workload, bare: Any, rounds: int) -> dict[str, float]:
    """Measure in turns; return the ratios to ``generate`` and to the bare engine."""
    rows = []
    for _ in range(rounds):
        asked = load.conversations(REQUESTS)
        slow, theirs = await asyncio.to_thread(load.generated, asked)
        raw = await bare.timed(asked)
        fast, ours = await load.answered(asked)
        same = sum(text == other for text, other in zip(ours, theirs, strict=True))
        rows.append((slow, raw, fast, slow / fast, raw / fast, same))
    table(
        ("generate s", "bare s", "worker s", "to generate", "to the bare one", "equal"),
        [(*(f"{value:.2f}" for value in row[:5]), row[5]) for row in rows],
    )
    return {
        "ratio_generate": statistics.median(row[3] for row in rows),
        "ratio_bare": statistics.median(row[4] for row in rows),
        "identical": float(min(row[5] for row in rows)),
    }


async def alone(load: Workload, rounds: int) -> dict[str, float]:
    """Measure the engine alone: the time to the first token, and between tokens."""
    told: dict[str, float] = {}
    for count in (1, 4, 16, 64):
        firsts, betweens, rates = [], [], []
        for _ in range(rounds if count < 64 else 1):
            first, between, rate = await load.timed(load.conversations(count))
            firsts.append(statistics.median(first))
            betweens.append(statistics.quantiles(between, n=20)[-1])
            rates.append(rate)
        told[f"ttft_ms_{count}"] = 1000 * statistics.median(firsts)
        told[f"between_p95_ms_{count}"] = 1000 * statistics.median(betweens)
        told[f"tokens_per_s_{count}"] = statistics.median(rates)
    table(
        ("at once", "first token ms", "next p95 ms", "tokens/s"),
        [
            (
                count,
                f"{told[f'ttft_ms_{count}']:.0f}",
                f"{told[f'between_p95_ms_{count}']:.0f}",
                f"{told[f'tokens_per_s_{count}']:.0f}",
            )
            for count in (1, 4, 16, 64)
        ],
    )
    return told


async def run(engine: str, rounds: int) -> dict[str, float]:
    """Load and warm up the models, and measure."""
    import torch
    from transformers import AutoModelForCausalLM

    wanted = {"SURFACE": "chat", "MODEL_SLUG": MODEL, "DTYPE": "float32", "CHAT_ENGINE": engine}
    settings = Settings.from_env(wanted)
    worker = assemble(settings)
    await worker.warm()
    row = worker.endpoint.pick("chat", None)
    folder = WeightsStore(settings.places()).resolve(row)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    async with worker.dispatcher.pool.lease(row, NEVER) as model:
        load = Workload(model.engine, worker, plain)
    bare = BARE[engine](load, folder)
    await load.answered(load.conversations(2))
    await bare.timed(load.conversations(2))
    await asyncio.to_thread(load.generated, load.conversations(1))
    compared = await compare(load, bare, rounds)
    bare.close()
    measured = {**compared, **await alone(load, rounds)}
    load.engine.close()
    return measured


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=BARE, default="transformers")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    figures(asyncio.run(run(arguments.engine, arguments.rounds)))


if __name__ == "__main__":
    main()
