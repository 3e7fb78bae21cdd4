"""The study of prompts: planted sums add up, what is planted beyond them is shown, what has no seeds is not tested."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from eval.figures import drawing
from eval.studies.finding import Estimates, Finding, Matrix, Table, Value, write
from eval.studies.prompts import effects, modes
from eval.studies.prompts.modes import FINE_TUNE, Mode
from eval.studies.prompts.study import find
from eval.studies.records import NONE, PromptedTarget, Recipe, Results, Run
from tests.eval.studies.worlds import PromptWorld, prompt_results

TASK0: Recipe = (("task0",),)
SUM = PromptWorld(by_recipe=5.0, by_prompts=4.0, luck=0.1)
BEYOND = replace(SUM, beyond=-3.0)


def _table(finding: Finding, title: str) -> Table:
    return next(table for table in finding.tables if table.title.startswith(title))


def _row(table: Table, *labels: str) -> dict[str, Value]:
    """The first whose texts are these."""
    names = [column.name for column in table.columns]
    return next(dict(zip(names, row, strict=True)) for row in table.rows if row[: len(labels)] == labels)


def _number(value: Value) -> float:
    assert isinstance(value, float)
    return value


def test_what_is_planted_beyond_the_sum_is_shown_where_it_is() -> None:
    finding = find(prompt_results(BEYOND, 1))
    assert finding.sentence.startswith(
        "Intermediate training and prompts do not add up in 1 of 4 tests: task0 on xnli, fine-tune to both ("
    )
    assert "points less than the sum, p (Holm) 0.0" in finding.sentence
    table = _table(finding, "Do they add up?")
    row = _row(table, "xnli", "task0", "fine-tune", "both")
    assert _number(row["by the recipe"]) == pytest.approx(5, abs=1)
    assert _number(row["by prompts"]) == pytest.approx(4, abs=1)
    assert _number(row["together"]) == pytest.approx(6, abs=1)
    parts = [_number(row[name]) for name in ("by the recipe", "by prompts", "together", "beyond the sum")]
    assert parts[2] - parts[0] - parts[1] == pytest.approx(parts[3])
    others = [_row(table, "xnli", "task1", "fine-tune", "both"), _row(table, "xnli", "task0", "prompt")]
    assert _number(row["p (Holm)"]) < 0.05 < min(_number(other["p (Holm)"]) for other in others)
    estimates = next(figure for figure in finding.figures if isinstance(figure, Estimates))
    assert [e.label for e in estimates.estimates if e.marked] == ["xnli: task0, fine-tune to both"]


def test_sums_are_not_said_to_be_more_or_less() -> None:
    finding = find(prompt_results(SUM, 2))
    assert finding.sentence.startswith(
        "Intermediate training and prompts were not shown to give more or less than the sum of what each gives, in any"
        " of 4 tests; the 95 % intervals leave room for "
    )
    assert "prompts 12 of 12." in finding.sentence
    recipes = _table(finding, "What intermediate training changes")
    for mode in ("fine-tune", "prompt", "prompt, 4 shown", "both"):
        assert _number(_row(recipes, "xnli", mode, "task0")["p (Holm)"]) < 0.05, mode
    assert all(_number(_row(recipes, "xnli", mode, "task1")["p (Holm)"]) > 0.05 for mode in ("fine-tune", "both"))


def test_the_test_is_students_over_seeds_and_signs_are_exchanged_exactly() -> None:
    results = prompt_results(replace(SUM, seeds=4), 3)
    (effect, *_) = effects.of_targets("beyond the sum", modes.of_results(results))

    def score(recipe: Recipe, seed: int, target: str) -> float:
        of_run = [r.score for r in results.runs if (r.recipe, r.seed, r.target) == (recipe, seed, target)]
        return float(np.mean(of_run))

    values = [
        score(TASK0, seed, "xnli_both") - score(NONE, seed, "xnli_both")
        - (score(TASK0, seed, "xnli") - score(NONE, seed, "xnli"))
        for seed in range(1, 5)
    ]  # fmt: skip
    assert (effect.recipe, effect.base, effect.mode) == (TASK0, FINE_TUNE, Mode("both"))
    assert effect.size.value == pytest.approx(np.mean(values))
    assert effect.size.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    exchanged = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert effect.signs_p == pytest.approx(exchanged.pvalue)


def test_what_has_no_seeds_stands_for_every_seed_and_is_not_tested_against_its_like() -> None:
    results = prompt_results(SUM, 4)
    (target,) = modes.of_results(results)
    prompt, with_demonstrations = Mode("prompt"), Mode("prompt", 4)
    gain = target.sums([modes.Term(1, prompt, TASK0), modes.Term(-1, prompt, NONE)])
    of_task0 = target.by_mode[prompt].scores
    assert gain == {seed: pytest.approx(of_task0[TASK0, seed] - 40.5) for seed in (1, 2, 3)}
    assert not target.has_seeds(prompt, NONE) and target.has_seeds(with_demonstrations, NONE)
    assert any(line.startswith("What the start model answers without any training (prompt after none) has no seeds")
               for line in find(results).limits)  # fmt: skip
    # The nearest demonstrations owe nothing to chance either: then two numbers are left, and no test.
    nearest = (NONE, "xnli_prompt_4")
    runs = [
        replace(run, seed=None) if (run.recipe, run.target) == nearest else run
        for run in results.runs
        if (run.recipe, run.target) != nearest or run.seed == 1
    ]
    of_modes = effects.of_targets("mode", modes.of_results(replace(results, runs=tuple(runs))))
    (untested,) = [e for e in of_modes if (e.base, e.mode, e.recipe) == (prompt, with_demonstrations, NONE)]
    assert (untested.size.seeds, untested.size.p, untested.signs_p, untested.adjusted_p) == (1, None, None, None)


def test_majority_chance_and_templates_stand_beside_scores() -> None:
    finding = find(prompt_results(replace(SUM, prompted=34.0, by_prompts=0.0, by_recipe=0.0, luck=0.0), 5))
    scores = _table(finding, "Scores on xnli")
    assert _row(scores, "majority class")["fine-tune"] == _row(scores, "majority class")["both"] == 34.5
    assert _row(scores, "chance")["prompt, 4 shown"] == pytest.approx(100 / 3)
    row = _row(_table(finding, "Spread over templates"), "xnli", "prompt, 4 shown", "task0")
    assert (row["mean"], row["best"], row["worst"], row["best less worst"]) == pytest.approx((34.5, 37.5, 31.5, 6.0))
    said = next(line for line in finding.limits if line.startswith("No better than always the majority class: "))
    assert "none, prompt on xnli (34.5; majority 34.5)" in said and "fine-tune" not in said


def test_only_languages_that_every_mode_has_count() -> None:
    results = prompt_results(SUM, 6)
    further = tuple(replace(run, language="th", score=0.0) for run in results.runs if run.target == "xnli")
    finding = find(replace(results, runs=(*results.runs, *further)))
    assert _table(finding, "Scores").rows == _table(find(results), "Scores").rows
    assert "xnli: without th, which not every mode has." in finding.limits


def test_what_diverged_is_left_out_and_modes_without_scores_are_said() -> None:
    results = prompt_results(SUM, 7)
    runs = tuple(replace(run, diverged=(run.recipe, run.seed) == (TASK0, 2)) for run in results.runs)
    lacking = (*results.prompted_targets, PromptedTarget("xnli_both_4", "xnli", "both", 4))
    finding = find(replace(results, runs=runs, prompted_targets=lacking))
    assert _row(_table(finding, "Do they"), "xnli", "task0", "fine-tune", "both")["seeds"] == 2
    assert "xnli_both: left out, as it diverged: task0 (seed 2)." in finding.limits
    assert finding.limits[-1] == "xnli: there is no score yet of both, 4 shown."
    assert "Within each of 2 to 3 seeds" in finding.limits[0] and "fewer than 10 seeds" in finding.limits[1]


def test_prompts_alone_are_compared_by_their_demonstrations() -> None:
    results = prompt_results(replace(SUM, targets=("xnli", "pawsx")), 8)
    prompts_alone = tuple(run for run in results.runs if "_prompt" in run.target)
    finding = find(replace(results, runs=prompts_alone))
    assert {row[2:4] for row in _table(finding, "Do they").rows} == {("prompt", "prompt, 4 shown")}
    assert "in any of 4 tests" in finding.sentence
    assert "pawsx: there is no score yet of fine-tune and both." in finding.limits


@pytest.mark.parametrize("world", [replace(SUM, seeds=1), replace(SUM, recipes=0)])
def test_too_little_is_said(world: PromptWorld) -> None:
    finding = find(prompt_results(world, 9))
    assert finding.sentence.startswith("Nothing could be tested: ") and _table(finding, "Scores on xnli").rows


def test_a_target_in_one_mode_says_nothing() -> None:
    results = prompt_results(SUM, 9)
    fine_tuned = tuple(run for run in results.runs if run.target == "xnli")
    for few in (replace(results, runs=fine_tuned), Results(runs=(Run(NONE, 1, "xnli", "de", 70.0),))):
        assert find(few).sentence.startswith("Nothing can be said yet: no target was answered in two modes")


def test_all_can_be_written_and_drawn() -> None:
    finding = find(prompt_results(replace(BEYOND, targets=("xnli", "pawsx")), 10))
    for table in finding.tables:
        for row in table.rows:
            assert all(write(value, column.kind) for value, column in zip(row, table.columns, strict=True))
    kinds = [type(figure) for figure in finding.figures]
    assert kinds == [Estimates, Estimates, Estimates, Matrix, Matrix]
    assert len({plan.name for plan in drawing.of_finding(finding)}) == 5


def test_false_effects_are_rare() -> None:
    """Of worlds in which nothing adds anything; `make study-simulations` has the numbers."""
    shown_worlds = 0
    for seed in range(60):
        targets = modes.of_results(prompt_results(PromptWorld(prompted=70.0), seed))
        shown_worlds += any(effect.is_shown for effect in effects.of_targets("beyond the sum", targets))
    assert shown_worlds <= 8  # once in a hundred tries more
