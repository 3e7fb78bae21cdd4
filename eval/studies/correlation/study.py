"""What the metrics of intermediate tasks say of transfer, in one finding."""

from collections.abc import Sequence

from eval.statistics import correlations
from eval.statistics.correlations import COEFFICIENTS, Coefficient
from eval.studies import transfer as transfers
from eval.studies.correlation import pairs, tables, tests
from eval.studies.correlation.tables import LEVEL, NAMES, is_shown
from eval.studies.correlation.tests import Correlation
from eval.studies.finding import Finding, Table, listed, write_p
from eval.studies.records import Results

NAME = "correlation"
_MAIN: Coefficient = "spearman"  # of which the sentence speaks, as Pruksachatkun et al. 2020 do
_KINDS = (_MAIN, *(kind for kind in COEFFICIENTS if kind != _MAIN))


def find(results: Results) -> Finding:
    """Of all recipes but `none` that have English dev metrics of their last step and zero-shot scores."""
    all_pairs = pairs.of_languages(results, by_group=False)
    left_out = tuple(line for transfer in transfers.of_targets(results.runs) for line in transfer.left_out)
    if not all_pairs:
        least = correlations.LEAST
        text = f"Nothing can be said yet: no metric has a dev score at the end of training in {least} recipes or more."
        return Finding(NAME, text, (), (), (*_few(results), *left_out))
    by_kind = {kind: tests.of_pairs(kind, all_pairs) for kind in _KINDS}
    partial = tests.given_size(all_pairs, results.measures)
    return Finding(
        NAME,
        _sentence(by_kind[_MAIN]),
        (*(tables.of_correlations(f"Metrics and transfer: {NAMES[kind]}", by_kind[kind], with_groups=False)
           for kind in _KINDS),
         *((tables.given_size(partial),) if partial else ()), *_of_groups(results), *_of_training(results)),
        (*(tables.matrix(by_kind[kind], NAMES[kind]) for kind in _KINDS),
         *(tables.scatter(pair) for pair in all_pairs)),
        (*_limits(by_kind[_MAIN], bool(partial)), *_second_names(results), *_few(results), *left_out),
    )  # fmt: skip


def _of_groups(results: Results) -> tuple[Table, ...]:
    by_group = pairs.of_languages(results, by_group=True)
    return tuple(
        tables.of_correlations(f"By group of languages: {NAMES[kind]}", tests.of_pairs(kind, by_group), True)
        for kind in _KINDS
        if by_group
    )


def _of_training(results: Results) -> tuple[Table, ...]:
    progress = sorted({point.progress for point in results.dev_points})
    by_progress = [(at, pairs.of_languages(results, by_group=False, progress=at)) for at in progress]
    return (tables.of_training(by_progress),) if len(progress) > 1 else ()


def _sentence(table: Sequence[Correlation]) -> str:
    shown_rows = sorted(filter(is_shown, table), key=lambda row: row.adjusted_p or 0.0)
    count = sum(row.p is not None for row in table)
    if shown_rows:
        names = [f"{row.paired.metric} with {row.paired.target} ({_of(row)}, {_p(row.adjusted_p)} after Holm)"
                 for row in shown_rows]  # fmt: skip
        return f"{len(shown_rows)} of {count} correlations of a metric with transfer shown: {listed(names)}."
    best = tests.strongest(table)
    if best is None:
        return "No metric could be tested: each, or the transfer, is the same for all recipes."
    pair = best.paired
    return (f"No metric was shown to predict transfer; the strongest correlation of {count} is {_of(best)} of"
            f" {pair.metric} with {pair.target}, {_p(best.p)} alone and {_p(best.adjusted_p)} after Holm.")  # fmt: skip


def _limits(table: Sequence[Correlation], with_size: bool) -> tuple[str, ...]:
    counts = sorted({len(row.paired.recipes) for row in table})
    tested_rows = sum(row.p is not None for row in table)
    lines = [_reach(recipes, tested_rows) for recipes in counts]
    lines += [
        "Recipes are not drawn at random, and what varies between tasks varies together: a correlation over them is no"
        " cause, and it is of these tasks alone.",
        "A metric's values come from different tasks, whose labels and baselines differ; an accuracy of 80 on one is"
        " not that of another. Chance in dev and transfer scores, and few seeds, draw coefficients towards 0.",
    ]
    if any(len(recipe) > 1 for row in table for recipe in row.paired.recipes):
        lines.append("Recipes of several steps share trainings with others: they are not independent, and p-values of"
                     " this table are too small by what they share.")  # fmt: skip
    if not with_size:
        lines.append("What the size of the training data explains is not told apart: it is not known of all recipes, or"
                     " they are fewer than five.")  # fmt: skip
    if any(row.paired.outcome == "score and gain" for row in table):
        lines.append("Score and gain over none are one row where all recipes have the same seeds: they differ by the"
                     " same baseline then, and correlate alike.")  # fmt: skip
    return tuple(lines)


def _reach(recipes: int, count: int) -> str:
    """What this number of recipes could have shown."""
    alone, together = correlations.smallest(recipes, LEVEL), correlations.smallest(recipes, LEVEL / max(1, count))
    if alone is None:
        return f"Of {recipes} recipes no correlation can reach p < 0.05, not even a perfect one."
    least = f"Of {recipes} recipes only a Spearman's rho of ±{alone:.2f} or more has p < 0.05"
    if count == 1:
        return f"{least}: a weaker one can be there, unseen."
    if together is None:
        return f"{least}; after Holm for {count} tests not even a perfect one has."
    return f"{least}, after Holm for {count} tests of ±{together:.2f} or more: weaker ones can be there, unseen."


def _second_names(results: Results) -> tuple[str, ...]:
    names = [f"{metric} is {first_name}" for metric, first_name in pairs.repeated(results.dev_points).items()]
    return (f"In all trainings that have both {listed(names, 8)}: one question, tested once.",) if names else ()


def _few(results: Results) -> tuple[str, ...]:
    recipes: dict[str, set[object]] = {}
    second_names = pairs.repeated(results.dev_points)
    for score in [score for score in pairs.dev_scores(results.dev_points) if score.metric not in second_names]:
        recipes.setdefault(score.metric, set()).add(score.recipe)
    rare = [f"{metric} ({len(with_it)})" for metric, with_it in recipes.items() if len(with_it) < correlations.LEAST]
    return (f"Not tested, as fewer than {correlations.LEAST} recipes have it: {listed(rare, 8)}.",) if rare else ()


def _of(row: Correlation) -> str:
    ends = "" if row.interval is None else f" [{row.interval[0]:+.2f}, {row.interval[1]:+.2f}]"
    return f"Spearman's rho {row.value:+.2f}{ends}"


def _p(p: float | None) -> str:
    return "" if p is None else f"p {write_p(p)}" if p < 0.001 else f"p = {write_p(p)}"
