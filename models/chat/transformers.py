"""Chat with transformers: token ids and sampling in, a stream of token ids out.

Templates and stop strings stand above it in ``models.chat.text``, OpenAI's shapes in the handler.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models.chat.request import Generated, Prompt, Sampling
from models.chat.text import ChatText
from models.device.hardware import Device
from models.errors import ContextLengthExceeded
from models.quiet import hush
from models.row import Row
from models.surface import Ticket, Work

_COLDEST = 1e-5  # below, dividing scores by it overflows; the likeliest token is the limit anyway


class TransformersChat:
    """A causal language model of transformers; emits token ids, ends with ``Generated``."""

    budget = None
    capacity = 1
    packs = False

    def __init__(self, model: Any, text: ChatText, row: Row) -> None:
        self._model = model
        self._row = row
        self.text = text
        self.context = int(model.config.max_position_embeddings)
        ends = model.generation_config.eos_token_id
        self._ends = frozenset(ends if isinstance(ends, list) else [ends])

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> TransformersChat:
        """Load the folder in the device's own precision."""
        import torch
        from transformers import AutoModelForCausalLM

        hush("transformers")
        dtype = row.options.get("dtype", getattr(torch, device.dtype))
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, device_map=device.kind, local_files_only=True
        )
        return cls(model.eval(), ChatText(folder, int(model.config.max_position_embeddings)), row)

    def prepare(self, request: Prompt) -> Work:
        """Check the length.

        Raises:
            ContextLengthExceeded: the prompt, or the prompt and ``max_tokens``, is too long.
        """
        length, wanted = len(request.tokens), request.sampling.max_tokens
        if length + (wanted or 1) > self.context:
            asked = f" and {wanted} for the answer" if wanted else ""
            raise ContextLengthExceeded(
                f"{self._row.slug} reads at most {self.context} tokens; this request has {length} "
                f"in the messages{asked}.",
                param="messages",
            )
        return Work((request,))

    def run(self, batch: Sequence[Ticket[Prompt]]) -> list[Generated]:
        """Generate, emitting every token id but the one that ends the turn."""
        return [self._generate(ticket) for ticket in batch]

    def close(self) -> None:
        """Drop the model."""
        self._model = None

    def _generate(self, ticket: Ticket[Prompt]) -> Generated:
        limit = ticket.item.sampling.max_tokens or self.context - len(ticket.item.tokens)
        for count, token in enumerate(self._tokens(ticket.item), start=1):
            if token in self._ends:
                return Generated("stop")
            ticket.emit(token)
            if count == limit or ticket.cancelled:
                break
        return Generated("length")

    def _tokens(self, prompt: Prompt) -> Iterator[int]:
        """Yield token ids without end: one forward pass each, over a growing cache."""
        import torch
        from transformers import DynamicCache

        device = self._model.device
        choose = _Chooser(prompt.sampling, device)
        seen = torch.tensor([prompt.tokens], device=device)
        cache = DynamicCache(config=self._model.config)
        fresh = seen
        while True:
            with torch.inference_mode():
                logits = self._model(
                    input_ids=fresh, past_key_values=cache, use_cache=True, logits_to_keep=1
                ).logits[:, -1]
                fresh = choose(seen, logits.float())
                seen = torch.cat([seen, fresh], dim=1)
            yield int(fresh)


class _Chooser:
    """Picks the next token, with transformers' own processors in the order ``generate`` has."""

    def __init__(self, sampling: Sampling, device: Any) -> None:
        import torch
        from transformers import generation

        self._processors = generation.LogitsProcessorList()
        add = self._processors.append
        if sampling.repetition_penalty != 1.0:
            add(generation.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        self._greedy = sampling.temperature < _COLDEST
        if self._greedy:
            return
        if sampling.temperature != 1.0:
            add(generation.TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            add(generation.TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1.0:
            add(generation.TopPLogitsWarper(sampling.top_p))
        if sampling.min_p:
            add(generation.MinPLogitsWarper(sampling.min_p))
        self._random = torch.Generator(device)
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def __call__(self, seen: Any, logits: Any) -> Any:
        """Return the chosen token id, shape (1, 1), from ``logits``, shape (1, vocabulary)."""
        import torch

        scores = self._processors(seen, logits)
        if self._greedy:
            return scores.argmax(dim=-1, keepdim=True)
        return torch.multinomial(scores.softmax(dim=-1), 1, generator=self._random)
