"""Pictures on their way into a model that sees: decoded within limits, cut, counted in tokens.

The prompt has one mark for each picture. The model reads as many tokens in its place as the
picture has patches, of the size that the model's own settings say (Qwen2-VL, arXiv:2409.12191).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.chat.share import config_of
from models.errors import InvalidValue, ModelLoadFailed
from models.pictures.request import InputPicture, PictureLimits
from models.pictures.several import decoded
from models.row import Row

_LOW_SIDE = 512  # of a picture with ``detail: low``, as at OpenAI


@dataclass(frozen=True)
class Sighted:
    """The pictures of one prompt, as a model takes them.

    Attributes:
        pictures: Pillow's, in RGB.
        counts: of the tokens that each takes.
    """

    pictures: Sequence[Any]
    counts: Sequence[int]

    @property
    def further_tokens(self) -> int:
        """How many more tokens the prompt has than with a mark for each picture."""
        return sum(self.counts) - len(self.counts)


class Sight:
    """What one model does with pictures.

    Args:
        folder: of the weights.
        row: whose options have the limits.

    Attributes:
        mark: the token that stands for a picture.
        processor: transformers', in its form for Pillow.

    Raises:
        ModelLoadFailed: the model's pictures are not cut as Qwen's are.
    """

    def __init__(self, folder: Path, row: Row) -> None:
        from transformers import AutoImageProcessor

        self.limits: PictureLimits = row.options.get("pictures", PictureLimits())
        self.processor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True
        )
        mark = config_of(folder).get("image_token_id")
        if mark is None or not hasattr(self.processor, "merge_size"):
            raise ModelLoadFailed(f"{row.slug}: its pictures are not of a kind that is known here.")
        self.mark = int(mark)

    def look(self, given: Sequence[InputPicture]) -> Sighted:
        """Decode the pictures of a prompt, and count their tokens; takes a thread's time.

        Raises:
            MediaUndecodable: one cannot be read, or exceeds a limit.
            InvalidValue: one is too narrow, or all are too large together.
        """
        pictures, counts = [], []
        for sent, (param, picture) in zip(given, decoded(given, self.limits), strict=True):
            if sent.low:
                picture.thumbnail((_LOW_SIDE, _LOW_SIDE))
            counts.append(self._count(picture, param))
            pictures.append(picture)
        return Sighted(pictures, counts)

    def _count(self, picture: Any, param: str) -> int:
        try:
            patches = self.processor.get_number_of_image_patches(picture.height, picture.width, {})
        except ValueError as error:
            raise InvalidValue(
                f"{param}: a picture of {picture.width}x{picture.height} is too narrow for this "
                "model; its longer side may be 200 times the shorter.",
                param=param,
            ) from error
        return int(patches) // int(self.processor.merge_size) ** 2

    def expanded(self, tokens: Sequence[int], counts: Sequence[int]) -> list[int]:
        """Return a prompt with as many marks for each picture as the picture takes tokens."""
        left = iter(counts)
        made: list[int] = []
        for token in tokens:
            made += [token] * (next(left) if token == self.mark else 1)
        return made

    def inputs(self, pictures: Sequence[Any]) -> dict[str, Any]:
        """Return the tensors that transformers' model takes: patches, and how they lie."""
        return dict(self.processor(list(pictures), return_tensors="pt"))
