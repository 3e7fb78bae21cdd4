"""What is read of a stage: every step once, with the values of log.jsonl, however its file comes to be."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.mirrors import readings
from launch.mirrors.readings import Cursor, Point
from launch.plan import Plan
from launch.store import Store
from launch.store.attempts import Attempt
from tests.launch.mirrors import logged_stage
from tests.launch.mirrors.logged_stage import LOG, begin, evaluate, interval, lines, step
from tests.launch.workspace import Workspace


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    return workspace.plan(seeds=["1"])


def _read(plan: Plan, name: str, cursor: Cursor) -> readings.Reading:
    return readings.read(plan, Store(plan.experiment.store), plan.find(name), cursor)


def _losses(points: tuple[Point, ...]) -> dict[int, float]:
    losses = [(point.step, point.values["train/loss"]) for point in points if "train/loss" in point.values]
    assert len(dict(losses)) == len(losses)
    return dict(losses)


def test_the_values_are_those_of_the_log(plan: Plan) -> None:
    begin(Store(plan.experiment.store), plan.find("squad-s1"), lines(LOG))
    reading = _read(plan, "squad-s1", Cursor())
    by_name = {(point.step, name): value for point in reading.points for name, value in point.values.items()}
    for record in LOG:
        if "loss" in record:
            for name in ("loss", "learning_rate", "grad_norm", "examples", "tokens", "seconds", "epoch"):
                assert by_name[record["step"], f"train/{name}"] == record[name]
    assert by_name[6, "speed/tokens_per_second"] == 2190.2 and (6, "speed/mfu") not in by_name
    assert (by_name[3, "dev/dev_score"], by_name[6, "dev/dev_score"]) == (33.3, 44.4)
    assert not reading.cursor.done
    times = [point.time for point in reading.points]
    assert times == sorted(times) and times[-1] - times[0] == pytest.approx(6 * 0.25)


def test_a_resumed_attempt_goes_on_in_the_run(plan: Plan) -> None:
    store, stage = Store(plan.experiment.store), plan.find("squad-s1")
    begin(store, stage, lines([step(0), step(1), step(2), interval(0, 2)]))
    first = _read(plan, "squad-s1", Cursor())
    second_log = [step(number, of_attempt=2) for number in range(1, 5)]  # its checkpoint was at step 1
    logged_stage.finish(store, stage, begin(store, stage, lines(second_log)))
    second = _read(plan, "squad-s1", first.cursor)
    assert _losses(second.points) == {3: second_log[2]["loss"], 4: second_log[3]["loss"]}
    assert second.cursor.done
    at_once = _read(plan, "squad-s1", Cursor())  # of a finished stage, the same points
    assert _losses(at_once.points) == _losses(first.points) | _losses(second.points)


def test_what_is_torn_or_no_number_is_passed_over(plan: Plan) -> None:
    content = lines([step(0)]) + b'{"step": 1, "lo\n[1]\nnull\n' + lines([step(2) | {"loss": math.nan, "tokens": "?"}])
    begin(Store(plan.experiment.store), plan.find("squad-s1"), content + b'{"step": 3, "loss": 1.0')
    reading = _read(plan, "squad-s1", Cursor())
    assert [point.step for point in reading.points] == [0, 2]
    assert math.isnan(reading.points[1].values["train/loss"]) and "train/tokens" not in reading.points[1].values


def test_a_log_that_gc_shortened_is_over(plan: Plan) -> None:
    attempt = begin(Store(plan.experiment.store), plan.find("squad-s1"), lines(LOG))
    cursor = _read(plan, "squad-s1", Cursor()).cursor
    (attempt.folder / "log.jsonl").write_bytes(lines(LOG[:2]))
    assert _read(plan, "squad-s1", cursor).points == ()


def test_scores_by_language_as_they_come(plan: Plan) -> None:
    store, stage = Store(plan.experiment.store), plan.find("squad-s1--tatoeba")
    logged_stage.finish(store, plan.find("squad-s1"), begin(store, plan.find("squad-s1"), b""))
    evaluate(plan, store, stage, "de")
    first = _read(plan, stage.name, Cursor())
    assert [dict(point.values) for point in first.points] == [
        {"tatoeba/accuracy/de": 30.0, "tatoeba/accuracy_reverse/de": 20.0}
    ]
    assert not first.cursor.done
    evaluate(plan, store, stage)
    second = _read(plan, stage.name, first.cursor)
    assert [sorted(point.values) for point in second.points] == [["tatoeba/accuracy/sw", "tatoeba/accuracy_reverse/sw"]]
    assert second.cursor.done and {point.step for point in (*first.points, *second.points)} == {0}


def test_the_run_tells_what_it_is_and_not_where(plan: Plan, workspace: Workspace) -> None:
    run = readings.run_of(plan, plan.find("squad.mnli-s1"))
    assert (run.group, run.config["seed"], run.config["learning_rate"]) == ("squad", 1, 1e-5)
    assert str(workspace.root) not in str(run)


@given(cuts=st.lists(st.integers(0, len(lines(LOG))), max_size=6))
def test_however_a_log_grows_it_is_read_once(cuts: list[int]) -> None:
    """Property: looks at any moments of its growth give, together, what one look at the end gives."""
    content = lines(LOG)

    def read_at(ends: list[int], folder: Path) -> list[Point]:
        attempt = Attempt(folder)
        points: list[Point] = []
        cursor = Cursor(attempt=1)
        for end in ends:
            (folder / "log.jsonl").write_bytes(content[:end])
            new_points, cursor = readings._points(attempt, cursor)
            points += [replace(point, time=0.0) for point in new_points]
        return points

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "0001"
        folder.mkdir()
        assert read_at([*sorted(cuts), len(content)], folder) == read_at([len(content)], folder)
