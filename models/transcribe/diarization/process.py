"""Run sherpa-onnx on a recording, in a child process.

There are two reasons for a child process: the library takes minutes for an hour of audio and cannot
be interrupted, and it ends its process if a model is invalid. Run as a script, this module reads
its task as JSON from its argument and the samples from standard input, and writes the result as
JSON to standard output.

The task is ``{"segmentation", "embedding": paths, "speakers": number or null, "alike": float,
"lengths": samples of the recording and of each known voice}``. The result is ``{"turns": [[start,
end, speaker], …], "likeness": {speaker: [match with each known voice, …]}}``: times in seconds,
matches as cosine similarities.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from models import child

RATE_HZ = 16_000
_PIECE = 1 << 20  # samples per write
_VOICE_S = 30.0  # how much of a speaker is compared with known voices
_THREADS = 4


class DiarizerFailed(Exception):
    """The process failed; the message is the last line of its standard error."""


async def diarize(task: dict[str, Any], audios: Sequence[Any]) -> dict[str, Any]:
    """Run a task; cancelling the caller kills the process.

    Args:
        task: as described above, without ``lengths``.
        audios: int16 samples of the recording, then of each known voice.

    Raises:
        DiarizerFailed: the process failed.
    """
    task = {**task, "lengths": [len(audio) for audio in audios]}
    with tempfile.TemporaryFile() as errors:
        diarizer = child.running(
            "models.transcribe.diarization.process",
            json.dumps(task),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
        async with diarizer as process:
            answer = await _exchange(process, audios)
        if process.returncode != 0:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines()
            raise DiarizerFailed(lines[-1] if lines else f"status {process.returncode}")
    result: dict[str, Any] = json.loads(answer)
    return result


async def _exchange(process: asyncio.subprocess.Process, audios: Sequence[Any]) -> bytes:
    """Send the samples to the process, and return its output."""
    if process.stdin is None or process.stdout is None:
        raise DiarizerFailed("it has no pipes")
    try:
        for samples in audios:
            for start in range(0, len(samples), _PIECE):
                process.stdin.write(samples[start : start + _PIECE].tobytes())
                await process.stdin.drain()
        process.stdin.close()
    except (BrokenPipeError, ConnectionResetError):  # it ended early; its exit status says so
        pass
    answer = await process.stdout.read()
    await process.wait()
    return answer


# In the child process ----------------------------------------------------------------------------


def _find(task: dict[str, Any], recording: Any, voices: Sequence[Any]) -> dict[str, Any]:
    import sherpa_onnx

    threads = min(_THREADS, os.cpu_count() or 1)
    embedding = sherpa_onnx.SpeakerEmbeddingExtractorConfig(
        model=task["embedding"], num_threads=threads
    )
    pyannote = sherpa_onnx.OfflineSpeakerSegmentationPyannoteModelConfig(task["segmentation"])
    config = sherpa_onnx.OfflineSpeakerDiarizationConfig(
        segmentation=sherpa_onnx.OfflineSpeakerSegmentationModelConfig(
            pyannote=pyannote, num_threads=threads
        ),
        embedding=embedding,
        clustering=sherpa_onnx.FastClusteringConfig(
            num_clusters=task["speakers"] or -1, threshold=task["alike"]
        ),
    )
    if not config.validate():
        raise SystemExit("the diarization models are not in the form that sherpa-onnx expects")
    segments = sherpa_onnx.OfflineSpeakerDiarization(config).process(recording)
    turns = [(turn.start, turn.end, turn.speaker) for turn in segments.sort_by_start_time()]
    if not voices:
        return {"turns": turns, "likeness": {}}
    extractor = sherpa_onnx.SpeakerEmbeddingExtractor(embedding)
    known = [_embedded(extractor, voice) for voice in voices]
    likeness = {
        speaker: [_cosine(_embedded(extractor, voice), reference) for reference in known]
        for speaker, voice in _voices(recording, turns).items()
    }
    return {"turns": turns, "likeness": likeness}


def _voices(recording: Any, turns: Sequence[tuple[float, float, int]]) -> dict[int, Any]:
    """Return samples of each speaker, the longest turns first."""
    import numpy as np

    voices: dict[int, list[Any]] = {}
    for start, end, speaker in sorted(turns, key=lambda turn: turn[0] - turn[1]):
        pieces = voices.setdefault(speaker, [])
        if sum(map(len, pieces)) < _VOICE_S * RATE_HZ:
            pieces.append(recording[int(start * RATE_HZ) : int(end * RATE_HZ)])
    return {speaker: np.concatenate(pieces) for speaker, pieces in voices.items()}


def _embedded(extractor: Any, voice: Any) -> Any:
    import numpy as np

    stream = extractor.create_stream()
    stream.accept_waveform(RATE_HZ, voice)
    stream.input_finished()
    return np.array(extractor.compute(stream))


def _cosine(left: Any, right: Any) -> float:
    import numpy as np

    return float(left @ right / max(np.linalg.norm(left) * np.linalg.norm(right), 1e-9))


def _main(task: dict[str, Any]) -> int:
    import numpy as np

    audios = [
        np.frombuffer(sys.stdin.buffer.read(2 * length), np.int16).astype(np.float32) / 32768
        for length in task["lengths"]
    ]
    json.dump(_find(task, audios[0], audios[1:]), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(_main(json.loads(sys.argv[1])))
