"""What racing (`seeds: {min: 2, max: 10, until: 0.5}`) finds wrongly, and what it costs: by simulation, `make racing`.

An experiment of 8 recipes and `none` on 4 targets. A run's score is its recipe's effect on the target and the luck of
its seed, normal or with the heavy tails of Student's t with 3 degrees of freedom, as large on each recipe or not. It is
raced by the rule that `submit` goes by, and compared with what all 10 seeds say, tested once (Student's interval, of
95 % for a difference, of 90 % for none that matters; its variance moderated over a target's recipes). A training on a
target with its evaluation costs as much as the training of a recipe, which its targets share; none's seeds are counted.
"""

import argparse
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from eval.statistics import seeds
from eval.statistics.sequential import Looks, Rule

_RECIPES, _TARGETS, _TAIL = 8, 4, 3
RULE = Rule(Looks(2, 10), 0.5)
Effects = Literal["mixed", "none", "0.5"]
Scores = NDArray[np.float64]  # (targets, recipes, seeds), in points


@dataclass(frozen=True)
class World:
    """What is true. `luck`: a seed's standard deviation, in points; `uneven`: that of its logarithm over recipes."""

    effects: Effects
    luck: float
    uneven: float = 0.0
    heavy: bool = False

    def __str__(self) -> str:
        tails = "heavy" if self.heavy else "normal"
        return f"{self.effects:<7} {self.luck:>5.1f} {self.uneven:>7.1f}  {tails:<6}"


@dataclass
class Tally:
    """Counts of pairs, and hours."""

    pairs: int = 0
    without_effect: int = 0
    false_different: int = 0  # of those without an effect
    beyond: int = 0  # pairs whose effect is `until` or more
    false_equal: int = 0  # of those
    missed: int = 0  # pairs of which some look, up to the last that was taken, did not hold the truth
    alike: int = 0  # pairs of which all seeds say the same
    left_open: int = 0  # pairs that are open, and all seeds decide
    opposite: int = 0  # pairs that are decided, and all seeds decide otherwise
    hours: float = 0.0
    all_hours: float = 0.0


def measure(world: World, experiments: int, seed: int) -> Tally:
    """Simulate `experiments` of this world."""
    random, tally = np.random.default_rng(seed), Tally()
    for _ in range(experiments):
        effects = _effects(world, random)
        differences = _differences(world, random) + effects[:, :, None]
        counts = np.zeros((_TARGETS, _RECIPES), np.int64)
        for target in range(_TARGETS):
            of_all = _of_all_seeds(differences[target])
            for recipe in range(_RECIPES):
                of_pair, effect = differences[target, recipe], float(effects[target, recipe])
                counts[target, recipe] = _count(tally, of_pair, effect, of_all[recipe])
        # Trainings on targets, none's with them; trainings of recipes, of each as many as its hungriest target needs.
        tally.hours += float(counts.sum() + counts.max(axis=1).sum() + counts.max(axis=0).sum())
        tally.all_hours += RULE.looks.last * (_TARGETS * (_RECIPES + 1) + _RECIPES)
    return tally


def _effects(world: World, random: np.random.Generator) -> NDArray[np.float64]:
    shape = (_TARGETS, _RECIPES)
    if world.effects == "mixed":
        return np.where(random.random(shape) < 0.3, 0.0, random.uniform(-1, 3, shape))
    return np.full(shape, 0.0 if world.effects == "none" else float(world.effects))


def _differences(world: World, random: np.random.Generator) -> Scores:
    shape = (_TARGETS, _RECIPES + 1, RULE.looks.last)
    if world.heavy:
        luck = random.standard_t(_TAIL, shape) / np.sqrt(_TAIL / (_TAIL - 2))
    else:
        luck = random.standard_normal(shape)
    luck *= world.luck * np.exp(random.normal(0, world.uneven, shape[:2]))[:, :, None]
    return np.asarray(luck[:, 1:] - luck[:, :1])


