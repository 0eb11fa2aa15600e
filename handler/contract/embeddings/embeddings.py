"""Embeddings: ``POST /v1/embeddings`` and, in the module beside, ``POST /v1/rerank``.

The plain answer is OpenAI's. What a client asks for beyond it, and what the answer then holds
besides, is in docs/embeddings.md.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import BeforeValidator, Discriminator, Field, Tag

from handler.contract.base import Call, Operation, Surface, with_notice
from handler.contract.embeddings import foreign, rerank
from handler.contract.embeddings.rerank import MAX_INPUTS, truncated, usage
from handler.contract.embeddings.vectors import as_file, convert
from handler.contract.request import Integer, Items, NonEmpty, Request, whole
from handler.contract.unsupported import Unsupported, alike
from handler.media.bucket import Bucket
from handler.wire import Encoded
from models.embeddings.request import COLBERT, DENSE, SPARSE, Embedded, EmbedRequest, Vectors
from models.errors import UnsupportedParameter

_INLINE_NUMBERS = 20_000  # serialised in a millisecond; more goes to a thread
_INPUT_TYPES = {  # as Cohere and Voyage name them, too
    "query": "query", "search_query": "query",
    "passage": "passage", "document": "passage", "search_document": "passage",
}  # fmt: skip


def _whole(ids: Any) -> Any:
    """Token ids by the million: looked at one by one only where one is no integer."""
    mixed = isinstance(ids, list) and float in set(map(type, ids))
    return [whole(text) for text in ids] if mixed else ids


Kind = Literal["dense", "sparse", "colbert"]
InputType = Literal["query", "passage", "document", "search_query", "search_document"]
TokenEncoding = Literal["auto", "model", "cl100k_base"]
TokenId = Annotated[int, Field(ge=0)]
MAX_TOKENS = 1 << 20  # of an input; more than any model reads
TokenIds = Annotated[list[TokenId], Items(MAX_TOKENS, least=1), BeforeValidator(_whole)]
_MANY = Items(MAX_INPUTS, least=1)


def _shape(given: Any) -> str | None:
    """Which of the input's forms a client means: the first element says it."""
    if not isinstance(given, list):
        return "str" if isinstance(given, str) else None
    first = given[0] if given else ""
    if isinstance(first, list):
        return "list[list]"
    number = isinstance(first, int | float) and not isinstance(first, bool)
    return "list[int]" if number else "list[str]"


