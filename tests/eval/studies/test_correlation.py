"""The correlation study: which values are paired, planted relations shown and absent ones not, what n can show said."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from eval.statistics import correlations
from eval.statistics.several import holm
from eval.studies.correlation import pairs
from eval.studies.correlation.study import find
from eval.studies.finding import Finding, Matrix, Scatter, Table, write
from eval.studies.records import NONE, DevPoint, Group, Recipe, Results, Run
from tests.eval.studies.worlds import TaskWorld, task_results

STRONG = TaskWorld(slope=6, tasks=7, noise=0.5)


def _table(finding: Finding, title: str) -> Table:
    return next(table for table in finding.tables if table.title.startswith(title))


def test_a_planted_relation_is_shown() -> None:
    finding = find(task_results(STRONG, 1))
    assert finding.sentence.startswith("1 of 1 correlations of a metric with transfer shown: accuracy with xnli")
    ((target, metric, outcome, recipes, rho, interval, p, adjusted_p),) = _table(finding, "Metrics and tr").rows
    assert (target, metric, outcome, recipes) == ("xnli", "accuracy", "score and gain", 7)
    assert rho > 0.8 and p == adjusted_p < 0.05 and interval[0] <= rho <= interval[1]  # type: ignore[operator,index]


def test_none_is_not_shown_and_what_could_have_been_is_said() -> None:
    finding = find(task_results(TaskWorld(tasks=7, metrics=("accuracy", "loss"), targets=("xnli", "panx")), 2))
    assert finding.sentence.startswith("No metric was shown to predict transfer; the strongest correlation of 4 is")
    assert finding.limits[0].startswith("Of 7 recipes only a Spearman's rho of ±0.79 or more has p < 0.05, after Holm")


@pytest.mark.parametrize(
    ("tasks", "said"),
    [(3, "Nothing can be said yet"), (4, "Of 4 recipes no correlation can reach p < 0.05, not even a perfect one.")],
)
def test_too_few_recipes(tasks: int, said: str) -> None:
    finding = find(task_results(TaskWorld(slope=5, tasks=tasks), 3))
    assert any(said in text for text in (finding.sentence, *finding.limits))
    if tasks == 3:
        assert finding.limits == ("Not tested, as fewer than 4 recipes have it: accuracy (3).",)


def test_pairs_are_means_over_the_seeds_of_both() -> None:
    results = task_results(TaskWorld(slope=1, tasks=5, seeds=3), 4)
    results = replace(results, dev_points=tuple(p for p in results.dev_points if (p.task, p.seed) != ("task2", 3)))
    by_outcome = {pair.outcome: pair for pair in pairs.of_languages(results, by_group=False)}
    assert set(by_outcome) == {"score", "gain"}  # of task2 two seeds count, so baselines differ
    recipe = (("task2",),)
    at = by_outcome["gain"].recipes.index(recipe)
    scores = {(run.recipe, run.seed): [r.score for r in results.runs if (r.recipe, r.seed) == (run.recipe, run.seed)]
              for run in results.runs}  # fmt: skip
    expected = np.mean([np.mean(scores[recipe, seed]) - np.mean(scores[NONE, seed]) for seed in (1, 2)])
    assert by_outcome["gain"].values[1][at] == pytest.approx(expected)
    dev = [p.value for p in results.dev_points if p.task == "task2" and p.progress == 1]
    assert by_outcome["score"].values[0][at] == pytest.approx(np.mean(dev))


def test_of_a_sequence_the_last_step_counts_and_of_a_joint_step_the_mean() -> None:
    recipe: Recipe = (("a",), ("b", "c"))
    points = [DevPoint(recipe, task, 1, 1.0, "accuracy", value) for task, value in (("a", 10), ("b", 60), ("c", 80))]
    points += [DevPoint((("a",),), "a", 1, 1.0, "accuracy", 50), DevPoint(recipe, "b", 1, 0.5, "accuracy", 0)]
    assert {(score.recipe, score.value) for score in pairs.dev_scores(points)} == {(recipe, 70), ((("a",),), 50)}


def test_coefficients_and_groups_of_languages() -> None:
    results = task_results(TaskWorld(slope=1, tasks=6), 5)
    runs = tuple(replace(run, score=-run.score) if run.language == "sw" else run for run in results.runs)
    groups = (Group("seen", ("de",)), Group("unseen", ("sw", "qu")), Group("absent", ("xx",)))
    finding = find(replace(results, runs=runs, language_groups=groups))
    for name, test in (("Pearson", stats.pearsonr), ("Spearman", stats.spearmanr), ("Kendall", stats.kendalltau)):
        table = next(t for t in finding.tables if t.title.startswith(f"By group of languages: {name}"))
        seen, unseen = table.rows
        assert (seen[1], unseen[1]) == ("seen", "unseen") and seen[5] == pytest.approx(-unseen[5])  # type: ignore[operator]
        (pair,) = [p for p in pairs.of_languages(replace(results, language_groups=groups[:1]), by_group=True)]
        assert seen[5] == pytest.approx(test(*pair.values)[0])


def test_a_metric_that_is_the_same_for_all_is_no_test() -> None:
    results = task_results(TaskWorld(tasks=5), 6)
    points = tuple(replace(point, value=80.0) for point in results.dev_points)
    finding = find(replace(results, dev_points=points))
    assert "could be tested" in finding.sentence
    assert _table(finding, "Metrics and transfer").rows[0][4:] == (None, None, None, None)


def test_size_is_taken_out() -> None:
    """Quality is size, and size helps: nothing is left of it, given size."""
    results = task_results(TaskWorld(tasks=8, confound=0.98, by_size=6, noise=0.3), 7)
    finding = find(results)
    assert finding.sentence.startswith("1 of 1")
    ((*_, partial, p, adjusted_p),) = _table(finding, "Given the size").rows
    assert abs(partial) < 0.8 and p == adjusted_p > 0.05  # type: ignore[arg-type,operator]
    without = find(replace(results, measures=results.measures[1:]))
    assert any("is not told apart" in limit for limit in without.limits)
    assert not any(table.title.startswith("Given") for table in without.tables)


def test_figures_and_texts() -> None:
    finding = find(task_results(replace(STRONG, metrics=("accuracy", "loss"), targets=("xnli", "panx")), 8))
    matrix = next(figure for figure in finding.figures if isinstance(figure, Matrix))
    assert matrix.rows == ("accuracy", "loss") and matrix.columns == ("xnli", "panx")
    assert ("accuracy", "xnli") in matrix.marked
    scatter = next(figure for figure in finding.figures if isinstance(figure, Scatter))
    assert len(scatter.points) == 7 and scatter.line is not None and scatter.points[0].label == "task0"
    for table in finding.tables:
        for row in table.rows:
            assert all(write(value, column.kind) for value, column in zip(row, table.columns, strict=True))
    assert [column.name for column in _table(finding, "How early").columns][-2:] == ["50%", "end"]


def test_a_target_that_owes_nothing_to_chance() -> None:
    """`none` on a target without training has one score, which stands for every seed."""
    results = task_results(TaskWorld(slope=2, tasks=5), 9)
    runs = [run for run in results.runs if run.recipe]
    runs += [Run(NONE, None, "xnli", language, 60.0) for language in ("de", "sw")]
    (pair,) = pairs.of_languages(replace(results, runs=tuple(runs)), by_group=False)
    assert pair.outcome == "score and gain" and all(len(unit.first) == 3 for unit in pair.units)


def test_recipes_that_share_trainings_are_said() -> None:
    results = task_results(TaskWorld(tasks=5), 10)

    def longer(recipe: Recipe) -> Recipe:
        return (("task0",), *recipe) if recipe == (("task4",),) else recipe

    results = replace(
        results,
        runs=tuple(replace(run, recipe=longer(run.recipe)) for run in results.runs),
        dev_points=tuple(replace(point, trained=longer(point.trained)) for point in results.dev_points),
    )
    assert any("share trainings" in limit for limit in find(results).limits)
    assert not any("share trainings" in limit for limit in find(task_results(TaskWorld(tasks=5), 10)).limits)


def test_a_metric_under_two_names_is_tested_once() -> None:
    """Micro-averaged F1 of single labels is the accuracy; of fewer recipes that have it too."""
    results = task_results(STRONG, 11)
    copies = [replace(p, metric="micro_f1") for p in results.dev_points if p.task != "task0"]
    repeating = find(replace(results, dev_points=(*copies, *results.dev_points)))
    line = "In all trainings that have both micro_f1 is accuracy: one question, tested once."
    assert line in repeating.limits
    assert repeating.tables == find(results).tables and repeating.figures == find(results).figures
    differing_points = [replace(p, value=p.value + (p.seed == 3)) for p in copies]
    assert (
        len(_table(find(replace(results, dev_points=(*results.dev_points, *differing_points))), "Metrics and tr").rows)
        == 2
    )


def test_how_early_counts_a_training_that_was_handed_on_before_with_its_end() -> None:
    points = [DevPoint((("a",),), "a", 1, progress, "accuracy", value, True)
              for progress, value in ((0.25, 40.0), (0.5, 60.0), (1.0, 60.0))]  # fmt: skip
    values = {at: [score.value for score in pairs.dev_scores(points, at)] for at in (0.1, 0.25, 0.5, 0.75, 1.0)}
    assert values == {0.1: [], 0.25: [40.0], 0.5: [60.0], 0.75: [60.0], 1.0: [60.0]}
    assert pairs.dev_scores(points[:2]) == ()


def test_nothing_at_all() -> None:
    assert find(Results()).sentence.startswith("Nothing can be said yet")


def test_false_relations_are_rare() -> None:
    """A quick look; `make study-simulations` has the numbers. All of a family are exact tests of six recipes."""
    worlds, shown = 100, 0
    for seed in range(worlds):
        results = task_results(TaskWorld(tasks=6, metrics=("accuracy", "loss"), targets=("xnli", "panx")), seed)
        all_pairs = pairs.of_languages(results, by_group=False)
        shown += min(holm([correlations.p_value("spearman", *pair.values, 0) for pair in all_pairs])) < 0.05
    assert shown <= 11  # once in a hundred tries more
