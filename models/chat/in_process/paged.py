"""transformers' continuous batching, step by step on our own thread.

The library's manager has its own thread and queues, and one sampling method for all requests. This
module uses its parts directly, the paged cache, the scheduler and the batch processor, and replaces
the method that chooses tokens. These parts are not a public API, so the library's version is
checked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

from models.chat.admission import Admission
from models.chat.in_process.attention import register, suits

VERSION = "5.23."
_PAGE_TOKENS = 32  # prefixes are shared in whole pages
STEP_TOKENS = {"cpu": 512, "cuda": 2048}  # tokens of prompts and answers in one step
_FREE_SHARE = 0.9  # the share of free memory for the cache, if its size is not given

# Chooses the next token of each request, by id, from scores of shape (requests, vocabulary).
Choose = Callable[[Sequence[str], Any], Sequence[int]]


def options(cache_tokens: int | None, step_tokens: int) -> dict[str, Any]:
    """Return the arguments of ``ContinuousBatchingConfig``."""
    return {
        "page_size": _PAGE_TOKENS,
        "num_blocks": None if cache_tokens is None else -(-cache_tokens // _PAGE_TOKENS),
        "max_batch_tokens": step_tokens,
        "max_memory_percent": _FREE_SHARE,
        "allow_block_sharing": True,
        # Captured graphs and asynchronous batches cannot call a Python function to choose tokens.
        "use_cuda_graph": False,
        "use_async_batching": False,
        "auto_switch_to_flash": False,
    }


def _looks_at_all(config: Any) -> bool:
    """Whether every layer attends to every token before."""
    config = config.get_text_config()  # of a model that sees, too
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    return set(kinds) == {"full_attention"} and not getattr(config, "sliding_window", None)


class Paged:
    """A model with a paged cache.

    Args:
        model: a model of transformers, on its device.
        cache_tokens: about the size of the cache in tokens; None = what the free memory allows.
        choose: chooses the tokens of each step.
    """

    def __init__(self, model: Any, cache_tokens: int | None, choose: Choose) -> None:
        import transformers
        from transformers import ContinuousBatchingConfig, GenerationConfig
        from transformers.generation.continuous_batching.continuous_api import (
            ContinuousBatchingManager,
        )

        if not transformers.__version__.startswith(VERSION):
            raise RuntimeError(
                f"transformers {VERSION}x is required, but this is {transformers.__version__}"
            )
        step_tokens = STEP_TOKENS[model.device.type]
        config = ContinuousBatchingConfig(**options(cache_tokens, step_tokens))
        plain = GenerationConfig(do_sample=False)
        manager = ContinuousBatchingManager(model, plain, config)
        self._model = model
        if _looks_at_all(model.config) and suits(model):
            model.set_attn_implementation(register())
        self._processor = manager._create_batch_processor()
        self._scheduler, self.cache = self._processor.scheduler, self._processor.cache
        self._hits: dict[str, int] = {}
        self._ages: dict[str, int] = {}
        self._count = count()
        self._replace_sampling(choose)
        self._count_hits()

    @property
    def size(self) -> int:
        """The size of the cache in tokens."""
        return int(self.cache.max_tokens_read)

    def held(self) -> float:
        """Return the share of the cache that requests hold; frees pages kept for their prefix."""
        self.cache.evict_cached_blocks()
        return 1.0 - float(self.cache.compute_free_capacity())

    def largest(self) -> int:
        """Return the length in tokens of the longest request that fits into the empty cache."""
        from transformers.generation.continuous_batching.model_runner import (
            infer_max_single_request_tokens,
        )

        return int(infer_max_single_request_tokens(self.cache))

    def add(self, name: str, item: Admission, ends: Iterable[int]) -> None:
        """Let a request in; it waits for room in the cache, the oldest first."""
        from transformers.generation.continuous_batching.requests import RequestState

        state = RequestState(
            name, list(item.prompt.tokens), max_new_tokens=item.limit, eos_token_id=list(ends)
        )
        self._ages[name] = next(self._count)
        self._scheduler.add_waiting_request(state)

    def remove(self, names: Iterable[str]) -> None:
        """Release requests and their pages."""
        for name in names:
            self._scheduler.set_request_cancellation(name)
            self.forget(name)
        for state in self._scheduler.clear_cancelled_requests():
            self._processor.offloading_manager.free_request_cpu_cache(state)
        self._let_in()

    def forget(self, name: str) -> None:
        """Forget a request that has ended."""
        self._hits.pop(name, None)
        self._ages.pop(name, None)

    def hits(self, name: str) -> int:
        """Return how many of a request's first tokens were cached when it was admitted."""
        return self._hits.get(name, 0)

    def step(self) -> None:
        """Run the model once over the scheduled tokens."""
        scheduler, age = self._scheduler, self._ages.__getitem__
        if len(scheduler.waiting_requests_order) > 1:
            # A request that had to leave the cache goes before one that was never in it.
            oldest_first = sorted(scheduler.waiting_requests_order, key=age)
            scheduler.waiting_requests_order = deque(oldest_first)
        if self._processor.prepare_next_batch():
            self._wait_for_inputs()
            self._processor._generation_step(self._model)
            self._processor.update_batch()

    def _wait_for_inputs(self) -> None:
        """Make the library's compute stream wait for this one, which has prepared the step."""
        import torch

        stream = self._processor.inputs_and_outputs.compute_stream
        if stream is not None:
            stream.wait_stream(torch.get_device_module(self._model.device).current_stream())

    def close(self) -> None:
        """Release the model and the cache, which refer to each other via the replaced methods."""
        del self._processor.model_runner._sample
        del self.cache.search_prefix_match
        del self._model, self._processor, self._scheduler, self.cache

    def restart(self) -> None:
        """Restart all requests after a failed step; tokens generated so far extend the prompt."""
        for state in reversed(list(self._scheduler.active_requests.values())):
            again = state.create_equivalent_initial_request()
            self._scheduler.finish_request(state.request_id)
            self._scheduler.waiting_requests[again.request_id] = again
            self._scheduler.waiting_requests_order.appendleft(again.request_id)
        self._let_in()

    def _let_in(self) -> None:
        """Let the scheduler admit requests again.

        Once a request had to leave the cache, the library admits none until one has ended. A
        cancelled request makes room as well.
        """
        self._scheduler.block_new_requests = False

    def _replace_sampling(self, choose: Choose) -> None:
        """Make the library's model runner choose tokens with ``choose``."""
        import torch

        runner, batch = self._processor.model_runner, self._processor.inputs_and_outputs

        def sample(scores: Any, output_ids: Any) -> None:
            batched = batch.requests_in_batch
            names = [entry.state.request_id for entry in batched if entry.has_new_token]
            if names:
                chosen = choose(names, scores[0, : len(names)])
                output_ids[0, : len(names)] = torch.tensor(chosen, dtype=output_ids.dtype)

        runner._sample = sample

    def _count_hits(self) -> None:
        """Count the cached tokens of each prompt, which the library does not report."""
        search = self.cache.search_prefix_match

        def counted(name: str, tokens: list[int]) -> int:
            tokens_found: int = search(name, tokens)
            self._hits.setdefault(name, tokens_found)
            return tokens_found

        self.cache.search_prefix_match = counted
