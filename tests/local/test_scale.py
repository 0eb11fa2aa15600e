"""How many workers a load needs, by RunPod's two rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.queue.scale import Load, QueueDelay, RequestCount, Scale, read_rule

LOADS = st.builds(
    Load, st.lists(st.floats(0, 100)), in_progress=st.integers(0, 100), busy=st.integers(0, 10)
)
RULES = st.builds(QueueDelay, st.floats(0.1, 50)) | st.builds(RequestCount, st.integers(1, 50))


@pytest.mark.parametrize(
    ("waits_s", "busy", "needed"),
    [
        ([], 0, 0),
        ([0.0], 0, 1),  # with no worker, the first job has one at once
        ([0.0, 1.0, 3.9], 0, 1),
        ([9.0], 0, 1),  # and no second one while that one starts
        ([], 2, 2),
        ([4.0], 1, 1),  # as long as it may wait, not longer
        ([4.1], 1, 2),
        ([9.0, 5.0, 0.1], 2, 4),  # one more for each that is late
    ],
)
def test_queue_delay(waits_s, busy, needed):
    assert QueueDelay(4).needed(Load(waits_s, in_progress=busy * 16, busy=busy)) == needed


@pytest.mark.parametrize(
    ("queued", "in_progress", "needed"),
    [(0, 0, 0), (1, 0, 1), (0, 1, 1), (4, 0, 1), (2, 2, 1), (3, 2, 2), (5, 3, 2), (40, 1, 11)],
)
def test_request_count(queued, in_progress, needed):
    """RunPod: Math.ceil((requestsInQueue + requestsInProgress) / scaler value)."""
    load = Load([60.0] * queued, in_progress=in_progress, busy=min(in_progress, 1))
    assert RequestCount(4).needed(load) == needed


def test_the_defaults_are_runpods():
    scale = Scale(RequestCount(4))
    assert (scale.min_workers, scale.max_workers, scale.idle_timeout_s) == (0, 3, 5)


@given(RULES, LOADS, st.integers(0, 5), st.integers(1, 5))
def test_never_fewer_than_the_least_nor_more_than_the_most(rule, load, least, more):
    wanted = Scale(rule, least, least + more).wanted(load)
    assert least <= wanted <= least + more
    assert wanted == rule.needed(load) or wanted in {least, least + more}


@given(RULES, LOADS, st.floats(0, 100))
def test_another_job_never_needs_fewer(rule, load, wait_s):
    more = Load([*load.waits_s, wait_s], load.in_progress, load.busy)
    assert rule.needed(more) >= rule.needed(load)


def test_what_is_written_is_read():
    assert read_rule("delay:4") == QueueDelay(4)
    assert read_rule("delay:0.5") == QueueDelay(0.5)
    assert read_rule("requests:4") == RequestCount(4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foo", "neither delay:SECONDS nor requests:NUMBER"),
        ("", "neither"),
        ("delay", "neither"),
        ("delay:", "neither"),
        ("delay:-1", "neither"),
        ("delay:nan", "neither"),
        ("delay:٤", "neither"),
        ("Requests:4", "neither"),
        ("delay:0", "more than 0 seconds"),
        ("delay:0.0", "more than 0 seconds"),
        ("requests:0", "1 or more"),
        ("requests:1.5", "a whole number"),
    ],
)
def test_what_is_wrong_is_said(text, said):
    with pytest.raises(ValueError, match=said):
        read_rule(text)
