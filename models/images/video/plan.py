"""From a request to a ``Clip`` that the pipeline is called with, or to an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from models.errors import ContextLengthExceeded, InvalidValue
from models.images.request import ImageRequest, Output, Video
from models.images.video.fields import check_fields
from models.images.video.mp4 import likely_bytes
from models.leniency import Leniency
from models.pictures.decoding import decode, without_transparency
from models.pictures.resizing import fitted
from models.row import Row

_GRID = 32  # pixels that a side is a multiple of
_LEAST_SIDE = 64
_GROUP = 8  # the model makes one frame, then groups of so many
_NTSC_TOLERANCE = 2e-4  # relative; whole rates are five times as far from NTSC's
_BASE64 = 4 / 3


@dataclass(frozen=True)
class Clip:
    """A video to be made.

    Attributes:
        tokens: of the prompt.
        fps: exact.
        sound: whether the video has any.
        first, last: pictures of these frames, of the video's size; None = the model's own.
    """

    prompt: str
    tokens: int
    seed: int
    width: int
    height: int
    frames: int
    fps: Fraction
    sound: bool
    first: Any
    last: Any

    @property
    def pixels(self) -> int:
        """Those of all its frames."""
        return self.width * self.height * self.frames

    @property
    def conditioning(self) -> str:
        """What guides the video: ``words``, a ``first`` frame, or ``frames`` at its ends."""
        if self.last is not None:
            return "frames"
        return "words" if self.first is None else "first"


class ClipPlan:
    """Checks requests against a model of videos; sides and lengths are adapted to its grid.

    Args:
        row: the model; its options are those of ``LtxVideo``.
        count: counts the tokens of texts.
    """

    def __init__(self, row: Row, count: Callable[[Sequence[str]], Sequence[int]]) -> None:
        self._row = row
        self._count = count

    def __call__(self, request: ImageRequest, leniency: Leniency) -> Clip:
        """Check a request and decode its pictures.

        Raises:
            UnsupportedParameter: the request has a field that the model cannot honour.
            InvalidValue: the video would be too long, too large, or too large for an answer.
            ContextLengthExceeded: the text encoder would cut the prompt.
            MediaUndecodable: a picture cannot be read.
        """
        tokens = self._prompt_tokens(request)
        self._check_counts(request)
        check_fields(request, self._row)
        video = request.video or Video()
        first = self._picture(request.images[0], "image", leniency) if request.images else None
        last = self._picture(video.last, "last_image", leniency) if video.last else None
        width, height = self._size(request, first or last, leniency)
        fps = _exact(video.fps or self._row.defaults["fps"])
        frames = self._frames(video, fps, leniency)
        self._check_pixels(width, height, frames)
        _check_bytes(width, height, frames, request.output)
        return Clip(
            prompt=request.prompt,
            tokens=tokens,
            seed=request.seeds[0],
            width=width,
            height=height,
            frames=frames,
            fps=fps,
            sound=video.sound is not False,
            first=None if first is None else fitted(first, width, height),
            last=None if last is None else fitted(last, width, height),
        )

    def _prompt_tokens(self, request: ImageRequest) -> int:
        if not request.prompt:
            raise InvalidValue(
                "prompt is required.", param="prompt", code="missing_required_parameter"
            )
        [tokens] = self._count([request.prompt])
        limit = self._row.options["prompt_tokens"]
        if tokens > limit:
            raise ContextLengthExceeded(
                f"prompt has {tokens} tokens; {self._row.slug} reads at most {limit}.",
                param="prompt",
            )
        return tokens

    def _check_counts(self, request: ImageRequest) -> None:
        if len(request.seeds) > 1:
            raise InvalidValue(f"n: {self._row.slug} makes one video at a time.", param="n")
        if len(request.images) > 1:
            raise InvalidValue(
                f"image is the first frame; got {len(request.images)} pictures.", param="image"
            )

    def _check_pixels(self, width: int, height: int, frames: int) -> None:
        most = self._row.options["most_pixels"]
        if width * height * frames > most:
            raise InvalidValue(
                f"frames: {self._row.slug} makes {most // (width * height)} frames of "
                f"{width}x{height} at most; got {frames}.",
                param="frames",
            )

    def _picture(self, content: bytes, param: str, leniency: Leniency) -> Any:
        picture = decode(content, param, alpha=True)
        return without_transparency(picture, param, self._row.slug, leniency)

    def _size(self, request: ImageRequest, picture: Any, leniency: Leniency) -> tuple[int, int]:
        if request.width and request.height:
            requested = request.width, request.height
        else:
            default = map(int, self._row.defaults["size"].split("x"))
            requested = next(default), next(default)
            if picture is not None:  # the picture's aspect ratio, with as many pixels as usual
                area = requested[0] * requested[1]
                ratio = min(4.0, max(0.25, picture.width / picture.height))
                requested = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        width, height = (max(_LEAST_SIDE, round(side / _GRID) * _GRID) for side in requested)
        if request.width and (width, height) != requested:
            leniency.adapt(
                "size",
                f"sides are multiples of {_GRID}: {requested[0]}x{requested[1]} became "
                f"{width}x{height}",
            )
        return width, height

    def _frames(self, video: Video, fps: Fraction, leniency: Leniency) -> int:
        requested = video.frames
        if requested is None and video.seconds is not None:
            requested = max(1, round(video.seconds * fps))
        if requested is None:
            return int(self._row.defaults["frames"])
        frames = max(0, round((requested - 1) / _GROUP)) * _GROUP + 1
        if frames != requested and video.frames is not None:
            leniency.adapt(
                "frames", f"frames are a multiple of {_GROUP} and one: {requested} became {frames}"
            )
        return frames


def _check_bytes(width: int, height: int, frames: int, output: Output) -> None:
    size_bytes, limit_bytes = likely_bytes(width, height, frames), output.limit_bytes
    if limit_bytes is not None and size_bytes * _BASE64 > limit_bytes:
        raise InvalidValue(
            f"A video of {width}x{height} and {frames} frames would be some "
            f"{size_bytes * _BASE64 / 1e6:.1f} MB, and an answer holds "
            f"{limit_bytes / 1e6:.1f}; ask for a shorter or smaller one, or configure a "
            "bucket.",
            param="frames",
            code="output_too_large",
        )


def _exact(fps: float) -> Fraction:
    """Return frames per second as a fraction; 23.98 becomes NTSC's 24000/1001."""
    if fps == round(fps):
        return Fraction(round(fps))
    ntsc = Fraction(round(fps) * 1000, 1001)
    if abs(float(ntsc) / fps - 1) < _NTSC_TOLERANCE:
        return ntsc
    return Fraction(fps).limit_denominator(1000)