class EmbeddingsRequest(Request):
    """The body of an embeddings request."""

    unsupported: ClassVar = {
        **foreign.UNSUPPORTED,
        "stream": Unsupported(False),
        **alike(
            ("normalize", "normalized", "normalize_embeddings"),
            "every vector is a unit vector; leave it out",
            True,
        ),
        "prompt": Unsupported(instead="write it before each input yourself"),
        "query": Unsupported(instead="send texts to rank for it as documents, or leave it out"),
        "instruction": Unsupported(
            instead="write it before each input yourself, or send input_type (query or passage) "
            "to a model that has prefixes of its own",
        ),
    }
    aliases: ClassVar = {
        **dict.fromkeys(("texts", "sentences", "inputs"), "input"),
        **dict.fromkeys(("output_dimension", "truncate_dim"), "dimensions"),
        "truncation": "truncate",
    }
    translates: ClassVar = frozenset(foreign.EMBEDDING)

    input: Annotated[
        Annotated[NonEmpty, Tag("str")]
        | Annotated[list[NonEmpty], _MANY, Tag("list[str]")]
        | Annotated[TokenIds, Tag("list[int]")]
        | Annotated[list[TokenIds], _MANY, Tag("list[list]")],
        Discriminator(
            _shape,
            custom_error_type="input_type",
            custom_error_message="must be a text, a list of texts, or token ids",
        ),
    ]
    dimensions: Annotated[Integer, Field(ge=1)] | None = None
    encoding_format: Literal["float", "base64", "npy"] = "float"
    output_dtype: Literal["float", "int8", "binary", "ubinary"] = "float"
    embedding_types: Annotated[list[Kind], Items(10, least=1)] = Field(default=["dense"])
    input_type: InputType | None = None
    truncate: bool = False
    token_encoding: TokenEncoding = "auto"  # noqa: S105 - no secret

    @classmethod
    def translated(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Put other APIs' fields into our words; see ``foreign``."""
        made = foreign.translated(given, foreign.EMBEDDING)
        return made.body, made.called

    @property
    def inputs(self) -> tuple[str | tuple[int, ...], ...]:
        """The texts, or the token ids of each."""
        given: Any = self.input
        if self.is_single:
            given = [given]
        return tuple(text if isinstance(text, str) else tuple(text) for text in given)

    @property
    def is_single(self) -> bool:
        """Whether the input is one text, or one list of token ids."""
        return isinstance(self.input, str) or isinstance(self.input[0], int)

    @property
    def parts(self) -> int:
        """The number of inputs."""
        return 1 if self.is_single else len(self.input)

    @property
    def kinds(self) -> frozenset[str]:
        """Which vectors are asked for."""
        return frozenset(self.embedding_types)


async def answer(call: Call) -> Encoded:
    """Embed all inputs of one request."""
    request: EmbeddingsRequest = call.request
    shelf = _shelf(call)
    asked = EmbedRequest(
        inputs=request.inputs,
        kinds=request.kinds | {DENSE},
        dimensions=request.dimensions,
        input_type=_INPUT_TYPES.get(request.input_type or ""),
        truncate=request.truncate,
        token_encoding=request.token_encoding,
        single=request.is_single,
    )
    async with call.lease() as model:
        embedded: Embedded = await model.run(asked)
    facts = {"object": "list", "model": call.row.slug, "usage": usage(embedded.tokens)}
    facts = with_notice(facts, call.row) | truncated(request.truncate, embedded.cut)
    if embedded.token_encoding is not None:
        facts["token_encoding"] = embedded.token_encoding
    if shelf is not None:
        return await _stored(shelf, call, embedded, facts)
    if _numbers(embedded) <= _INLINE_NUMBERS:
        return _encoded(request, embedded, facts)
    return await asyncio.to_thread(_encoded, request, embedded, facts)


def _shelf(call: Call) -> Bucket | None:
    """Return where the vectors go as a file; None where none is asked for.

    Raises:
        UnsupportedParameter: there is no bucket, or a file cannot hold what is asked for.
    """
    request: EmbeddingsRequest = call.request
    if request.encoding_format != "npy":
        return None
    if call.bucket is None:
        raise UnsupportedParameter(
            "encoding_format npy stores the vectors in a bucket, and there is none. Configure one "
            "(BUCKET_ENDPOINT_URL, …), send an s3Config with a queued job, or ask for base64.",
            param="encoding_format",
        )
    if request.kinds != {DENSE}:
        raise UnsupportedParameter(
            "encoding_format npy holds dense vectors only; leave embedding_types out.",
            param="embedding_types",
        )
    return call.bucket


async def _stored(shelf: Bucket, call: Call, embedded: Embedded, facts: dict[str, Any]) -> Encoded:
    """The vectors as one matrix in the bucket, and where it is."""
    vectors = [vector.dense for vector in embedded.vectors]
    content, described = await asyncio.to_thread(as_file, vectors, call.request.output_dtype)
    name = f"{call.job_id}/embeddings.npy"
    url = await shelf.store(name, content, "application/octet-stream")
    return Encoded(orjson.dumps({**facts, "data": [], "file": {"url": url, **described}}))


def _numbers(embedded: Embedded) -> int:
    """Return how many numbers the answer holds."""
    return sum(
        len(vector.dense)
        + len(vector.sparse or ())
        + (0 if vector.colbert is None else vector.colbert.size)
        for vector in embedded.vectors
    )


def _encoded(request: EmbeddingsRequest, embedded: Embedded, facts: Mapping[str, Any]) -> Encoded:
    data = [_datum(request, index, one) for index, one in enumerate(embedded.vectors)]
    # The numbers go from the array to text as they are: no Python object is made of each.
    return Encoded(orjson.dumps({**facts, "data": data}, option=orjson.OPT_SERIALIZE_NUMPY))


def _datum(request: EmbeddingsRequest, index: int, vectors: Vectors) -> dict[str, Any]:
    datum: dict[str, Any] = {"object": "embedding", "index": index, "embedding": []}
    if DENSE in request.kinds:
        vector = convert(vectors.dense, request.output_dtype)
        # base64 means float32 to OpenAI's clients, which ask for it by themselves.
        as_text = request.encoding_format == "base64" and request.output_dtype == "float"
        datum["embedding"] = _base64(vector) if as_text else vector
    if SPARSE in request.kinds and vectors.sparse is not None:
        datum["sparse"] = {str(token): weight for token, weight in vectors.sparse.items()}
    if COLBERT in request.kinds and vectors.colbert is not None:
        datum["colbert"] = {
            "data": _base64(vectors.colbert),
            "shape": list(vectors.colbert.shape),
            "dtype": "float16",
        }
    return datum


def _base64(array: Any) -> str:
    """An array's numbers, little-endian and row by row."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(little.tobytes()).decode("ascii")


SURFACE = Surface(
    name="embeddings",
    operations=(
        Operation(
            EmbeddingsRequest,
            ("/v1/embeddings",),
            answer,
            marks=("input", "inputs", "texts", "sentences"),
            task="txt2embedding",
            rehearsal=lambda _: {"input": "one"},
        ),
        rerank.OPERATION,
    ),
    concurrency=16,
)
