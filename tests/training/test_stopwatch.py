"""Each moment of a stage belongs to one phase: the innermost."""

import threading
from collections.abc import Iterator

import pytest

from training import stopwatch
from training.stopwatch import phase, timing


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time, which passes where it is told to."""
    now = [0.0]
    monkeypatch.setattr(stopwatch.time, "monotonic", lambda: now[0])
    yield now


def test_the_innermost_phase_has_the_time(clock: list[float]) -> None:
    @phase("tokenise")
    def tokenise() -> None:
        clock[0] += 4

    with timing() as watch:
        clock[0] += 1
        with phase("load"):
            clock[0] += 2
            tokenise()
            tokenise()
        with pytest.raises(KeyError), phase("train"), phase("dev"):
            clock[0] += 8
            raise KeyError
        clock[0] += 16
        assert watch.read() == {None: 17, "load": 2, "tokenise": 8, "train": 0, "dev": 8}
        with phase("load"):
            clock[0] += 32
            assert watch.read()["load"] == 34  # also while it goes on


def test_other_threads_and_those_that_nobody_times_are_left_alone(clock: list[float]) -> None:
    def load() -> None:
        with phase("load"):
            clock[0] += 1

    load()
    with timing() as watch:
        thread = threading.Thread(target=load)
        thread.start()
        thread.join()
    assert watch.read() == {None: 1}
