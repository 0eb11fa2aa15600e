"""Text on both sides of a chat engine: messages to token ids, token ids to text.

The engine below speaks token ids only, so that any engine can stand there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
