"""The results table: recipe x target, the mean over languages, error bars over seeds, the difference to `none`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from rich import box
from rich.table import Table

from eval.collect import Row

BASELINE = "none"


@dataclass(frozen=True)
class Cell:
    """One recipe on one target, in percent.

    `deviation` is the sample standard deviation over seeds, None for fewer than two; `difference` the mean over seeds
    of the score minus the baseline's with the same seed (where chance plays no part in one of the two, its only score),
    with its own deviation. `missing`: (language, seed) pairs without a score; such a cell has no mean.
    """

    score: float | None
    deviation: float | None
    seeds: int
    difference: float | None
    difference_deviation: float | None
    missing: int

    def show(self) -> str:
        if self.score is None:
            return f"{self.missing} missing" if self.missing else "no gold"
        return f"{self.score:.1f}" + (f" ±{self.deviation:.1f}" if self.deviation is not None else "")

    def show_difference(self) -> str:
        if self.difference is None:
            return ""
        spread = f" ±{self.difference_deviation:.1f}" if self.difference_deviation is not None else ""
        return f"{self.difference:+.1f}{spread}"


def cells(
    rows: Sequence[Row], expected: Mapping[tuple[str, str, int | None], Sequence[str]]
) -> dict[tuple[str, str], Cell]:
    """By (recipe, target). `expected`: the languages that each (recipe, target, seed) must have to count; none where
    the data has no gold answers, and then the cell says so."""
    scores: dict[tuple[str, str, int | None], dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row.primary:
            scores[row.recipe, row.target, row.seed][row.language] = row.score
    means: dict[tuple[str, str], dict[int | None, float]] = defaultdict(dict)
    missing: dict[tuple[str, str], int] = defaultdict(int)
    for (recipe, target, seed), languages in expected.items():
        found = scores[recipe, target, seed]
        missing[recipe, target] += sum(language not in found for language in languages)
        if languages and all(language in found for language in languages):
            means[recipe, target][seed] = mean(found[language] for language in languages)
    return {
        (recipe, target): _cell(means[recipe, target], means.get((BASELINE, target), {}), count, recipe == BASELINE)
        for (recipe, target), count in missing.items()
    }


def _cell(seeds: dict[int | None, float], baseline: dict[int | None, float], missing: int, is_baseline: bool) -> Cell:
    if not seeds or missing:
        return Cell(None, None, len(seeds), None, None, missing)
    pairs = [] if is_baseline else _paired(seeds, baseline)
    values = list(seeds.values())
    return Cell(mean(values), _deviation(values), len(values), mean(pairs) if pairs else None, _deviation(pairs), 0)


def _paired(seeds: dict[int | None, float], baseline: dict[int | None, float]) -> list[float]:
    """Score minus baseline, seed by seed; a baseline without seeds (or a score) stands for all."""
    if None in baseline or None in seeds:
        alone = baseline.get(None)
        if alone is not None:
            return [score - alone for score in seeds.values()]
        return [seeds[None] - score for score in baseline.values()]
    return [score - baseline[seed] for seed, score in seeds.items() if seed in baseline]


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def draw(found: Mapping[tuple[str, str], Cell], recipes: Sequence[str], targets: Mapping[str, str]) -> Table:
    """The table for a terminal. `targets`: the name of each target's metric. Differences stand below the scores."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("recipe", overflow="fold")
    for target, metric in targets.items():
        table.add_column(f"{target}\n{metric}", justify="right", no_wrap=True)
    for recipe in recipes:
        row = [found.get((recipe, target)) for target in targets]
        table.add_row(recipe, *(_lines(cell) for cell in row))
    return table


def _lines(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    difference = cell.show_difference()
    return cell.show() + (f"\n{difference}" if difference else "")


def markdown(found: Mapping[tuple[str, str], Cell], recipes: Sequence[str], targets: Mapping[str, str]) -> str:
    """The same table in Markdown."""
    lines = ["| recipe | " + " | ".join(f"{target} ({metric})" for target, metric in targets.items()) + " |"]
    lines.append("| --- |" + " ---: |" * len(targets))
    for recipe in recipes:
        shown = [_lines(found.get((recipe, target))).replace("\n", " (") for target in targets]
        lines.append(f"| {recipe} | " + " | ".join(text + (")" if "(" in text else "") for text in shown) + " |")
    return "\n".join(lines) + "\n"


def mixed_code(rows: Sequence[Row]) -> int:
    """How many versions of the code made these rows; more than one is worth a warning."""
    return len({row.code for row in rows})
