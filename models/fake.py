"""Engines without weights, one per surface: complete implementations of the base classes.

They are used to test everything around an engine, and to measure the worker's own overhead. Their
rows are in the catalog with ``FAKE_ENGINES=1`` only.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

from models.catalog import CPU, GPU
from models.device.hardware import Device
from models.embeddings.ranking import score
from models.embeddings.request import Embedded, EmbedRequest, Ranked, RankRequest, Vectors
from models.engine import BatchEngine, Differences
from models.fake_chat import FakeChat
from models.fake_music import DEFAULTS, OPTIONS, FakeMusic
from models.fake_speech import LANGUAGES, FakeSpeech
from models.images.diffusion.fields import check_task
from models.images.encoding import Encoded, check_delivery, encoded
from models.images.request import ImageRequest, Images, Picture, Preview
from models.leniency import Leniency
from models.row import Row
from models.transcribe.request import Heard, SpeakersRequest, TranscribeRequest, Transcript, Turn
from models.work import Progress, Ticket, Work, only


class FakeEngine(BatchEngine):
    """The base class of the fakes; row option ``delay_s`` is the duration of each step."""

    prepare_in_thread = False

    def __init__(self, row: Row) -> None:
        self.row = row
        self.delay_s = float(row.options.get("delay_s", 0.0))

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> FakeEngine:
        """Return an engine; there is nothing to load."""
        return cls(row)

    async def prepare(self, request: Any) -> Work:
        """Return the request as one part, which may share a run with any other request."""
        return Work((request,), kind="any")

    def run(self, batch: Sequence[Ticket[Any]]) -> list[Any]:
        """Answer every request."""
        if self.delay_s:
            time.sleep(self.delay_s)
        return [self.answer_one(ticket) for ticket in batch]

    def answer_one(self, ticket: Ticket[Any]) -> Any:
        """Return the output of one request."""
        raise NotImplementedError

    def close(self) -> None:
        """Do nothing: there is no memory to free."""


class FakeEmbeddings(FakeEngine):
    """Returns unit vectors of 8 numbers, derived from a text's bytes; each text is a part."""

    async def prepare(self, request: EmbedRequest | RankRequest) -> Work:
        """Split a request into its texts; a byte counts as a token, and so does a token id."""
        if isinstance(request, RankRequest):
            texts = [text.encode() for text in (request.query, *request.documents)]
            return self._work(texts, _ranked)
        return self._work([_bytes(text) for text in request.inputs], _embedded)

    def answer_one(self, ticket: Ticket[bytes]) -> Vectors:
        """Count the bytes by their lowest three bits."""
        import numpy as np

        return Vectors(np.array(_unit(ticket.item), np.float32))

    def _work(self, texts: list[bytes], answer: Callable[[int, Sequence[Vectors]], Any]) -> Work:
        sizes = [len(text) for text in texts]
        return Work(texts, sizes, "text", partial(answer, sum(sizes)))


class FakeHung(FakeEmbeddings):
    """A device that never returns, to test what happens to its requests."""

    def run(self, batch: Sequence[Ticket[Any]]) -> list[Any]:
        """Wait for ever."""
        threading.Event().wait()
        return []


class FakeImages(FakeEngine):
    """Makes pictures of one colour, derived from the seed and the input image."""

    @classmethod
    def honours(cls, row: Row) -> Differences:
        """Return the fields that the fake does not support."""
        return dict.fromkeys(("negative_prompt", "loras", "scale", "frames", "seconds", "fps"))

    async def prepare(self, request: ImageRequest) -> Work:
        """Return the request as one part, after the checks of a real engine."""
        check_task(request, self.row)
        sides = request.width or 64, request.height or 64
        check_delivery(request.output, len(request.seeds), *sides)
        leniency = Leniency(request.strict)
        if request.negative_prompt:
            leniency.leave_out("negative_prompt", f"{self.row.slug} takes no negative_prompt")
        if request.adapters:
            leniency.leave_out("loras", f"{self.row.slug} has no weights to adapt")

        def finish(outputs: Sequence[Encoded]) -> Images:
            made = only(outputs)
            return Images(made.pictures, (*leniency.left_out, *made.left_out))

        return Work((request,), kind="any", finish=finish)

    def answer_one(self, ticket: Ticket[ImageRequest]) -> Encoded:
        """Make one picture per seed."""
        request = ticket.item
        width, height = request.width or 64, request.height or 64
        steps = request.steps or 4
        for step in range(steps):
            if ticket.cancelled:
                break
            ticket.emit(Progress(0, step + 1, steps, "steps"), lasting=False)
            if step < request.previews:
                shown = partial(self._preview, request)
                ticket.emit(Preview(0, step, shown), lasting=False)
            time.sleep(self.delay_s)
        tint = crc32(request.images[0]) if request.images else 0
        made = [_of_one_colour(width, height, seed, tint) for seed in request.seeds]
        return encoded(made, request.seeds, request.output)

    def _preview(self, request: ImageRequest) -> Picture:
        """Return a grey picture."""
        grey = _of_one_colour(request.width or 64, request.height or 64, 0, 0)
        [picture] = encoded([grey], [None], request.output).pictures
        return picture


