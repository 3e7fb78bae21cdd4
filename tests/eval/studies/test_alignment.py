"""The alignment study: planted changes are shown in their domain, absent ones are not, curves and correlations."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from eval.studies.alignment import changes, domains
from eval.studies.alignment.study import find
from eval.studies.finding import Estimates, Finding, Matrix, Table, write
from eval.studies.records import NONE, Results
from tests.eval.studies.worlds import AlignmentWorld, alignment_results

PLANTED = AlignmentWorld(effects={("task1", "legal"): -15.0}, luck=0.3)


def _table(finding: Finding, title: str) -> Table:
    return next(table for table in finding.tables if table.title.startswith(title))


def test_a_planted_change_is_shown_where_it_is() -> None:
    finding = find(alignment_results(PLANTED, 1))
    assert finding.sentence.startswith(
        "Retrieval of translations changed in 1 of 10 tests over domains: task1 on legal (-1"
    )
    rows = {(row[0], row[1]): row for row in _table(finding, "accuracy: what").rows}
    _, _, languages, seeds, before, change, interval, p, adjusted_p = rows["legal", "task1"]
    assert (languages, seeds, before) == (2, 3, 62.5) and change == pytest.approx(-15, abs=1)  # type: ignore[arg-type]
    assert interval[0] < change < interval[1] and p < adjusted_p < 0.05  # type: ignore[index,operator]
    assert rows["medical", "task1"][8] > 0.05  # type: ignore[operator]
    estimates = next(figure for figure in finding.figures if isinstance(figure, Estimates))
    assert [estimate.label for estimate in estimates.estimates if estimate.marked] == ["legal: task1"]


def test_without_one_nothing_is_shown() -> None:
    finding = find(alignment_results(AlignmentWorld(), 2))
    assert finding.sentence == "No recipe was shown to change retrieval of translations, of 10 tests over domains."


def test_the_test_is_students_over_seeds_of_means_over_languages() -> None:
    results = alignment_results(AlignmentWorld(recipes=1, domains=("legal",), seeds=4), 3)
    (domain,) = [d for d in domains.of_results(results).of_measures if d.measure == "accuracy"]
    (change,) = changes.of_domains([domain])
    values = [
        np.mean([r.value for r in results.representations if (r.seed, r.measure) == (seed, "accuracy")]) - 62.5
        for seed in (1, 2, 3, 4)
    ]
    assert change.change.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert change.change.value == pytest.approx(np.mean(values))


def test_curves_are_changes_by_layer() -> None:
    results = alignment_results(replace(PLANTED, luck=0.0), 4)
    matrix = next(f for f in find(results).figures if isinstance(f, Matrix) and f.title.startswith("accuracy on legal"))
    assert (matrix.rows[1], matrix.columns) == ("task1", ("0", "1", "2"))
    assert matrix.values[1] == pytest.approx((0, -15, -30)) and matrix.values[0] == pytest.approx((0, 0, 0))


def test_alignment_that_goes_with_transfer_is_seen() -> None:
    effects = {(f"task{n}", "legal"): 4.0 * n for n in range(6)}
    finding = find(alignment_results(AlignmentWorld(effects, recipes=6, luck=0.2, transfer=1.0), 5))
    rows = {row[1]: row for row in _table(finding, "Alignment and transfer").rows}
    assert rows["accuracy, legal"][4] == pytest.approx(1) and rows["accuracy, legal"][6] < 0.05  # type: ignore[operator]
    few = find(alignment_results(AlignmentWorld(recipes=3), 5))
    assert "Whether alignment goes with transfer is not told: it takes 4 recipes beside none" in few.limits[-1]


def test_what_diverged_or_lacks_a_language_is_left_out_and_said() -> None:
    results = alignment_results(PLANTED, 6)
    lacking = tuple(
        record for record in results.representations
        if (record.recipe, record.seed, record.domain, record.language) != ((("task0",),), 2, "legal", "sw")
    )  # fmt: skip
    finding = find(replace(results, representations=lacking))
    rows = {(row[0], row[1]): row for row in _table(finding, "accuracy: what").rows}
    assert (rows["legal", "task0"][3], rows["medical", "task0"][3]) == (2, 3)
    assert finding.limits[-1] == "legal: left out, as they diverged or lack a language: task0 (seed 2)."
    diverged = [replace(run, target="legal", diverged=True) for run in results.runs if run.recipe == (("task1",),)]
    finding = find(replace(results, runs=(*results.runs, *diverged)))
    assert ("legal", "task1") not in {(row[0], row[1]) for row in _table(finding, "accuracy: what").rows}


def test_one_seed_is_no_test_and_nothing_is_nothing() -> None:
    one_seed = find(alignment_results(AlignmentWorld(seeds=1), 7))
    assert one_seed.sentence.startswith("Nothing could be tested: of 10 changes")
    without_none = tuple(r for r in alignment_results(PLANTED, 7).representations if r.recipe != NONE)
    for results in (Results(), Results(representations=without_none)):
        assert find(results).sentence.startswith("Nothing can be said yet")


def test_all_can_be_written() -> None:
    for table in find(alignment_results(PLANTED, 8)).tables:
        for row in table.rows:
            assert all(write(value, column.kind) for value, column in zip(row, table.columns, strict=True))


def test_false_changes_are_rare() -> None:
    """Of worlds without any change; 5 % is what they may be."""
    worlds, shown = 150, 0
    for seed in range(worlds):
        of_measures = domains.of_results(alignment_results(AlignmentWorld(), seed)).of_measures
        of_accuracy = [domain for domain in of_measures if domain.measure == "accuracy"]
        shown += any(change.is_shown for change in changes.of_domains(of_accuracy))
    assert shown <= 14  # once in a hundred tries more
