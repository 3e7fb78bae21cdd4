"""Two tables of scores beside each other: the second less the first, recipe by recipe and target by target."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import hypot

from eval.tables import cells
from eval.tables.baseline import BASELINE, split
from eval.tables.cells import Cell, Seed
from eval.tables.rows import Row
from eval.tables.sheet import Column, Entry, Sheet
from slurm.base import UserError
from training.tasks import catalogue

_SECOND = "second"


@dataclass(frozen=True)
class Side:
    """One of the two; `label` as the person wrote it."""

    label: str
    rows: Sequence[Row]


def of_sides(first: Side, second: Side, metric: str | None = None) -> Sheet:
    """Every recipe and target that both have, each over the languages that both have. UserError where there is none.

    Seeds are paired where both have them; where none is in common the means are compared as they are. Where each has
    one start model, whichever it is, labels play no part.
    """
    if all(len({split(row.recipe)[0] for row in side.rows}) == 1 for side in (first, second)):
        first, second = _without_labels(first), _without_labels(second)
    metrics = _metrics(first, second, metric)
    of_first = {(row.recipe, row.target) for row in first.rows}
    of_both = [pair for pair in dict.fromkeys((row.recipe, row.target) for row in second.rows) if pair in of_first]
    pairs = [(recipe, target) for recipe, target in of_both if target in metrics]
    if not pairs:
        with_metric = f" with a score {metric}" if metric else ""
        raise UserError(f"{first.label} and {second.label}: have no recipe and target in common{with_metric}")
    languages = {target: _common_languages(first, second, target, name) for target, name in metrics.items()}
    cells_of_both = _cells(first, second, pairs, metrics, languages)
    recipes, targets = list(dict.fromkeys(recipe for recipe, _ in pairs)), list(dict.fromkeys(t for _, t in pairs))
    columns = tuple(Column(target, metrics[target], metrics[target]) for target in targets)
    without_pairs = any(cell is not None and not cell.differences for cell, _ in cells_of_both.values())
    caption = [
        f"{second.label} less {first.label}, in points; mean over languages; ± standard error over seeds, paired by"
        " seed" + (" where both have it" if without_pairs else "") + "; not tested",
        *(
            f"{target}: of the {len(languages[target])} languages that both have"
            for target in targets
            if any(len(codes) != len(languages[target]) for codes in _languages(first, second, target, metrics[target]))
        ),
    ]
    rows = tuple(
        (recipe, tuple(_entry(*cells_of_both.get((recipe, target), (None, None))) for target in targets))
        for recipe in recipes
    )
    return Sheet(f"{second.label} less {first.label}", columns, rows, tuple(caption))


def _without_labels(side: Side) -> Side:
    return replace(side, rows=[row._replace(recipe=split(row.recipe)[1]) for row in side.rows])


def _metrics(first: Side, second: Side, metric: str | None) -> dict[str, str]:
    """The metric of each target that both show under the same name."""
    metrics_of_sides = [
        {target: _metric(side.rows, target, metric) for target in dict.fromkeys(row.target for row in side.rows)}
        for side in (first, second)
    ]
    return {
        target: name for target, name in metrics_of_sides[1].items() if name and metrics_of_sides[0].get(target) == name
    }


def _metric(rows: Sequence[Row], target: str, metric: str | None) -> str | None:
    of_target = [row for row in rows if row.target == target]
    present = {row.metric for row in of_target}
    if metric is not None:
        return metric if metric in present else None
    task = catalogue.TASKS.get(target)
    primary = next((row.metric for row in of_target if row.primary), task.metric if task else "")
    name = cells.shown_metric(primary, present)
    return name if name in present else None


def _languages(first: Side, second: Side, target: str, metric: str) -> list[set[str]]:
    return [
        {row.language for row in side.rows if row.target == target and row.metric == metric} for side in (first, second)
    ]


def _common_languages(first: Side, second: Side, target: str, metric: str) -> list[str]:
    return cells.in_the_mean(sorted(set.intersection(*_languages(first, second, target, metric))))


def _cells(
    first: Side,
    second: Side,
    pairs: Sequence[tuple[str, str]],
    metrics: dict[str, str],
    languages: dict[str, list[str]],
) -> dict[tuple[str, str], tuple[Cell | None, Cell | None]]:
    """By (recipe, target): the second's cell with its difference to the first's, and the first's."""
    names = {pair: "\0".join(pair) for pair in pairs}
    rows: list[Row] = []
    required_languages: dict[tuple[str, str, Seed], list[str]] = {}
    for side, role in ((first, BASELINE), (second, _SECOND)):
        for row in side.rows:
            name = names.get((row.recipe, row.target))
            if name is not None:
                rows.append(row._replace(recipe=role, target=name))
                required_languages[role, name, row.seed] = languages[row.target]
    metric_of_name = {name: metrics[target] for (_, target), name in names.items()}
    by_name: dict[str, dict[str, Cell]] = defaultdict(dict)
    for (role, name), cell in cells.of_rows(rows, required_languages, metric_of_name).items():
        by_name[name][role] = cell
    return {pair: (by_name[name].get(_SECOND), by_name[name].get(BASELINE)) for pair, name in names.items()}


def _entry(cell: Cell | None, before: Cell | None) -> Entry:
    if cell is None or before is None:
        return Entry("difference", None, note="-")
    entry = Entry("difference", None, seeds=cell.seeds, diverged=cell.diverged, missing=cell.missing, score=cell.score)
    if cell.difference is not None:
        return replace(entry, value=cell.difference, error=cell.difference_error)
    if cell.score is None or before.score is None:
        return replace(entry, note=(cell if cell.score is None else before).show())
    if not cell.values or not before.values:
        return replace(entry, note="diverged")
    both_errors = cell.error is not None and before.error is not None
    error = hypot(cell.error or 0.0, before.error or 0.0) if both_errors else None
    return replace(entry, value=cell.score - before.score, error=error)
