"""The entries of a sheet: from cells and comparisons, and from published rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from eval.statistics.intervals import MeanDifference
from eval.tables.baseline import baseline_of, is_baseline, split
from eval.tables.cells import Cell
from eval.tables.references import Reference
from eval.tables.sheet import Column, Entry, Rows
from eval.tables.significance import Comparison

_CLOSE = 1e-9  # means of the same numbers in another order


def of_cells(
    cells: Mapping[tuple[str, str], Cell],
    recipes: Sequence[str],
    columns: Sequence[Column],
    comparisons: Mapping[tuple[str, str], Comparison],
    with_intervals: bool = False,
) -> Rows:
    """The rows, in the order of `recipes`. A cell that is not in `cells` is shown as `-`."""
    best = {column.name: _best_of_models(cells, recipes, column.name) for column in columns}
    return tuple(
        (
            recipe,
            tuple(
                _entry(
                    cells.get((recipe, column.name)),
                    comparisons.get((recipe, column.name)),
                    is_baseline(recipe) or baseline_of(recipe) not in recipes,
                    recipe in best[column.name],
                    with_intervals,
                )
                for column in columns
            ),
        )
        for recipe in recipes
    )


def _best_of_models(cells: Mapping[tuple[str, str], Cell], recipes: Sequence[str], column: str) -> set[str]:
    """The recipes that are highest of those from the same start model."""
    by_model: dict[str, list[str]] = {}
    for recipe in recipes:
        by_model.setdefault(split(recipe)[0], []).append(recipe)
    return set().union(*(_best(cells, of_model, column) for of_model in by_model.values()))


def _best(cells: Mapping[tuple[str, str], Cell], recipes: Sequence[str], column: str) -> set[str]:
    """The recipes that are highest; of one recipe alone, or where all are equal, none. All are from one model."""
    baseline = cells.get((baseline_of(recipes[0]), column))
    scores = {
        recipe: compared
        for recipe in recipes
        if (cell := cells.get((recipe, column))) and cell.values and (compared := _level(cell, baseline)) is not None
    }
    if not scores or max(scores.values()) - min(scores.values()) < _CLOSE:
        return set()
    return {recipe for recipe, score in scores.items() if score > max(scores.values()) - _CLOSE}


def _level(cell: Cell, baseline: Cell | None) -> float | None:
    """Where recipes are on one scale though seeds differ, as in a race or where some diverged: the baseline's score and
    the difference to it, seed by seed. Without a difference the score."""
    if baseline is None or baseline.score is None or cell.difference is None:
        return cell.score
    return baseline.score + cell.difference


def _entry(cell: Cell | None, comparison: Comparison | None, absolute: bool, best: bool, with_intervals: bool) -> Entry:
    if cell is None:
        return Entry("score" if absolute else "difference", None, note="-")
    entry = Entry(
        "score" if absolute else "difference", None, seeds=cell.seeds, diverged=cell.diverged, missing=cell.missing
    )
    if cell.score is None:
        return replace(entry, note=cell.show())
    entry = replace(entry, best=best, score=cell.score, with_interval=with_intervals)
    if absolute or cell.difference is None:
        interval = _of_score(cell) if with_intervals else None
        return replace(entry, kind="score", value=cell.score, error=cell.error, interval=interval, alone=not absolute)
    entry = replace(entry, value=cell.difference, error=cell.difference_error)
    if comparison is None or comparison.difference.mean is None:
        return entry
    return replace(
        entry,
        interval=comparison.difference.mean.interval() if with_intervals and comparison.difference.mean.error else None,
        mark=comparison.mark,
        adjusted_p=comparison.adjusted_p,
        difference=comparison.difference,
        over_examples=comparison.over_examples,
    )


def _of_score(cell: Cell) -> tuple[float, float] | None:
    """Student's interval over a cell's own seeds."""
    if cell.score is None or not cell.error:
        return None
    return MeanDifference(cell.score, cell.error, 0.0, len(cell.values) - 1).interval()


def of_references(published_rows: Sequence[Reference], columns: Sequence[Column]) -> Rows:
    """Published rows, in the columns that they have a number for."""
    return tuple(
        (reference.label, tuple(_published(reference, column) for column in columns)) for reference in published_rows
    )


def _published(reference: Reference, column: Column) -> Entry:
    score = reference.scores.get((column.name, column.metric))
    return Entry("reference", score, note="-" if score is None else "", score=score)
