"""Diarization with sherpa-onnx: pyannote's segmentation model and a speaker embedding model."""

from __future__ import annotations

import logging
import string
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.engine import BatchEngine
from models.errors import EngineFailed, InvalidValue, MediaUndecodable
from models.row import Row
from models.transcribe.audio import decoding
from models.transcribe.diarization.process import DiarizerFailed, diarize
from models.transcribe.request import SpeakersRequest, Turn
from models.work import Ticket, Work

log = logging.getLogger(__name__)

_DECODE_TIMEOUT_S = 180.0
_VOICE_S = (2.0, 10.0)  # the shortest and longest sample of a known speaker
_ALIKE = 0.5  # distance up to which two voices are one, and the least match with a known voice


class SherpaSpeakers(BatchEngine):
    """Returns a tuple of ``Turn``; all work is done in child processes on the CPU.

    Row options ``segmentation`` and ``embedding``: the models' file names.
    """

    libraries = ("sherpa_onnx",)
    prepare_in_thread = False
    limit_s = 2 * 3600.0  # sherpa-onnx reads all samples at once: half a gigabyte

    def __init__(self, folder: Path, row: Row) -> None:
        self._models = {
            name: str(folder / row.options[name]) for name in ("segmentation", "embedding")
        }

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> SherpaSpeakers:
        """Check that the models' files exist."""
        engine = cls(folder, row)
        missing = [path for path in engine._models.values() if not Path(path).is_file()]
        if missing:
            raise FileNotFoundError(f"{row.slug} lacks {', '.join(missing)}")
        return engine

    async def prepare(self, request: SpeakersRequest) -> Work:
        """Find the turns; cancelling the caller kills the processes.

        Raises:
            InvalidValue: the sample of a known speaker is too short or too long.
            MediaUndecodable: a file has no readable audio, or the recording is too long.
            EngineFailed: sherpa-onnx failed.
        """
        voices = [
            await _voice(path, f"known_speaker_references[{index}]")
            for index, path in enumerate(request.voices)
        ]
        recording = await _decoded(request.path, self.limit_s, "audioUrl")
        task = {**self._models, "speakers": request.speakers, "alike": _ALIKE}
        try:
            result = await diarize(task, [recording.samples, *(voice.samples for voice in voices)])
        except DiarizerFailed as error:
            log.error("telling speakers apart: %s", error)
            raise EngineFailed("Telling the speakers apart failed; the log says why.") from error
        return Work((), finish=partial(_finish, result, request.names))

    def run(self, batch: Sequence[Ticket[Any]]) -> list[Any]:
        """Do nothing: no work is left for the device."""
        return [None] * len(batch)

    def close(self) -> None:
        """Do nothing: there is no memory to free."""


async def _voice(path: Path, param: str) -> decoding.Audio:
    least, most = _VOICE_S
    try:
        voice = await _decoded(path, most + 1, param)
        length = f"{voice.duration_s:.1f} s"
    except MediaUndecodable as error:
        if error.code != "media_too_long":
            raise
        voice, length = None, f"more than {most:g} s"
    if voice is None or not least <= voice.duration_s <= most:
        raise InvalidValue(
            f"{param} must be between {least:g} and {most:g} s of a known speaker; got {length}.",
            param=param,
        )
    return voice


async def _decoded(path: Path, limit_s: float, param: str) -> decoding.Audio:
    try:
        return await decoding.decode(path, _DECODE_TIMEOUT_S, limit_s)
    except decoding.Undecodable as error:
        raise MediaUndecodable(
            f"Speakers cannot be told apart in this audio: {error}.", param=param, code=error.code
        ) from error


def _finish(result: Mapping[str, Any], names: Sequence[str], _: Sequence[Any]) -> tuple[Turn, ...]:
    """Return the turns; a speaker has a known name if the voices match, else the next letter."""
    labels: dict[int, str] = {}
    letters = _letters(set(names))
    for _start, _end, speaker in result["turns"]:
        if speaker not in labels:
            alike = result["likeness"].get(str(speaker), [])
            best = max(range(len(alike)), key=alike.__getitem__, default=None)
            known = best is not None and alike[best] >= _ALIKE
            labels[speaker] = names[best] if known and best is not None else next(letters)
    return tuple(Turn(start, end, labels[speaker]) for start, end, speaker in result["turns"])


def _letters(taken: set[str]) -> Any:
    """Yield A, B, …, Z, AA, AB, … except those that are taken."""
    for count in (1, 2):
        for parts in product(string.ascii_uppercase, repeat=count):
            if (name := "".join(parts)) not in taken:
                yield name