class FakeTranscribe(FakeEngine):
    """Returns the size of the file as the transcript."""

    def answer_one(self, ticket: Ticket[TranscribeRequest]) -> Transcript:
        """Return one segment of one second; if the request is streamed, emit it first."""
        text = f" {ticket.item.path.stat().st_size} bytes"
        segment = {
            "id": 1, "seek": 0, "start": 0.0, "end": 1.0, "text": text, "tokens": [1],
            "temperature": 0.0, "avg_logprob": -0.1, "compression_ratio": 1.0,
            "no_speech_prob": 0.0,
            "words": [{"start": 0.0, "end": 1.0, "word": text, "probability": 1.0}],
        }  # fmt: skip
        if ticket.item.logprobs:
            spelled = list(text.encode())
            segment["logprobs"] = [{"token": text, "bytes": spelled, "logprob": -0.1}]
        ticket.emit(Progress(0, 1.0, 1.0, "seconds"), lasting=False)
        if ticket.item.stream:
            ticket.emit(Heard(0, (segment,), last=True))
        language = ticket.item.language or "en"
        return Transcript([segment], language, 1.0, 1.0, ticket.item.task)


class FakeSpeakers(FakeEngine):
    """Returns one turn of the first known speaker, or of speaker A."""

    def answer_one(self, ticket: Ticket[SpeakersRequest]) -> tuple[Turn, ...]:
        """Return a turn of one second."""
        return (Turn(0.0, 1.0, next(iter(ticket.item.names), "A")),)


def _bytes(text: str | tuple[int, ...]) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(token % 256 for token in text)


def _embedded(tokens: int, vectors: Sequence[Vectors]) -> Embedded:
    return Embedded(tuple(vectors), tokens)


def _ranked(tokens: int, vectors: Sequence[Vectors]) -> Ranked:
    query, *documents = vectors
    return Ranked(tuple(score(query, document) for document in documents), tokens)


def _unit(text: bytes) -> list[float]:
    counts = [0] * 8
    for byte in text:
        counts[byte & 7] += 1
    length = math.sqrt(sum(count * count for count in counts))
    return [count / length for count in counts]


def _of_one_colour(width: int, height: int, seed: int, tint: int) -> Any:
    from PIL import Image

    shade = seed ^ tint
    colour = (shade % 256, shade // 256 % 256, shade // 65536 % 256)
    return Image.new("RGB", (width, height), colour)


def _row(
    surface: str,
    engine: type[FakeEngine | FakeChat | FakeSpeech | FakeMusic],
    delay_s: float,
    *tasks: str,
) -> Row:
    return Row(
        slug=f"Fake_{surface.title()}",
        surface=surface,
        tasks=frozenset(tasks),
        weights="file:///dev/null",
        engine=f"{engine.__module__}:{engine.__name__}",
        memory_bytes=1,
        licence="none",
        options={"delay_s": delay_s},
        default_on=CPU | GPU,
        notice="A fake engine answered.",
    )


def _spoken(row: Row) -> Row:
    return replace(row, options={**row.options, "languages": LANGUAGES})


def _composed(row: Row) -> Row:
    return replace(row, options={**row.options, **OPTIONS}, defaults=DEFAULTS)


def rows(delay_s: float = 0.0) -> tuple[Row, ...]:
    """Return a row per surface, and one that hangs; each step of an engine takes ``delay_s``."""
    return (
        _row("chat", FakeChat, delay_s, "chat"),
        _row("images", FakeImages, delay_s, "txt2img"),
        _row("transcribe", FakeTranscribe, delay_s, "transcribe"),
        _spoken(_row("speech", FakeSpeech, delay_s, "txt2audio")),
        _composed(_row("music", FakeMusic, delay_s, "txt2music")),
        _row("speakers", FakeSpeakers, delay_s, "diarize"),
        _row("embeddings", FakeEmbeddings, delay_s, "txt2embedding", "rerank"),
        replace(
            _row("embeddings", FakeHung, delay_s, "txt2embedding"),
            slug="Fake_Hung",
            default_on=frozenset(),
        ),
    )
