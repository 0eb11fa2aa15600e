"""Sound made faster or slower at the same pitch, by ffmpeg's filter ``atempo`` (WSOLA)."""

from __future__ import annotations

from typing import Any

_LEAST, _MOST = 0.5, 2.0  # of one filter, without artefacts
_FRAME = 4096  # samples handed over at once


def at_tempo(samples: Any, rate_hz: int, tempo: float) -> Any:
    """Return samples of one channel, float32, that take ``1 / tempo`` of the time."""
    import numpy as np

    if tempo == 1.0 or not len(samples):
        return samples
    graph, source, sink = _graph(rate_hz, tempo)
    pieces: list[Any] = []
    for start in range(0, len(samples), _FRAME):
        frame = _frame(samples[start : start + _FRAME], rate_hz, start)
        source.push(frame)
        _drain(sink, pieces)
    source.push(None)
    _drain(sink, pieces)
    del graph
    return np.concatenate(pieces) if pieces else samples[:0]


def _graph(rate_hz: int, tempo: float) -> tuple[Any, Any, Any]:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_abuffer(sample_rate=rate_hz, format="flt", layout="mono")
    last = source
    for factor in _factors(tempo):
        following = graph.add("atempo", f"{factor:.6f}")
        last.link_to(following)
        last = following
    sink = graph.add("abuffersink")
    last.link_to(sink)
    graph.configure()
    return graph, source, sink


def _factors(tempo: float) -> list[float]:
    factors = []
    while tempo > _MOST or tempo < _LEAST:
        factors.append(_MOST if tempo > _MOST else _LEAST)
        tempo /= factors[-1]
    return [*factors, tempo]


def _frame(samples: Any, rate_hz: int, start: int) -> Any:
    from fractions import Fraction

    import av
    import numpy as np

    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "flt", "mono")
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
    return frame


def _drain(sink: Any, pieces: list[Any]) -> None:
    import av

    while True:
        try:
            pieces.append(sink.pull().to_ndarray().reshape(-1))
        except (av.error.BlockingIOError, av.error.EOFError):  # no more for now, or at all
            return
