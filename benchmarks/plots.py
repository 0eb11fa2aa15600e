"""Plots of what benchmarks have measured: ``pip install -r builder/requirements/plots.txt``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SIZE = (8.0, 4.5)  # inches
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


@contextmanager
def _plot(path: Path, across: str, up: str) -> Iterator[Any]:
    """Lend the axes of a plot, which is written to a file at the end."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # The same file for the same figures, with text as text.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "quartet", "font.family": "sans-serif"}
    with mpl.rc_context(settings):
        figure = Figure(figsize=_SIZE, layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        axes.set_prop_cycle(color=_COLOURS)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        yield axes
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def soak_plot(samples: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Draw the memory of a worker over its jobs, a line for each surface.

    Args:
        samples: by the name of the surface, as ``benchmarks.soak`` keeps them.
        path: of the SVG or PNG.
    """
    with _plot(path, "jobs done", "memory of the worker, MB") as axes:
        for name, each in samples.items():
            jobs, memory = [one["jobs"] for one in each], [one["rss_mb"] for one in each]
            axes.plot(jobs, memory, label=name, linewidth=1.8)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def overload_plot(
    most: float, good: Mapping[float, float], refused: Mapping[float, float], path: Path
) -> None:
    """Draw what a worker answers in time and what it refuses, over the load.

    Args:
        most: what the worker can do, in answers a second.
        good: answers in time a second, by the load as a multiple of ``most``.
        refused: answers with 429 a second, by the same.
        path: of the SVG or PNG.
    """
    loads = sorted(good)
    with _plot(path, "load, in what the worker can do", "answers a second") as axes:
        axes.axhline(most, color="#888888", linestyle=":", label="what the worker can do")
        axes.plot(loads, [good[load] for load in loads], "o-", label="in time (200)")
        axes.plot(loads, [refused[load] for load in loads], "s--", label="refused (429)")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, loc="upper left")
