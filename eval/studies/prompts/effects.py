"""What recipes change in a mode, what a mode changes of a recipe, and what both together give beyond their sum.

All within each seed, whose trainings share their luck; intervals and p are Student's over seeds. Beside them the exact
permutation test: the sign of every seed's value exchanged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from eval.statistics import permutation
from eval.statistics.several import holm
from eval.studies.means import Mean, mean
from eval.studies.prompts.modes import FINE_TUNE, Mode, Target, Term
from eval.studies.records import NONE, Recipe

LEVEL = 0.05
_SEED = 0  # of drawn signs, where there are too many to try all
Question = Literal["recipe", "mode", "beyond the sum"]
QUESTIONS: tuple[Question, ...] = ("beyond the sum", "recipe", "mode")


@dataclass(frozen=True)
class Effect:
    """`recipe`: over `none`, in `mode`. `mode`: over `base`, after the recipe. `beyond the sum`: the first in `mode`
    less the first in `base`, which is the interaction. `signs_p`: of exchanged signs; `adjusted_p`: over all effects
    of the question, on all targets."""

    question: Question
    target: Target
    recipe: Recipe
    base: Mode
    mode: Mode
    size: Mean
    signs_p: float | None
    adjusted_p: float | None = None

    @property
    def is_shown(self) -> bool:
        return self.adjusted_p is not None and self.adjusted_p < LEVEL

    def part(self, mode: Mode, recipe: Recipe) -> float:
        """A mode after a recipe over the base after `none`: mean over the seeds that have all four scores."""
        of_seeds = self.target.sums(_terms("beyond the sum", self.recipe, self.base, self.mode))
        sums = self.target.sums([Term(1, mode, recipe), Term(-1, self.base, NONE)])
        return float(np.mean([sums.get(seed, sums.get(None, np.nan)) for seed in of_seeds]))


def of_targets(question: Question, targets: Sequence[Target]) -> tuple[Effect, ...]:
    """A family of tests."""
    effects = [effect for target in targets for effect in _of_target(question, target)]
    p_values = [effect.size.p for effect in effects]
    adjusted_values = iter(holm([p for p in p_values if p is not None]))
    return tuple(
        replace(effect, adjusted_p=None if p is None else next(adjusted_values))
        for effect, p in zip(effects, p_values, strict=True)
    )


def comparisons(target: Target) -> tuple[tuple[Mode, Mode], ...]:
    """The base and the mode that is held against it: each prompted one against fine-tuning, and of one kind those with
    more demonstrations against the fewest."""
    prompted_modes = [mode for mode in target.by_mode if mode != FINE_TUNE]
    against_head = [(FINE_TUNE, mode) for mode in prompted_modes] if FINE_TUNE in target.by_mode else []
    fewest = {mode.kind: mode for mode in sorted(prompted_modes, reverse=True)}
    return (*against_head, *((fewest[mode.kind], mode) for mode in prompted_modes if mode != fewest[mode.kind]))


def _of_target(question: Question, target: Target) -> Iterator[Effect]:
    further_recipes = [recipe for recipe in target.recipes if recipe != NONE]
    match question:
        case "recipe":
            cells = [(recipe, mode, mode) for mode in target.by_mode for recipe in further_recipes]
        case "mode":
            cells = [(recipe, *modes) for modes in comparisons(target) for recipe in target.recipes]
        case "beyond the sum":
            # A prompt in the place of a trained head is no addition to it.
            additions = [
                (base, mode) for base, mode in comparisons(target) if (base, mode.kind) != (FINE_TUNE, "prompt")
            ]
            cells = [(recipe, *modes) for modes in additions for recipe in further_recipes]
    for recipe, base, mode in cells:
        values = list(target.sums(_terms(question, recipe, base, mode)).values())
        size = mean(values)
        if size is not None:
            signs_p = permutation.signs(np.array(values), _SEED) if len(values) > 1 else None
            yield Effect(question, target, recipe, base, mode, size, signs_p)


def _terms(question: Question, recipe: Recipe, base: Mode, mode: Mode) -> list[Term]:
    match question:
        case "recipe":
            return [Term(1, mode, recipe), Term(-1, mode, NONE)]
        case "mode":
            return [Term(1, mode, recipe), Term(-1, base, recipe)]
        case "beyond the sum":
            return [Term(1, mode, recipe), Term(-1, mode, NONE), Term(-1, base, recipe), Term(1, base, NONE)]
