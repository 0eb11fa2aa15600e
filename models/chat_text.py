"""Text on both sides of a chat engine: messages to token ids, token ids to text.

The engine below speaks token ids only, so that any engine can stand there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.errors import InvalidValue


class ChatText:
    """A model's chat template and tokenizer, read from its folder."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._template = tokenizer
        self._backend = tokenizer.backend_tokenizer

    def encode(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Render the conversation up to the assistant's turn and tokenise it.

        Raises:
            InvalidValue: the model's template refuses the conversation, for instance its roles.
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
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_text(self, text: str) -> list[int]:
        """Tokenise text as it is, with what the model begins every text with."""
        return list(self._backend.encode(text).ids)

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
