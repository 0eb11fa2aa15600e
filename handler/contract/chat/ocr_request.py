"""The body of a request for the text in pictures and PDFs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import PrivateAttr, model_validator

from handler.contract.chat.pictures import Reference, references_of
from handler.contract.chat.request import MAX_IMAGES, ChatRequest
from handler.contract.request import Integer, Items, JsonObject, NonEmpty, Request, Text
from handler.contract.unsupported import Unsupported, alike
from models.errors import UnsupportedParameter
from models.leniency import Leniency

_PROMPT = "Write down the text in this picture, and nothing else."
_MAX_NUMBERS = 10_000  # of pages
# Where an address stands in a document as other APIs have it.
_ADDRESSES = ("document_url", "image_url", "file_data", "file_url", "url")


class OcrRequest(Request):
    """The body of a request for the text in pictures."""

    unsupported: ClassVar = {
        "n": Unsupported(1),
        "stream": Unsupported(False, instead="read pages one request at a time"),
        **alike(("tools", "tool_choice"), "send messages to /v1/chat/completions"),
        **alike(("logprobs",), "ask /v1/chat/completions for them", False),
    }
    aliases: ClassVar = dict.fromkeys(("images", "image_url", "input_image", "document"), "image")
    files: ClassVar = {"file": "image"}

    image: NonEmpty | Annotated[list[NonEmpty], Items(MAX_IMAGES, least=1)]
    pages: Text | Annotated[list[Integer], Items(_MAX_NUMBERS)] = ""
    prompt: Text = ""
    language: Text = ""
    format: Literal["text", "markdown", "json"] | None = None
    response_format: JsonObject | None = None
    guided_json: JsonObject | None = None
    _chats: Mapping[str, Any] = PrivateAttr(default={})

    @classmethod
    def translated(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Take the address out of a document that is an object, as Mistral's API has it."""
        body, called = super().translated(given)
        document = body.get("document")
        if isinstance(document, dict):
            inner = document.get("file")
            holder = inner if isinstance(inner, dict) else document
            found = [holder[name] for name in _ADDRESSES if holder.get(name)]
            address = found[0] if found else None
            body["document"] = address.get("url") if isinstance(address, dict) else address
            if body["document"] is None:
                raise UnsupportedParameter(
                    "document: no files are kept here; send an object with document_url or "
                    "image_url: a URL or a data URI.",
                    param="document",
                )
        return body, called

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Validate a body, and chat's fields beside its own."""
        request = super().parse(body)
        chats = ChatRequest.known() - cls.known() - {"messages", "metadata", "stream_options"}
        request._chats = {name: body[name] for name in chats if body.get(name) is not None}
        request.asking({})
        return request

    @model_validator(mode="after")
    def _formed(self) -> Self:
        if self.format == "json" and self.response_format is None and self.guided_json is None:
            raise UnsupportedParameter(
                "format: json needs a schema to be of; send response_format or guided_json too, or "
                "the format text.",
                param="format",
            )
        return self

    def leave_out_words(self, slug: str, leniency: Leniency) -> None:
        """Leave out what only a model that writes by itself has a use for.

        Raises:
            UnsupportedParameter: a form is asked for; or the request is strict.
        """
        for name in ("response_format", "guided_json"):
            if getattr(self, name) is not None:
                raise UnsupportedParameter(
                    f"{name}: {slug} returns lines as they are printed; leave it out.", param=name
                )
        own = {"model", "strict", *self.aliases, *Request.informational}
        for name in ("prompt", *sorted(self._chats.keys() - own)):
            if name in self._chats or (name == "prompt" and self.prompt):
                leniency.leave_out(name, f"{name}: {slug} returns lines as they are printed")

    @property
    def parts(self) -> int:
        """The number of pictures and documents."""
        return len(self.references)

    @property
    def references(self) -> list[Reference]:
        """The pictures and documents."""
        return references_of(self.image)

    def asking(self, reading: Mapping[str, str]) -> ChatRequest:
        """Return the conversation about one page, which has the page's place in it.

        Args:
            reading: how the model wants to be asked: ``system`` and ``prompt``.

        Raises:
            RequestError: a field of chat's is wrong.
        """
        text = self.prompt or reading.get("prompt", _PROMPT)
        page = {"type": "image_url", "image_url": {"url": "page"}}
        content = [page, {"type": "text", "text": text}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if system := reading.get("system"):
            messages = [{"role": "system", "content": system}, *messages]
        forms = {"response_format": self.response_format, "guided_json": self.guided_json}
        own = {"model": self.model, "messages": messages, "strict": self.strict}
        body = {**self._chats, **forms, **own}
        return ChatRequest.parse(body)
