"""What a race will cost (`seeds: {min, max, until}`): with every pair decided at once, with none, and expected.

Expected under an assumption that is said, since nobody knows effects before: of every pair, how many seeds it takes
is simulated, pair by pair alone; a training that several need is run if any of them does.
"""

from collections import defaultdict
from dataclasses import dataclass

from eval.tables.baseline import baseline_of
from launch.estimate.cost import Estimates
from launch.experiment import Race
from launch.plan import Plan

ASSUMPTION = "3 of 10 differences 0, the others -1 to 3 points; seeds' standard deviation 0.3 to 1.5"
_DRAWS = 400


@dataclass(frozen=True)
class Hours:
    """Of the whole experiment, finished stages too. `device`: what the hours are of."""

    least: float
    most: float
    expected: float
    device: str


def hours(plan: Plan, estimates: Estimates) -> Hours:
    """What the race takes: all pairs with the least seeds, with the most, and as expected."""
    race = plan.experiment.race
    assert race is not None
    place = {seed: number for number, seed in enumerate(plan.experiment.seeds)}
    going_on = chances(race)
    rivals: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)  # by a baseline's cell
    for recipe, target, _ in plan.paths:
        if recipe != baseline_of(recipe):
            rivals[baseline_of(recipe), target].add((recipe, target))
    least = most = expected = 0.0
    for stage in plan.stages.values():
        cost = estimates.of_stage(stage).gpu_seconds / 3600
        seed = 0 if stage.seed is None else place[stage.seed]
        pairs = {pair for cell in plan.users[stage.key] for pair in rivals.get(cell, {cell})}
        most += cost
        least += cost if seed < race.min else 0.0
        expected += cost * (1 - (1 - going_on[seed]) ** len(pairs))
    return Hours(least, most, expected, "GPU" if estimates.cluster.gpus_asked_for else "CPU rank")


def chances(race: Race) -> list[float]:
    """That a pair takes its first, second, … seed."""
    import numpy as np

    from eval.statistics.sequential import Looks, Rule

    rule = Rule(Looks(race.min, race.max), race.until, race.alpha)
    random = np.random.default_rng(0)
    counts = np.zeros(race.max)
    for _ in range(_DRAWS):
        effect = 0.0 if random.random() < 0.3 else random.uniform(-1, 3)
        deviation = np.sqrt(2) * np.exp(random.uniform(np.log(0.3), np.log(1.5)))  # of a difference of two seeds
        look = rule.last_look(effect + deviation * random.standard_normal(race.max))
        assert look is not None
        counts[: look.seeds] += 1
    return [float(count) for count in counts / _DRAWS]
