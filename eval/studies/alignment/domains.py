"""Measures of alignment by domain, recipe and seed: values of languages, and what recipes change."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.studies.finding import listed
from eval.studies.records import NONE, Recipe, Representation, Results, show
from eval.studies.transfer import Cell

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Domain:
    """One measure on one domain. `cells`: of each recipe and seed (languages, 1 + layers): the value that scores are
    of, then that of every layer; of those that have all languages and did not diverge."""

    name: str
    measure: str
    languages: tuple[str, ...]
    cells: Mapping[Cell, Vector]

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """Those that can be compared with `none`, in their order."""
        return tuple(dict.fromkeys(recipe for recipe, _ in self.cells if recipe != NONE and self.changes(recipe)))

    def baseline(self, seed: int | None) -> Vector | None:
        """What `none` has; where it owes nothing to chance, it stands for every seed."""
        return self.cells.get((NONE, seed), self.cells.get((NONE, None)))

    def changes(self, recipe: Recipe) -> dict[int | None, Vector]:
        """A recipe's cell less that of `none`, by seed: (languages, 1 + layers)."""
        return {
            seed: cell - before
            for (of_cell, seed), cell in self.cells.items()
            if of_cell == recipe and (before := self.baseline(seed)) is not None
        }


@dataclass(frozen=True)
class Domains:
    """`left_out`: what does not count, and why, in words."""

    of_measures: tuple[Domain, ...]
    left_out: tuple[str, ...]


def of_results(results: Results) -> Domains:
    """Every domain under every measure, in the records' order."""
    diverged_cells = {(run.recipe, run.seed, run.target) for run in results.runs if run.diverged}
    by_domain: dict[tuple[str, str], list[Representation]] = defaultdict(list)
    for record in results.representations:
        by_domain[record.domain, record.measure].append(record)
    domains, left_out = [], {}
    for (name, measure), records in by_domain.items():
        languages = tuple(sorted({record.language for record in records}))
        by_cell: dict[Cell, dict[str, Vector]] = defaultdict(dict)
        for record in records:
            by_cell[record.recipe, record.seed][record.language] = np.array([record.value, *record.curve])
        whole_cells = {
            cell: np.stack([of_cell[language] for language in languages])
            for cell, of_cell in by_cell.items()
            if len(of_cell) == len(languages) and (*cell, name) not in diverged_cells
        }
        domains.append(Domain(name, measure, languages, whole_cells))
        if missing := [cell for cell in by_cell if cell not in whole_cells]:
            names = [show(recipe) + (f" (seed {seed})" if seed is not None else "") for recipe, seed in missing]
            left_out[name] = f"{name}: left out, as they diverged or lack a language: {listed(names)}."
    return Domains(tuple(domains), tuple(left_out.values()))