def _of_all_seeds(differences: NDArray[np.float64]) -> list[tuple[float, bool]]:
    """Of each recipe: the sign of a difference that is shown (0: none), and whether it is shown to be within ±`until`.
    `differences`: (recipes, seeds)."""
    count, alpha = differences.shape[1], RULE.alpha
    variances = seeds.moderated(differences.var(axis=1, ddof=1), np.full(len(differences), count - 1.0))
    conclusions = []
    for mean, variance in zip(differences.mean(axis=1), variances, strict=True):
        error = np.sqrt(variance.value / count)
        is_different = abs(mean) > special.stdtrit(variance.freedom, 1 - alpha / 2) * error
        is_equal = abs(mean) + special.stdtrit(variance.freedom, 1 - alpha) * error <= RULE.until
        conclusions.append((float(np.sign(mean)) if is_different else 0.0, bool(is_equal)))
    return conclusions


def _count(tally: Tally, differences: NDArray[np.float64], effect: float, of_all: tuple[float, bool]) -> int:
    """Race a pair and count what came of it; how many seeds it took."""
    look = RULE.last_look(differences)
    assert look is not None
    all_different, all_equal = of_all
    raced_sign = np.sign(look.value) if look.conclusion == "different" else 0.0
    alike = {
        "different": raced_sign == all_different,
        "equal": all_equal,
        "open": not all_equal and not all_different,
    }[look.conclusion or "open"]
    tally.pairs += 1
    tally.alike += int(alike)
    all_decide = all_equal or all_different != 0
    tally.left_open += look.conclusion == "open" and all_decide
    tally.opposite += look.conclusion != "open" and not alike and all_decide
    tally.without_effect += effect == 0
    tally.false_different += effect == 0 and look.conclusion == "different"
    tally.beyond += abs(effect) >= RULE.until
    tally.false_equal += abs(effect) >= RULE.until and look.conclusion == "equal"
    tally.missed += _missed(differences[: look.seeds], effect)
    return look.seeds


def _missed(differences: NDArray[np.float64], effect: float) -> bool:
    """Whether the interval of some look excludes the truth."""
    for count in range(RULE.looks.first, len(differences) + 1):
        of_look = differences[:count]
        level = RULE.looks.level(count, RULE.alpha)
        half = special.stdtrit(count - 1, 1 - level / 2) * of_look.std(ddof=1) / np.sqrt(count)
        if abs(of_look.mean() - effect) > half:
            return True
    return False


WORLDS = (
    *(World("mixed", luck) for luck in (0.3, 0.5, 0.7, 1.0, 1.5)),
    *(World("mixed", luck, heavy=True) for luck in (0.3, 0.7, 1.5)),
    *(World("mixed", luck, uneven=0.7) for luck in (0.3, 0.7, 1.5)),
    *(World("none", luck) for luck in (0.3, 0.7, 1.5)),
    World("none", 0.7, heavy=True),
    World("none", 0.7, uneven=1.0),
    *(World("0.5", luck) for luck in (0.3, 0.7, 1.5)),
    World("0.5", 0.3, heavy=True),
    World("0.5", 0.3, uneven=1.0),
)


def _share(count: float, of: float) -> str:
    return f"{count / of:.1%}" if of else "-"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--experiments", type=int, default=400, help="simulated for each row")
    experiments = parser.parse_args().experiments
    print(f"{experiments} experiments a row, of {_RECIPES * _TARGETS} pairs; {RULE}")
    print(
        "effects  luck  uneven  tails   false different  false equal  some look wrong  as all seeds  left open", end=""
    )
    print("  opposite  hours")
    for world in WORLDS:
        tally = measure(world, experiments, seed=1)
        print(f"{world}  {_share(tally.false_different, tally.without_effect):>15}"
              f"  {_share(tally.false_equal, tally.beyond):>11}  {_share(tally.missed, tally.pairs):>15}"
              f"  {_share(tally.alike, tally.pairs):>12}  {_share(tally.left_open, tally.pairs):>9}"
              f"  {_share(tally.opposite, tally.pairs):>8}"
              f"  {_share(tally.hours, tally.all_hours):>5}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
