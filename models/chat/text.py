"""Text on both sides of a chat engine: messages to token ids, token ids to text.

The engine below speaks token ids only, so that any engine can stand there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.byte_letters import BYTES
from models.chat.calling import Family
from models.chat.detokenizer import Detokenizer
from models.chat.families import FAMILIES
from models.chat.reading import Reading
from models.chat.template import picture_marks, variables
from models.errors import ContextLengthExceeded, InvalidValue


class ChatText:
    """A model's chat template and tokenizer, read from its folder.

    Args:
        folder: of the weights.
        context: how many tokens the model reads.
        options: of the catalog row; ``family`` says how the model calls tools and thinks,
            ``chat_template`` replaces the folder's own.

    Attributes:
        tokenizer: transformers'.
        family: how the model calls tools and thinks, None where it does neither.
        variables: that the chat template reads.
    """

    def __init__(self, folder: Path, context: int, options: Mapping[str, Any]) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=options.get("trust_remote_code", False),
            **gguf(folder),
        )
        if template := options.get("chat_template"):
            self.tokenizer.chat_template = template
        self.family: Family | None = FAMILIES.get(options.get("family", ""))
        self._marks = picture_marks(folder, self.tokenizer)
        self.variables = variables(self.tokenizer.chat_template)
        self._backend = self.tokenizer.backend_tokenizer
        added = self.tokenizer.added_tokens_decoder.items()
        self._special = {token: str(word) for token, word in added if word.special}
        longest = max(len(token.encode()) for token in self._backend.get_vocab())
        self._most_bytes = context * longest
        self._context = context

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        arguments: Mapping[str, Any] | None = None,
        *,
        goes_on: bool = False,
    ) -> str:
        """The conversation up to the assistant's turn, as text.

        Args:
            messages: as chat templates know them.
            tools: OpenAI's, for a model that is told of them.
            arguments: further ones for the template.
            goes_on: whether the last message is the beginning of the answer.

        Raises:
            InvalidValue: the model's template refuses the conversation, for instance its roles.
            ContextLengthExceeded: it is too long, however few tokens it makes.
        """
        from jinja2.exceptions import TemplateError

        messages, tools = self._unmarked(messages), self._unmarked(tools)
        told = messages if self.family is None else self.family.told(messages, tools)
        try:
            given = {"tools": list(tools) or None, **(arguments or {})}
            text = self._templated(told, given, goes_on)
            self._check_length(text, "messages")
        except TemplateError as error:
            raise InvalidValue(
                f"The model's chat template refuses these messages: {_reason(error)}.",
                param="messages",
            ) from error
        except (TypeError, ValueError, KeyError, RecursionError) as error:
            raise InvalidValue(
                "The model's chat template cannot render these messages.", param="messages"
            ) from error
        return text

    def _templated(
        self, messages: Sequence[Mapping[str, Any]], given: Mapping[str, Any], goes_on: bool
    ) -> str:
        """Apply the chat template; some templates take arguments of calls as text only."""
        how = {"add_generation_prompt": not goes_on, "continue_final_message": goes_on, **given}
        try:
            text = self.tokenizer.apply_chat_template(list(messages), tokenize=False, **how)
        except TypeError:
            if not any(message.get("tool_calls") for message in messages):
                raise
            plain = [_with_text(message) for message in messages]
            text = self.tokenizer.apply_chat_template(plain, tokenize=False, **how)
        return str(text)

    def _unmarked(self, value: Any) -> Any:
        """What a client sends, where the marks of pictures within texts are broken up.

        A conversation about such marks is text; as tokens they would stand for pictures.
        """
        if not self._marks:
            return value
        if isinstance(value, str):
            for mark in self._marks:
                value = value.replace(mark, f"{mark[:-2]} {mark[-2:]}")
            return value
        if isinstance(value, Mapping):
            return {key: self._unmarked(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self._unmarked(part) for part in value]
        return value

    def encode(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Render a conversation and tokenise it; raises as ``render`` does."""
        return self.encode_rendered(self.render(messages))

    def encode_rendered(self, text: str) -> list[int]:
        """The token ids of a rendered conversation."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_text(self, text: str) -> list[int]:
        """Tokenise text as it is, with what the model begins every text with.

        Raises:
            ContextLengthExceeded: it is too long, however few tokens it makes.
        """
        self._check_length(text, "prompt")
        return list(self._backend.encode(text).ids)

    @property
    def beginning(self) -> list[int]:
        """The tokens of a text of which nothing is known: what begins one, or ends the last."""
        tokens = list(self._backend.encode("").ids)
        edges = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        return tokens or [token for token in edges if token is not None][:1]

    def _check_length(self, text: str, param: str) -> None:
        """Megabytes take the tokenizer seconds, in which it lets nothing else run."""
        size_bytes = len(text.encode())
        if size_bytes > self._most_bytes:
            excess = f"{param} has {size_bytes} bytes of text, which are more than that"
            raise ContextLengthExceeded.of_chat(self._context, excess, param)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids, without special ones."""
        text: str = self._backend.decode(list(tokens))
        return text

    def spelled(self, token: int) -> bytes:
        """The bytes that one token stands for."""
        word = self._backend.id_to_token(token) or ""
        added = self.tokenizer.added_tokens_decoder.get(token)
        if added is not None:
            return str(added).encode()
        bytes_ = [BYTES.get(letter) for letter in word]
        if None not in bytes_:
            return bytes(byte for byte in bytes_ if byte is not None)
        return word.replace("\u2581", " ").encode()

    @property
    def vocabulary(self) -> int:
        """How many token ids there are."""
        size: int = self._backend.get_vocab_size()
        return size

    def ends(self, given: int | Sequence[int] | None, vocabulary: int) -> frozenset[int]:
        """The tokens that end a turn: those that the model names, or else its tokenizer.

        Args:
            given: what the model names.
            vocabulary: how many tokens the model has scores for; others are left out.
        """
        named = [given] if isinstance(given, int) else list(given or ())
        last = self.tokenizer.eos_token_id
        ends = named or ([] if last is None else [last])
        return frozenset(token for token in ends if token < vocabulary)

    def decoder(self, before: Sequence[int] = (), *, read: bool = False) -> Detokenizer:
        """A fresh incremental decoder for one answer, without special tokens.

        Args:
            before: the prompt's tokens.
            read: whether the answer will be read for calls and thoughts, whose marks then stay.
        """
        marks = self.family.special if read and self.family is not None else ()
        hidden = frozenset(token for token, word in self._special.items() if word not in marks)
        return Detokenizer(self._backend, hidden, before)

    def reading(
        self, prompt: str, tools: Sequence[Mapping[str, Any]], *, formed: bool = False
    ) -> Reading | None:
        """A fresh reader for an answer to a rendered conversation, None where all is text."""
        return None if self.family is None else Reading(self.family, prompt, tools, formed=formed)


def gguf(folder: Path) -> dict[str, str]:
    """What transformers is told of a folder whose weights are one file of llama.cpp's."""
    files = sorted(path.name for path in folder.glob("*.gguf"))
    return {"gguf_file": files[0]} if files and not (folder / "config.json").exists() else {}


def _with_text(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message whose calls have their arguments as text."""
    calls = [
        {
            **call,
            "function": {
                **call["function"],
                "arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False),
            },
        }
        for call in message.get("tool_calls") or ()
    ]
    return {**message, "tool_calls": calls} if calls else message


def _reason(error: Exception) -> str:
    """What a template says when it refuses, in one line and without its own full stop."""
    return " ".join(str(error).split())[:200].rstrip(".") or "no reason was given"
