"""Zero-shot scores of a target by recipe and seed: means over languages but English; what was left out, in words."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.studies.finding import listed
from eval.studies.records import NONE, SOURCE, Recipe, Run, show

Cell = tuple[Recipe, int | None]


@dataclass(frozen=True)
class Transfer:
    """One target. `scores`: means over `languages` of the runs that have all of them and did not diverge."""

    target: str
    languages: tuple[str, ...]
    scores: Mapping[Cell, float]
    left_out: tuple[str, ...]

    def seeds(self, recipe: Recipe) -> tuple[int, ...]:
        """Those that a recipe has a score of, in order."""
        return tuple(
            sorted(seed for scored_recipe, seed in self.scores if scored_recipe == recipe and seed is not None)
        )

    def score(self, recipe: Recipe, seed: int | None) -> float | None:
        """A score that owes nothing to chance stands for every seed."""
        return self.scores.get((recipe, seed), self.scores.get((recipe, None)))

    def mean(self, recipe: Recipe) -> float | None:
        scores = [score for (scored_recipe, _), score in self.scores.items() if scored_recipe == recipe]
        return float(np.mean(scores)) if scores else None

    def differences(self, recipe: Recipe, baseline: Recipe = NONE) -> dict[int | None, float]:
        """A recipe's score less the baseline's, by seed, of the seeds that both have."""
        return {
            seed: score - before
            for (scored_recipe, seed), score in sorted(self.scores.items(), key=lambda entry: entry[0][1] or 0)
            if scored_recipe == recipe and (before := self.score(baseline, seed)) is not None
        }


def of_targets(runs: Sequence[Run], languages: Sequence[str] | None = None) -> tuple[Transfer, ...]:
    """Each target's, in the order of the runs. `languages`: of these alone; a target that has none of them is left
    out."""
    by_target: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.language != SOURCE and (languages is None or run.language in languages):
            by_target[run.target].append(run)
    return tuple(_of_target(target, of_target) for target, of_target in by_target.items())


def recipes_of(runs: Sequence[Run]) -> tuple[Recipe, ...]:
    return tuple(dict.fromkeys(run.recipe for run in runs))


def _of_target(target: str, runs: Sequence[Run]) -> Transfer:
    languages = tuple(sorted({run.language for run in runs}))
    by_cell: dict[Cell, dict[str, float]] = defaultdict(dict)
    diverged_cells: list[Cell] = []
    for run in runs:
        by_cell[run.recipe, run.seed][run.language] = run.score
        if run.diverged and (run.recipe, run.seed) not in diverged_cells:
            diverged_cells.append((run.recipe, run.seed))
    incomplete = [cell for cell, scores in by_cell.items() if len(scores) < len(languages)]
    scores = {
        cell: float(np.mean([by_language[language] for language in languages]))
        for cell, by_language in by_cell.items()
        if cell not in diverged_cells and cell not in incomplete
    }
    return Transfer(target, languages, scores, (
        *_said(target, "diverged", diverged_cells),
        *_said(target, f"lacks some of {len(languages)} languages", incomplete),
    ))  # fmt: skip


def _said(target: str, why: str, cells: Sequence[Cell]) -> tuple[str, ...]:
    names = [f"{show(recipe)} (seed {seed})" if seed is not None else show(recipe) for recipe, seed in cells]
    return (f"{target}: left out, as it {why}: {listed(names)}.",) if names else ()
