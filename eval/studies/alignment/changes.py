"""What recipes change in alignment, with intervals and tests over seeds; and whether that goes with transfer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eval.statistics import correlations
from eval.statistics.correlations import Unit
from eval.statistics.several import holm
from eval.studies import transfer as transfers
from eval.studies.alignment.domains import Domain
from eval.studies.correlation.pairs import ALL, Paired
from eval.studies.means import Mean, mean
from eval.studies.records import Recipe, Run

LEVEL = 0.05


@dataclass(frozen=True)
class Change:
    """A recipe's mean change over languages, at the layer that scores are of. `adjusted_p`: for its measure's table."""

    domain: Domain
    recipe: Recipe
    change: Mean
    adjusted_p: float | None = None

    @property
    def is_shown(self) -> bool:
        return self.adjusted_p is not None and self.adjusted_p < LEVEL


def of_domains(domains: Sequence[Domain]) -> tuple[Change, ...]:
    """Of domains under one measure: a family of tests."""
    changes = [
        Change(domain, recipe, change)
        for domain in domains
        for recipe in domain.recipes
        if (change := mean([float(cell[:, 0].mean()) for cell in domain.changes(recipe).values()]))
    ]
    adjusted_values = iter(holm([change.change.p for change in changes if change.change.p is not None]))
    return tuple(
        replace(change, adjusted_p=None if change.change.p is None else next(adjusted_values)) for change in changes
    )


def with_transfer(domains: Sequence[Domain], runs: Sequence[Run]) -> tuple[Paired, ...]:
    """Each recipe's change of alignment beside its gain over `none` on every other target, of at least as many recipes
    as a coefficient needs; seeds that have both."""
    names = {domain.name for domain in domains}
    pairs = []
    for transfer in transfers.of_targets([run for run in runs if run.target not in names]):
        for domain in domains:
            units: dict[Recipe, Unit] = {}
            for recipe in domain.recipes:
                gains, changes = transfer.differences(recipe), domain.changes(recipe)
                seeds = [seed for seed in changes if seed in gains]
                if seeds:
                    changes_of_seeds = np.array([changes[seed][:, 0].mean() for seed in seeds])
                    units[recipe] = Unit(changes_of_seeds, np.array([gains[seed] for seed in seeds]))
            if len(units) >= correlations.LEAST:
                metric = f"{domain.measure}, {domain.name}"
                pairs.append(Paired(transfer.target, ALL, metric, "gain", tuple(units), tuple(units.values())))
    return tuple(pairs)
