"""Chat with vLLM: the engine for a GPU, and for models that need several.

vLLM's engine core runs in a process of its own and batches continuously there. This side hands in
requests, and each step takes what has come back. ``LLMEngine`` is its synchronous client, of the
same core as ``AsyncLLM``: it fits a device's thread, so that deadlines, cancelling and the watch
over a hung device are those of every other engine. Token ids go in and out; grammars are of
llguidance here as there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models.chat.admission import Admission, Entrance
from models.chat.grammar import Grammars
from models.chat.request import Begun, Ended, Prompt, Tokens
from models.chat.text import ChatText
from models.chat.vllm_words import logprobs, sampling
from models.device.hardware import Device
from models.errors import DeviceLost
from models.quiet import hush
from models.row import Row
from models.surface import Done

_USUAL_TOKENS = 1024  # of a request, with its answer
_CPU_CACHE_GIB = 1
_BLOCK_TOKENS = 32
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has kernels for
_LOOK_S = 0.25  # between two looks whether vLLM's process lives
_GPU_SHARE = 0.9  # of its memory: weights, cache and working space together
SILENT_S = 120.0  # a step, of thousands of tokens at most, takes seconds
_HUNG = "The model's process gives no sign of life; the worker restarts. Send the request again."
_LOST = "The model's process has ended; the worker restarts. Send the request again."


class VllmChat:
    """A causal language model of vLLM."""

    def __init__(self, engine: Any, text: ChatText, row: Row) -> None:
        config = engine.vllm_config
        self.text = text
        self.context = int(config.model_config.max_model_len)
        self.ends = _ends(config.model_config, text)
        self._engine = engine
        grammars = Grammars(text.tokenizer, config.model_config.get_vocab_size(), self.ends)
        self._cache_tokens = _cache_tokens(config)
        self._entrance = Entrance(row.slug, min(self.context, self._cache_tokens), grammars)
        self._most_at_once = int(config.scheduler_config.max_num_seqs)
        self._adapters = _adapters(row)
        self._going: dict[int, _Going] = {}
        self._heard_at = time.monotonic()

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> VllmChat:
        """Start vLLM's process, which loads the folder; takes from half a minute to minutes."""
        hush("transformers")
        on_cpu = device.kind == "cpu"
        # A forked child would inherit CUDA's context, and locks of our threads.
        os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
        if on_cpu:
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(_CPU_CACHE_GIB))
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        from vllm import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        arguments = {
            "model": str(folder),
            "dtype": row.options.get("dtype", device.dtype),
            "tensor_parallel_size": row.options.get("gpus", 1),
            "gpu_memory_utilization": _GPU_SHARE,
            "enable_prefix_caching": True,
            "structured_outputs_config": {"backend": "guidance"},
            "enforce_eager": on_cpu,
            "disable_log_stats": True,
            "max_model_len": row.options.get("context"),
            **_cache(row),
            **_lora(row),
        }
        engine = LLMEngine.from_engine_args(EngineArgs(**arguments), enable_multiprocessing=True)
        engine.get_supported_tasks()  # kept; asked for at a request, a process that hangs holds it
        context = int(engine.vllm_config.model_config.max_model_len)
        return cls(engine, ChatText(folder, context, row.options), row)

    @property
    def capacity(self) -> int:
        """How many requests of usual size the cache holds."""
        return max(1, min(self._most_at_once, self._cache_tokens // _USUAL_TOKENS))

    def prepare(self, request: Prompt) -> Admission:
        """Check that it can be answered; an answer's length is cut to what fits.

        Raises:
            ContextLengthExceeded: the prompt is too long.
            InvalidValue: the grammar cannot be honoured.
        """
        return self._entrance.check(request)

    def admit(self, key: int, item: Admission) -> None:
        """Hand in every choice as a request of its own: each can be let go of by itself.

        They share the prompt's pages, as all with an equal beginning do.
        """
        if not self._going:
            self._heard_at = time.monotonic()
        going = self._going[key] = _Going(item.prompt)
        adapter = self._adapters.get(item.prompt.adapter or "")
        for index in range(item.prompt.n):
            params = sampling(item, index, self.ends)
            prompt = {"prompt_token_ids": list(item.prompt.tokens)}
            with _Alive():
                name = self._engine.add_request(
                    f"{key}.{index}", prompt, params, lora_request=adapter
                )
            going.names[index] = name

    def drop(self, key: int) -> None:
        """Let go of all choices of a request."""
        if going := self._going.pop(key, None):
            self._engine.abort_request(list(going.names.values()), internal=True)

    def step(self) -> Sequence[tuple[int, Any]]:
        """Take what has come back from vLLM's process, or wait for it."""
        self._drop_unread()
        if not self._wait():
            return ()
        with _Alive():
            outputs = self._engine.step()
        events: list[tuple[int, Any]] = []
        for output in outputs:
            key, index = map(int, output.request_id.split("."))
            if going := self._going.get(key):
                events += [(key, event) for event in self._told(going, index, output)]
                if not going.names:
                    del self._going[key]
                    events.append((key, Done()))
        return events

    def close(self) -> None:
        """End vLLM's process."""
        self._engine.engine_core.shutdown()

    def _wait(self) -> bool:
        """Wait a moment for something to come back; says whether it has.

        The synchronous client would wait for ever, for a process that hangs or is no more.
        """
        core = self._engine.engine_core
        come = core.outputs_queue
        with come.not_empty:
            if come.queue or come.not_empty.wait(_LOOK_S):
                self._heard_at = time.monotonic()
                return True
        alive = all(process.is_alive() for process in core.resources.engine_manager.processes)
        if core.resources.engine_dead or not alive:
            raise DeviceLost(_LOST)
        if time.monotonic() - self._heard_at > SILENT_S:
            raise DeviceLost(_HUNG)
        return False

    def _told(self, going: _Going, index: int, output: Any) -> Iterator[Any]:
        """What is new of one choice."""
        if not going.begun:
            going.begun = True
            yield Begun(int(output.num_cached_tokens or 0))
        [new] = output.outputs
        tokens = list(new.token_ids)
        stopped = new.finish_reason == "stop"
        if stopped and tokens and tokens[-1] in self.ends:
            tokens.pop()
        if tokens and index in going.names:
            yield Tokens(index, tuple(tokens), logprobs(going.prompt.sampling, tokens, new))
        if new.finish_reason is not None and index in going.names:
            del going.names[index]
            yield Ended(index, "stop" if stopped else "length")

    def _drop_unread(self) -> None:
        """Let go of choices that nobody reads any more."""
        unread = [
            name
            for going in self._going.values()
            for index, name in going.names.items()
            if index in going.prompt.dropped
        ]
        if unread:
            self._engine.abort_request(unread, internal=True)
        for going in self._going.values():
            for index in going.prompt.dropped:
                going.names.pop(index, None)


def _cache(row: Row) -> dict[str, int]:
    """The size of the cache, where the operator says one."""
    tokens = row.options.get("cache_tokens")
    if tokens is None:
        return {}
    return {"block_size": _BLOCK_TOKENS, "num_gpu_blocks_override": -(-tokens // _BLOCK_TOKENS)}


def _lora(row: Row) -> dict[str, Any]:
    """Room for the adapters, as large as the largest of them."""
    adapters = row.options.get("adapters", {})
    if not adapters:
        return {}
    ranks = [
        int(json.loads((folder / "adapter_config.json").read_text())["r"])
        for folder in adapters.values()
    ]
    rank = next(one for one in _RANKS if one >= max(ranks))
    # One more place, that stays empty: beside others, the build for a CPU takes a request without
    # an adapter for one of the last place's.
    return {"enable_lora": True, "max_loras": len(adapters) + 1, "max_lora_rank": rank}


def _adapters(row: Row) -> dict[str, Any]:
    """VLLM's requests for adapters, by their names."""
    adapters = row.options.get("adapters", {})
    if not adapters:
        return {}
    from vllm.lora.request import LoRARequest

    return {
        name: LoRARequest(name, number, str(folder))
        for number, (name, folder) in enumerate(sorted(adapters.items()), start=1)
    }


class _Going:
    """A request that is in: the names of its choices that still grow."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.names: dict[int, str] = {}
        self.begun = False


class _Alive:
    """Names the error of a process that is no more."""

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """A dead process is a lost device."""
        if kind is not None and kind.__name__ == "EngineDeadError":
            raise DeviceLost(_LOST) from None


def _ends(config: Any, text: ChatText) -> frozenset[int]:
    """The tokens that end a turn: of the model's generation config, and of its tokenizer."""
    given = config.try_get_generation_config().get("eos_token_id")
    ends = given if isinstance(given, list) else [] if given is None else [given]
    return frozenset(ends) or frozenset([text.tokenizer.eos_token_id])


def _cache_tokens(config: Any) -> int:
    blocks: int = config.cache_config.num_gpu_blocks or 0
    return blocks * int(config.cache_config.block_size)
