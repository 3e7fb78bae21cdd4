"""How sure the differences of a table are, from its cells alone: over seeds, on these very test sets.

`launch.results.compared` says it of an experiment's targets and their languages over examples too; averages, which have
no examples of their own, are tested here.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eval.statistics import differences
from eval.statistics.differences import Compared, Difference
from eval.statistics.sequential import Looks
from eval.statistics.several import holm
from eval.tables.cells import Cell

LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
_SEED = 0  # of sampled permutations


@dataclass(frozen=True)
class Comparison:
    """A recipe's difference to `none`. `adjusted_p`: after Holm, over all comparisons of a table; None: one seed, or
    seeds that agree to the last digit, tell nothing of how far others would lie apart. `over_examples`: the interval is
    for other examples too, not for these test sets alone."""

    difference: Difference
    adjusted_p: float | None
    over_examples: bool

    @property
    def mark(self) -> str:
        p = self.adjusted_p
        return "" if p is None else next((stars for level, stars in LEVELS if p < level), "")


def of_cells(cells: Mapping[tuple[str, str], Cell], looks: Looks | None = None) -> dict[tuple[str, str], Comparison]:
    """By (recipe, column): of the cells that have a difference. Unadjusted: `adjusted` does that. `looks`: as
    `differences.of_target` says."""
    by_column: dict[str, list[str]] = defaultdict(list)
    for (recipe, column), cell in cells.items():
        if cell.differences:
            by_column[column].append(recipe)
    return {
        (recipe, column): Comparison(difference, None, False)
        for column, recipes in by_column.items()
        for recipe, difference in zip(
            recipes,
            differences.of_target(
                [Compared(np.array(cells[name, column].differences), None) for name in recipes], _SEED, looks
            ),
            strict=True,
        )
    }


def adjusted(comparisons: Mapping[tuple[str, str], Comparison]) -> dict[tuple[str, str], Comparison]:
    """The same with p-values for all of them together."""
    p_values = {cell: p for cell, comparison in comparisons.items() if (p := comparison.difference.p) is not None}
    together = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {
        cell: Comparison(comparison.difference, together.get(cell), comparison.over_examples)
        for cell, comparison in comparisons.items()
    }
