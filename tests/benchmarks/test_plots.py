"""The plots of benchmarks, from figures that are given."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib", reason="builder/requirements/plots.txt is not installed")


def test_a_plot_of_each_is_small_and_the_same_each_time(tmp_path):
    from benchmarks.plots import overload_plot, soak_plot

    samples = {
        "chat": [{"jobs": n, "rss_mb": 100 + n} for n in range(100)],
        "speech": [{"jobs": n, "rss_mb": 50.0} for n in range(100)],
    }
    for number in range(2):
        soak_plot(samples, tmp_path / f"soak-{number}.svg")
        overload_plot(30, {0.5: 15, 10: 29}, {0.5: 0, 10: 270}, tmp_path / f"overload-{number}.svg")
    for name, texts in (
        ("soak", ("chat", "speech", "jobs done")),
        ("overload", ("refused (429)",)),
    ):
        first, second = (tmp_path / f"{name}-{n}.svg" for n in range(2))
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_size < 60_000
        assert all(text in first.read_text() for text in texts)
