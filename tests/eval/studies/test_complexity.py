"""The complexity study: gains by group of targets, planted relations shown and absent ones not, few tasks said."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from eval.studies import STUDIES
from eval.studies.complexity import regressions
from eval.studies.complexity.regressions import LEAST
from eval.studies.complexity.study import find
from eval.studies.complexity.table import gains_of, measures_of
from eval.studies.finding import Finding, Table, write
from eval.studies.records import Group, Measure, Results
from tests.eval.studies.worlds import TaskWorld, task_results

GROUPS = (Group("XTREME", ("xnli", "panx")), Group("XTREME-R", ("xnli", "xcopa")))
WORLD = TaskWorld(slope=5, tasks=7, noise=0.5, targets=("xnli", "panx", "xcopa"))


def _table(finding: Finding, title: str) -> Table:
    return next(table for table in finding.tables if table.title.startswith(title))


def _row(table: Table, group: str, measure: str) -> dict[str, object]:
    names = [column.name for column in table.columns]
    return next(dict(zip(names, row, strict=True)) for row in table.rows if row[0] == group and measure in str(row[1]))


def test_a_planted_relation_is_shown_and_another_measure_is_not() -> None:
    finding = find(task_results(WORLD, 1))
    assert "is predicted better than by the mean from" in finding.sentence
    table = _table(finding, "One measure")
    code_length, entropy = (_row(table, "all targets", name) for name in ("code length", "entropy"))
    assert code_length["error"] < code_length["error of the mean"] / 2  # type: ignore[operator]
    assert code_length["p (Holm)"] < 0.05 < entropy["p (Holm)"]  # type: ignore[operator]
    assert _row(_table(finding, "Several"), "all targets", "best")["p (Holm)"] < 0.05  # type: ignore[operator]


def test_slope_and_interval_as_scipys() -> None:
    results = task_results(WORLD, 2)
    row = _row(_table(find(results), "One measure"), "all targets", "code length")
    (gains,) = gains_of(results)
    column = next(column for column in measures_of(results) if column.name == "code_length")
    values = np.array([column.values[task] for task in gains.tasks])
    line = stats.linregress((values - values.mean()) / values.std(ddof=1), gains.gains)
    assert row["points per SD"] == pytest.approx(line.slope)
    half = line.stderr * stats.t.ppf(0.975, len(values) - 2)
    assert row["95 %"] == pytest.approx((line.slope - half, line.slope + half))


def test_no_relation_is_not_shown() -> None:
    finding = find(task_results(replace(WORLD, slope=0.0, noise=3), 3))
    assert finding.sentence.startswith("No measure of a task was shown to predict its gain; the best of 4 is")
    assert finding.limits[0].startswith("Of 7 tasks a measure must correlate with gain by about ±0.75")


def test_a_group_that_all_targets_are_of_is_not_tested_again() -> None:
    groups = (Group("XTREME", WORLD.targets), Group("XTREME-R", ("xnli", "xcopa")))
    finding = find(replace(task_results(WORLD, 4), target_groups=groups))
    tested_groups = {row[0] for table in finding.tables[:2] for row in table.rows}
    assert tested_groups == {"all targets", "XTREME-R", "XTREME-R less XTREME"}
    assert any(line.startswith("XTREME: 3 targets (") and line.endswith("not tested again.") for line in finding.limits)
    assert [column.name for column in _table(finding, "Gain").columns][1:3] == ["all targets", "XTREME"]


def test_groups_of_targets_and_their_difference() -> None:
    results = replace(task_results(WORLD, 4), target_groups=GROUPS)
    everything, first, second, less = gains_of(results)
    assert [gains.group for gains in (first, second, less)] == ["XTREME", "XTREME-R", "XTREME-R less XTREME"]
    assert less.gains == pytest.approx(second.gains - first.gains)
    assert everything.targets == ("xnli", "panx", "xcopa")
    assert "Both groups have xnli: they are not independent." in find(results).limits


def test_a_task_without_a_gain_on_some_target_is_left_out_and_said() -> None:
    results = task_results(WORLD, 5)
    runs = tuple(run for run in results.runs if (run.recipe, run.target) != ((("task3",),), "panx"))
    finding = find(replace(results, runs=runs))
    assert "all targets: without task3, which lack a gain on some target." in finding.limits
    assert len(_table(finding, "Gain over none").rows) == 6


def test_a_target_that_few_tasks_have_is_left_out() -> None:
    results = task_results(WORLD, 6)
    runs = tuple(run for run in results.runs
                 if run.target != "panx" or run.recipe in ((), (("task1",),), (("task2",),)))  # fmt: skip
    (gains,) = gains_of(replace(results, runs=runs))
    assert gains.targets == ("xnli", "xcopa") and len(gains.tasks) == 7


def test_measures() -> None:
    results = Results(
        measures=(Measure("a", "examples", 100.0), Measure("b", "examples", 0.0), Measure("a", "own", -3.0))
    )
    examples, own = measures_of(results)
    assert examples.values == {"a": pytest.approx(np.log(100))} and examples.label == "log training examples"
    assert own.label == "own" and own.values == {"a": -3.0}
    dev = next(column for column in measures_of(task_results(WORLD, 7)) if column.name == "dev_score")
    assert set(dev.values) == {f"task{at}" for at in range(7)}


@pytest.mark.parametrize("tasks", [0, LEAST - 1])
def test_too_few_tasks_are_said(tasks: int) -> None:
    results = task_results(replace(WORLD, tasks=tasks), 8) if tasks else Results()
    assert find(results).sentence.startswith(f"Nothing can be said yet: no measure is known of {LEAST} tasks")


def test_every_value_can_be_written() -> None:
    finding = find(replace(task_results(replace(WORLD, tasks=6), 9), target_groups=GROUPS))
    for table in finding.tables:
        for row in table.rows:
            assert all(write(value, column.kind) for value, column in zip(row, table.columns, strict=True))


def test_false_relations_are_rare() -> None:
    """A quick look; `make study-simulations` has the numbers."""
    worlds, shown = 60, 0
    for seed in range(worlds):
        results = task_results(TaskWorld(tasks=6), seed)
        shown += min(row.adjusted_p for row in regressions.singles(gains_of(results), measures_of(results))) < 0.05
    assert shown <= 8  # once in a hundred tries more


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_study_has_something_to_say_of_nothing(study: object) -> None:
    finding = study.find(Results())  # type: ignore[attr-defined]
    assert finding.study == study.name and finding.sentence.startswith("Nothing can be said yet")  # type: ignore[attr-defined]
