"""Chat with transformers: continuous batching, token ids in and out.

Each step generates one token for every admitted request, and requests come and go between steps.
``models.chat.text`` handles templates and text, the handler OpenAI's formats.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models.chat import options
from models.chat.admission import Admission, Entrance, Limits
from models.chat.engine import LanguageModel
from models.chat.grammar import Grammars
from models.chat.in_process.paged import STEP_TOKENS, Paged
from models.chat.in_process.sampling import Choice, choose
from models.chat.in_process.unpaged import Unpaged
from models.chat.request import Begun, Ended, Prompt, Tokens
from models.chat.share import Model, Share, Steps
from models.chat.sight import Sight
from models.chat.text import ChatText, gguf
from models.device.failures import is_out_of_memory, translate
from models.device.hardware import Device
from models.device.memory import free_memory
from models.errors import UnsupportedParameter
from models.quiet import hush
from models.row import Row
from models.work import Done

log = logging.getLogger(__name__)

CPU_CACHE_TOKENS = 16_384
_USUAL_TOKENS = 1024  # of a usual request, answer included
_USUAL_REQUESTS = 256  # about the largest number that generate a token in one step


class TransformersChat(LanguageModel):
    """A causal language model of transformers."""

    libraries = ("torch", "transformers", "llguidance")

    def __init__(
        self,
        model: Any,
        text: ChatText,
        row: Row,
        cache_tokens: int | None,
        sight: Sight | None = None,
    ) -> None:
        self.text = text
        self.context = _context(model, row)
        self._model = model
        vocabulary = int(model.config.get_text_config().vocab_size)
        self.ends = text.ends(model.generation_config.eos_token_id, vocabulary)
        grammars = Grammars(text.tokenizer, vocabulary, self.ends)
        self._paged: Paged | Unpaged
        if sight is None:
            self._paged = Paged(model, cache_tokens, self._choose)
        else:
            most = cache_tokens or CPU_CACHE_TOKENS
            self._paged = Unpaged(model, sight, most, self._choose)
        self.capacity = max(1, self._paged.size // _USUAL_TOKENS)
        most = min(self.context, self._paged.largest())
        self._entrance = Entrance(row.slug, most, grammars, Limits(vocabulary), sight)
        self._choices: dict[str, Choice] = {}  # queued for the cache, or in it
        self._later: dict[int, list[Choice]] = {}  # until the first choice has read the prompt
        self._begun: set[int] = set()
        self._events: list[tuple[int, Any]] = []

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> TransformersChat:
        """Load the model in the device's precision, and size the cache."""
        import torch
        from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

        hush("transformers")
        log.info("%s runs on transformers: %s", row.slug, row.options.get("why", "by its row"))
        dtype = row.options.get("dtype", getattr(torch, device.dtype))
        kind = AutoModelForImageTextToText if options.sees(row) else AutoModelForCausalLM
        model = kind.from_pretrained(
            folder,
            dtype=dtype,
            device_map=device.kind,
            local_files_only=True,
            trust_remote_code=row.options.get("trust_remote_code", False),
            **gguf(folder),
        )
        tokens = cache_tokens(model, row, device)
        text = ChatText(folder, _context(model, row), row.options)
        sight = Sight(folder, row) if options.sees(row) else None
        return cls(model.eval(), text, row, tokens, sight)

    async def prepare(self, request: Prompt) -> Admission:
        """Check a request as every engine does; one for an adapter is refused.

        Raises:
            UnsupportedParameter: the request names an adapter.
        """
        if request.adapter is not None:
            raise UnsupportedParameter(
                "model: adapters need the vllm engine; name the model alone.", param="model"
            )
        return await super().prepare(request)

    def admit(self, key: int, item: Admission) -> None:
        """Admit a request; its further choices follow when the first has read the prompt."""
        choices = list(self._made(key, item))
        self._later[key] = choices[1:]
        self._add(choices[0])

    def drop(self, key: int) -> None:
        """Release all choices of a request."""
        self._later.pop(key, None)
        self._begun.discard(key)
        names = [name for name, choice in self._choices.items() if choice.key == key]
        self._remove(names)

    def step(self) -> Sequence[tuple[int, Any]]:
        """Generate one token for every choice in the cache."""
        self._events = []
        self._drop_unread()
        try:
            self._paged.step()
        except Exception as error:
            keys = {choice.key for choice in self._choices.values()}
            if not is_out_of_memory(error) or len(keys) < 2 or self._events:
                raise
            self._do_without_newest(error)
        self._settle()
        return self._events

    def close(self) -> None:
        """Release the model and its cache."""
        self._entrance.close()
        self._paged.close()
        self._model = self._paged = None  # type: ignore[assignment]

    def _made(self, key: int, item: Admission) -> Iterator[Choice]:
        for index in range(item.prompt.n):
            matcher = None if item.form is None else item.form.matcher()
            yield Choice(key, index, item, self.ends, matcher)

    def _add(self, choice: Choice) -> None:
        name = f"{choice.key}.{choice.index}"
        stays = choice.sampling.ignore_eos and choice.matcher is None
        self._choices[name] = choice
        self._paged.add(name, choice.item, () if stays else self.ends)

    def _remove(self, names: Sequence[str]) -> None:
        self._paged.remove(names)
        for name in names:
            del self._choices[name]

    def _choose(self, names: Sequence[str], scores: Any) -> list[int]:
        """Choose tokens in the middle of a step; their events are returned at its end."""
        choices = [self._choices[name] for name in names]
        chosen = choose(choices, scores)
        for name, choice, (token, logprob) in zip(names, choices, chosen, strict=True):
            if not choice.tokens:
                self._first_token(name, choice)
            if choice.push(token) and choice.error is None:
                logprobs = () if logprob is None else (logprob,)
                self._events.append((choice.key, Tokens(choice.index, (token,), logprobs)))
        return [token for token, _ in chosen]

    def _first_token(self, name: str, choice: Choice) -> None:
        """Admit further choices now that the prompt is in the cache."""
        cached = self._paged.hits(name)
        if choice.key not in self._begun:
            self._begun.add(choice.key)
            self._events.append((choice.key, Begun(cached, choice.item.length)))
        for other in self._later.pop(choice.key, ()):
            self._add(other)

    def _settle(self) -> None:
        """Add the events of choices and requests that have ended."""
        choices = self._choices.values()
        failed = {choice.key: choice.error for choice in choices if choice.error is not None}
        for key, error in failed.items():
            self.drop(key)
            self._events.append((key, error))
        ended = [name for name, choice in self._choices.items() if choice.finish_reason is not None]
        for name in ended:
            choice = self._choices.pop(name)
            self._paged.forget(name)
            self._events.append((choice.key, Ended(choice.index, str(choice.finish_reason))))
        going = {choice.key for choice in self._choices.values()} | self._later.keys()
        for key in self._begun - going:
            self._begun.discard(key)
            self._events.append((key, Done()))

    def _drop_unread(self) -> None:
        """Release choices that the client no longer reads."""
        unread = [
            name for name, choice in self._choices.items() if choice.index in choice.prompt.dropped
        ]
        for name in unread:
            for other in self._later.pop(self._choices[name].key, ()):
                self._add(other)
        self._remove(unread)

    def _do_without_newest(self, error: Exception) -> None:
        """Fail the newest request after a step was out of memory; the others continue.

        The failed step has chosen no tokens.
        """
        newest = max(choice.key for choice in self._choices.values())
        self.drop(newest)
        self._paged.restart()
        free_memory()
        self._events.append((newest, translate(error)))


def cache_tokens(model: Any, row: Row, device: Device) -> int | None:
    """Return the size of the cache in tokens; None = free memory, for an unknown architecture.

    Raises:
        ModelDoesNotFit: the row's memory has no room for a step besides the weights.
    """
    wanted: int | None = row.options.get("cache_tokens")
    if device.kind == "cpu":
        return wanted or CPU_CACHE_TOKENS
    tensors = {*model.parameters(), *model.buffers()}
    weights_bytes = sum(tensor.nbytes for tensor in tensors)
    steps = Steps(STEP_TOKENS[device.kind], _USUAL_REQUESTS)
    config = model.config.get_text_config().to_dict()
    known = Model(config, weights_bytes, model.dtype.itemsize)
    return Share.of(row, known, steps).fitting(wanted)


def _context(model: Any, row: Row) -> int:
    """How many tokens a request may have: what the model reads, or what the operator wants."""
    config = model.config.get_text_config()
    reads = getattr(config, "max_position_embeddings", None) or row.options["context"]
    return min(int(reads), int(row.options.get("context", reads)))
