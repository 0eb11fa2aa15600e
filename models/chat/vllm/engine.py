"""Chat with vLLM: the engine for a GPU, and for models that need several.

vLLM's engine core runs in a process of its own and batches continuously there. This side hands in
requests, and each step takes what has come back. ``LLMEngine`` is its synchronous client, of the
same core as ``AsyncLLM``: it fits a device's thread, so that deadlines, cancelling and the watch
over a hung device are those of every other engine. Token ids go in and out; grammars are of
llguidance here as there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from models.chat import options
from models.chat.admission import Admission, Entrance
from models.chat.engine import LanguageModel
from models.chat.grammar import Grammars
from models.chat.request import Adapter, Begun, Ended, Prompt, Tokens
from models.chat.sight import Sight
from models.chat.text import ChatText
from models.chat.vllm.loras import Loras
from models.chat.vllm.nap import Nap
from models.chat.vllm.running import HUNG, LOST, Alive, Running
from models.chat.vllm.sampling import limits_of, logprobs, sampling
from models.chat.vllm.start import cache_tokens, error_line, started
from models.device import trial
from models.device.hardware import Device
from models.errors import (
    DeviceLost,
    EngineFailed,
    InvalidValue,
    QuartetError,
)
from models.quiet import hush
from models.row import Row
from models.stages import spent
from models.work import Done

log = logging.getLogger(__name__)

_USUAL_TOKENS = 1024  # of a request, with its answer
_LOOK_S = 0.25  # between two looks whether vLLM's process lives
SILENT_S = 120.0  # a step, of thousands of tokens at most, takes seconds


class VllmChat(LanguageModel):
    """A causal language model of vLLM."""

    libraries = ("vllm", "llguidance")

    def __init__(
        self, engine: Any, text: ChatText, row: Row, loras: Loras, sight: Sight | None = None
    ) -> None:
        config = engine.vllm_config
        self.text = text
        self.context = int(config.model_config.max_model_len)
        generation = config.model_config.try_get_generation_config()
        vocabulary = int(config.model_config.get_vocab_size())
        self.ends = text.ends(generation.get("eos_token_id"), vocabulary)
        self._engine = engine
        grammars = Grammars(text.tokenizer, vocabulary, self.ends)
        tokens = cache_tokens(config)
        most = min(self.context, tokens)
        limits = limits_of(config, len(self.ends))
        self._entrance = Entrance(row.slug, most, grammars, limits, sight)
        at_once = int(config.scheduler_config.max_num_seqs)
        self.capacity = max(1, min(at_once, tokens // _USUAL_TOKENS))
        self._loras = loras
        self._nap = Nap(engine, row)
        self._going: dict[int, Running] = {}
        self._heard_at = time.monotonic()

    @classmethod
    def load(
        cls, folder: Path, row: Row, device: Device, is_broken: Callable[[], bool] = trial.is_broken
    ) -> VllmChat:
        """Start vLLM's process, which loads the folder; takes from half a minute to minutes.

        Args as of ``models.chat.vllm.start.started``.

        Raises:
            DeviceLost: the process does not start, as the GPU does not compute.
            ModelLoadFailed: an adapter cannot be loaded.
            ModelDoesNotFit: the row's memory has no room for its weights and a step.
        """
        hush("transformers")
        log.info("%s runs on vllm: %s", row.slug, row.options.get("why", "by its row"))
        engine = started(folder, row, device, is_broken)
        try:
            engine.get_supported_tasks()  # kept; at a request, a process that hangs holds it up
            spent("compile", max(engine.collective_rpc("compile_seconds")))
            context = int(engine.vllm_config.model_config.max_model_len)
            sight = Sight(folder, row) if options.sees(row) else None
            loras = Loras(engine, row, folder)
            return cls(engine, ChatText(folder, context, row.options), row, loras, sight)
        except BaseException:
            engine.engine_core.shutdown()  # it would keep the GPU's memory
            raise

    async def prepare(self, request: Prompt) -> Admission:
        """Check a request as every engine does, and the adapter that it brings.

        Raises:
            UnsupportedParameter: there is no room for adapters of requests.
            InvalidValue: the adapter does not fit.
        """
        if isinstance(request.adapter, Adapter):
            await asyncio.to_thread(self._loras.check, request.adapter)
        return await super().prepare(request)

    def admit(self, key: int, item: Admission) -> None:
        """Hand in every choice as a request of its own: each can be let go of by itself.

        They share the prompt's pages, as all with an equal beginning do.
        """
        from vllm.exceptions import VLLMClientError

        if not self._going:
            self._heard_at = time.monotonic()
        going = self._going[key] = Running(item)
        in_use = [item.prompt.adapter for item in self._going.values()]
        adapter = self._loras.request(item.prompt.adapter, in_use)
        try:
            for index in range(item.prompt.n):
                going.names[index] = self._add(f"{key}.{index}", item, index, adapter)
        except (ValueError, VLLMClientError) as error:
            raise InvalidValue(f"The engine refuses this request: {error_line(error)}.") from error

    def _add(self, name: str, item: Admission, index: int, adapter: Any) -> str:
        """Hand in a choice; returns vLLM's own name of it."""
        params = sampling(item, index, self.ends)
        prompt: dict[str, Any] = {"prompt_token_ids": list(item.prompt.tokens)}
        if item.sighted is not None:
            # vLLM knows pictures again by their pixels, and keeps what it has made of them.
            prompt["multi_modal_data"] = {"image": list(item.sighted.pictures)}
        try:
            with Alive():
                given: str = self._engine.add_request(name, prompt, params, lora_request=adapter)
        except DeviceLost:
            raise
        except Exception:
            self._engine.abort_request([name])  # it may be in by half
            raise
        return given

    def drop(self, key: int) -> None:
        """Let go of all choices of a request."""
        if going := self._going.pop(key, None):
            self._abort(going.names.values())

    def step(self) -> Sequence[tuple[int, Any]]:
        """Take what has come back from vLLM's process, or wait for it."""
        self._drop_unread()
        if not self._wait():
            return ()
        with Alive():
            outputs = self._engine.step()
        events: list[tuple[int, Any]] = []
        for output in outputs:
            key, index = map(int, output.request_id.split("."))
            if going := self._going.get(key):
                events += [
                    (key, event) for event in self._request_events(key, going, index, output)
                ]
        return events

    def sleep(self) -> bool:
        """Move the weights to RAM, if they fit there, and give the GPU's memory back."""
        return self._nap.begin()

    def wake(self) -> None:
        """Move the weights back to the GPU."""
        self._nap.end()

    def close(self) -> None:
        """End vLLM's process."""
        self._entrance.close()
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
            raise DeviceLost(LOST)
        if time.monotonic() - self._heard_at > SILENT_S:
            raise DeviceLost(HUNG)
        return False

    def _request_events(self, key: int, going: Running, index: int, output: Any) -> Iterator[Any]:
        """What is new of a request; an error is the last."""
        try:
            yield from self._choice_events(going, index, output)
        except QuartetError as error:
            self.drop(key)
            yield error
            return
        if not going.names:
            del self._going[key]
            yield Done()

    def _choice_events(self, going: Running, index: int, output: Any) -> Iterator[Any]:
        """What is new of one choice.

        Raises:
            InvalidValue: its grammar could not be followed.
            EngineFailed: vLLM gave it up.
        """
        if not going.begun:
            going.begun = True
            yield Begun(int(output.num_cached_tokens or 0), going.length)
        [new] = output.outputs
        tokens = list(new.token_ids)
        stopped = new.finish_reason == "stop"
        if stopped and tokens and tokens[-1] in self.ends:
            tokens.pop()
        if index not in going.names:
            return
        if new.finish_reason not in (None, "stop", "length"):
            going.give_up()
            raise EngineFailed(
                "The model failed on this request. The worker's log has the details."
            )
        if tokens:
            going.follow(index, tokens)
            yield Tokens(index, tuple(tokens), logprobs(going.prompt.sampling, tokens, new))
        if new.finish_reason is not None:
            if stopped:
                going.follow(index, None)
            del going.names[index]
            yield Ended(index, "stop" if stopped else "length")

    def _drop_unread(self) -> None:
        """Let go of choices that nobody reads any more."""
        unread = [
            going.names.pop(index)
            for going in self._going.values()
            for index in going.names.keys() & frozenset(going.prompt.dropped)  # it may grow
        ]
        if unread:
            self._abort(unread)

    def _abort(self, names: Iterable[str]) -> None:
        with Alive():
            self._engine.abort_request(list(names), internal=True)
