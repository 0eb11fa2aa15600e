"""Turns on a model's parts: who computes, and who goes first."""

from __future__ import annotations

import random
import threading
import time

from models.pipelines.turns import Turns

_WAIT_S = 10


class Stage:
    """Runs in threads of their own, with what they did in order.

    Attributes:
        steps: the names of the runs that took steps.
        computing: the runs that compute now; never more than one.
    """

    def __init__(self) -> None:
        self.turns = Turns()
        self.steps: list[str] = []
        self.most = 0
        self._computing = 0

    def start(self, name: str, size: int, steps: int = 4, state: object = None) -> _Runner:
        return _Runner(self, name, size, steps, state)

    def step(self, name: str) -> None:
        self._computing += 1
        self.most = max(self.most, self._computing)
        self.steps.append(name)
        time.sleep(0.001)
        self._computing -= 1


class _Runner(threading.Thread):
    def __init__(self, stage: Stage, name: str, size: int, steps: int, state: object) -> None:
        super().__init__(daemon=True)
        self.stage, self.label, self.size, self.count = stage, name, size, steps
        self.state = state
        self.go_on = threading.Event()
        self.in_first_step = threading.Event()
        self.start()

    def run(self) -> None:
        with self.stage.turns.take(self.size, self.state) as turn:
            for number in range(self.count):
                self.stage.step(self.label)
                if number == 0:
                    self.in_first_step.set()
                    self.go_on.wait(_WAIT_S)
                turn.after_step()

    def end(self) -> None:
        self.go_on.set()
        self.join(_WAIT_S)
        assert not self.is_alive()


def waiting(stage: Stage, runs: int) -> None:
    end = time.monotonic() + _WAIT_S
    while len(stage.turns._waiting) < runs:
        assert time.monotonic() < end
        time.sleep(0.001)


def played(sizes: tuple[int, int], states: tuple[object, object] = (None, None)) -> str:
    """The steps of a run, and of a second that comes during its first step."""
    stage = Stage()
    first = stage.start("a", sizes[0], 3, states[0])
    first.in_first_step.wait(_WAIT_S)
    second = stage.start("b", sizes[1], 3, states[1])
    second.go_on.set()
    waiting(stage, 1)
    first.end()
    second.end()
    assert stage.most == 1
    return "".join(stage.steps)


def test_a_shorter_run_goes_between_two_steps():
    assert played((9, 2)) == "abbbaa"


def test_one_that_is_as_long_waits_for_the_end():
    assert played((2, 2)) == "aaabbb"
    assert played((2, 9)) == "aaabbb"


def test_one_of_another_state_waits_for_the_end():
    assert played((9, 2), ("x", "x")) == "abbbaa"
    assert played((9, 2), ("x", "y")) == "aaabbb"
    assert played((9, 2), (object(), None)) == "aaabbb"


def test_a_long_run_takes_a_step_after_each_short_one():
    stage = Stage()
    first = stage.start("a", 9, 4)
    first.in_first_step.wait(_WAIT_S)
    others = []
    for number in range(3):
        other = stage.start("b", 2, 1)
        other.go_on.set()
        others.append(other)
        waiting(stage, number + 1)
    first.end()
    for other in others:
        other.end()
    assert "".join(stage.steps) == "abababa"


def test_a_run_that_fails_hands_the_parts_on():
    turns = Turns()
    for _ in range(2):
        try:
            with turns.take(1):
                raise ValueError
        except ValueError:
            pass
    with turns.take(1) as turn:
        turn.after_step()


def test_many_runs_all_end_and_none_computes_beside_another():
    chance, stage = random.Random(7), Stage()
    runners = []
    for number in range(40):
        runner = stage.start(f"{number}", chance.randrange(1, 9), chance.randrange(1, 6))
        runner.go_on.set()
        runners.append(runner)
    for runner in runners:
        runner.end()
    assert stage.most == 1
    assert len(stage.steps) == sum(runner.count for runner in runners)
