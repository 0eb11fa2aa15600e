"""Text on both sides of a chat engine: messages to token ids, token ids to text.

The engine below speaks token ids only, so that any engine can stand there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.errors import ContextLengthExceeded, InvalidValue


class ChatText:
    """A model's chat template and tokenizer, read from its folder."""

    def __init__(self, folder: Path, context: int) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._template = tokenizer
        self._backend = tokenizer.backend_tokenizer
        longest = max(len(token.encode()) for token in self._backend.get_vocab())
        self._most_bytes = context * longest
        self._context = context

    def encode(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Render the conversation up to the assistant's turn and tokenise it.

        Raises:
            InvalidValue: the model's template refuses the conversation, for instance its roles.
            ContextLengthExceeded: it is too long, however few tokens it makes.
        """
        from jinja2.exceptions import TemplateError

        try:
            text = self._template.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True
            )
        except TemplateError as error:
            raise InvalidValue(
                "The model's chat template refuses this order of roles.", param="messages"
            ) from error
        self._check_length(text, "messages")
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_text(self, text: str) -> list[int]:
        """Tokenise text as it is, with what the model begins every text with.

        Raises:
            ContextLengthExceeded: it is too long, however few tokens it makes.
        """
        self._check_length(text, "prompt")
        return list(self._backend.encode(text).ids)

    def _check_length(self, text: str, param: str) -> None:
        """Megabytes take the tokenizer seconds, in which it lets nothing else run."""
        size_bytes = len(text.encode())
        if size_bytes > self._most_bytes:
            raise ContextLengthExceeded(
                f"The model's context is {self._context} tokens; {size_bytes} bytes of text are "
                "more than that.",
                param=param,
            )

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, without special ones."""
        text: str = self._backend.decode(list(tokens))
        return text

    @property
    def vocabulary(self) -> int:
        """How many token ids there are."""
        size: int = self._backend.get_vocab_size()
        return size

    def decoder(self) -> Detokenizer:
        """A fresh incremental decoder for one answer."""
        return Detokenizer(self._backend)


class Detokenizer:
    """Turns a growing list of token ids into text, whole characters only.

    A character whose bytes are spread over tokens comes out with the last of them; one that never
    becomes whole does not come out.
    """

    def __init__(self, backend: Any) -> None:
        from tokenizers.decoders import DecodeStream

        self._backend = backend
        self._stream = DecodeStream(skip_special_tokens=True)

    def push(self, token: int) -> str:
        """Return the text that ``token`` completes, perhaps none."""
        return self._stream.step(self._backend, token) or ""


class StopStrings:
    """Finds the first stop string in streamed text and holds back what may begin one."""

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """Return the text that is safe to show; sets ``found`` at a stop string."""
        self._held += text
        cut = min((at for stop in self._stops if (at := self._held.find(stop)) >= 0), default=None)
        if cut is not None:
            self.found = True
            shown, self._held = self._held[:cut], ""
            return shown
        keep = self._longest_start()
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(shown) :]
        return shown

    def flush(self) -> str:
        """Return what was held back, at the end of the text."""
        shown, self._held = self._held, ""
        return shown

    def _longest_start(self) -> int:
        """Length of the longest tail of the held text that a stop string begins with."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0
