"""Scores by recipe and mode, and their effects, as tables and figures."""

from collections.abc import Sequence

from eval.studies.finding import Column, Estimate, Estimates, Matrix, Table, Value
from eval.studies.means import mean
from eval.studies.prompts.effects import Effect
from eval.studies.prompts.modes import Mode, Target, Term
from eval.studies.records import NONE, Recipe, show

_TESTED = (
    "95 % and p: Student's, over seeds; p (signs): exact, the sign of every seed's value exchanged;",
    "p (Holm): of p, for all rows of this table.",
)
_OF_TESTS = (Column("95 %", "interval"), Column("p", "p"), Column("p (signs)", "p"), Column("p (Holm)", "p"))


def of_sums(effects: Sequence[Effect]) -> Table:
    """A row a target, recipe and comparison: what each adds, both together, and what that is beyond the sum."""
    return Table(
        "Do they add up?",
        (Column("target", "text"), Column("recipe", "text"), Column("from", "text"), Column("to", "text"),
         Column("seeds", "count"), Column("by the recipe", "difference"), Column("by prompts", "difference"),
         Column("together", "difference"), Column("beyond the sum", "difference"), *_OF_TESTS),
        tuple((effect.target.name, show(effect.recipe), effect.base.label, effect.mode.label, effect.size.seeds,
               effect.part(effect.base, effect.recipe), effect.part(effect.mode, NONE),
               effect.part(effect.mode, effect.recipe), effect.size.value, *_tests(effect)) for effect in effects),
        ("Points over none in the mode `from`: of the recipe there, of the mode `to` after none, of both. What is",
         "beyond the sum of the first two is the interaction; 0: they add up.", *_TESTED),
    )  # fmt: skip


def of_recipes(effects: Sequence[Effect]) -> Table:
    return Table(
        "What intermediate training changes, by mode",
        (Column("target", "text"), Column("mode", "text"), Column("recipe", "text"), Column("seeds", "count"),
         Column("over none", "difference"), *_OF_TESTS),
        tuple((effect.target.name, effect.mode.label, show(effect.recipe), effect.size.seeds, effect.size.value,
               *_tests(effect)) for effect in effects),
        _TESTED,
    )  # fmt: skip


def of_modes(effects: Sequence[Effect]) -> Table:
    return Table(
        "What prompts change, by recipe",
        (Column("target", "text"), Column("from", "text"), Column("to", "text"), Column("recipe", "text"),
         Column("seeds", "count"), Column("change", "difference"), *_OF_TESTS),
        tuple((effect.target.name, effect.base.label, effect.mode.label, show(effect.recipe), effect.size.seeds,
               effect.size.value, *_tests(effect)) for effect in effects),
        _TESTED,
    )  # fmt: skip


def of_scores(target: Target) -> Table:
    """A row a recipe; of each mode the score, and what a recipe has over none."""
    columns = [Column("recipe", "text")]
    for mode in target.by_mode:
        columns += [Column(mode.label, "score"), Column(f"{mode.label}: over none", "difference"),
                    Column(f"{mode.label}: 95 %", "interval")]  # fmt: skip
    constant_answers = (("majority class", target.majority), ("chance", target.chance))
    rows: list[tuple[Value, ...]] = [(show(recipe), *_cells(target, recipe)) for recipe in target.recipes]
    rows += [
        (name, *(cell for _ in target.by_mode for cell in (score, None, None))) for name, score in constant_answers
    ]
    return Table(
        f"Scores on {target.name}",
        tuple(columns),
        tuple(rows),
        (f"Zero-shot: mean over {len(target.languages)} languages but English, and over seeds; of prompts also over",
         "templates. 95 %: Student's, over seeds. `N shown`: answered English examples before each question."),
    )  # fmt: skip


def of_templates(targets: Sequence[Target]) -> Table:
    """A row a prompted mode and recipe."""
    rows: list[tuple[Value, ...]] = []
    for target in targets:
        for mode in target.by_mode:
            for recipe in target.recipes:
                scores = target.templates(mode, recipe)
                if scores is not None:
                    rows.append((target.name, mode.label, show(recipe), scores.mean, scores.best, scores.worst,
                                 scores.best - scores.worst, target.majority, target.chance))  # fmt: skip
    return Table(
        "Spread over templates",
        (Column("target", "text"), Column("mode", "text"), Column("recipe", "text"), Column("mean", "score"),
         Column("best", "score"), Column("worst", "score"), Column("best less worst", "difference"),
         Column("majority class", "score"), Column("chance", "score")),
        tuple(rows),
        ("The best and the worst are chosen in every language and seed, on the very examples that they are scored on.",
         "Of `both` only the first template was trained on. Nothing is tested here."),
    )  # fmt: skip


def sums_figure(effects: Sequence[Effect]) -> Estimates:
    return Estimates("Beyond the sum of intermediate training and prompts", "points", tuple(
        Estimate(f"{effect.target.name}: {show(effect.recipe)}, {effect.base.label} to {effect.mode.label}",
                 effect.size.value, effect.size.interval, effect.target.name, effect.is_shown)
        for effect in effects
    ))  # fmt: skip


def recipes_figure(target: str, effects: Sequence[Effect]) -> Estimates:
    """What each recipe changes, mode by mode."""
    return Estimates(f"Recipes on {target} against none, by mode", "points", tuple(
        Estimate(f"{show(effect.recipe)}: {effect.mode.label}", effect.size.value, effect.size.interval,
                 show(effect.recipe), effect.is_shown)
        for effect in sorted(effects, key=lambda effect: show(effect.recipe))
    ))  # fmt: skip


def scores_figure(target: Target) -> Matrix:
    return Matrix(
        f"Scores on {target.name} by recipe and mode",
        "percent",
        tuple(show(recipe) for recipe in target.recipes),
        tuple(mode.label for mode in target.by_mode),
        tuple(tuple(target.mean(mode, recipe) for mode in target.by_mode) for recipe in target.recipes),
    )


def _tests(effect: Effect) -> tuple[Value, ...]:
    return effect.size.interval, effect.size.p, effect.signs_p, effect.adjusted_p


def _cells(target: Target, recipe: Recipe) -> list[Value]:
    cells: list[Value] = []
    for mode in target.by_mode:
        gain = _gain(target, mode, recipe)
        cells += [target.mean(mode, recipe), gain[0], gain[1]]
    return cells


def _gain(target: Target, mode: Mode, recipe: Recipe) -> tuple[float | None, tuple[float, float] | None]:
    gains = target.sums([Term(1, mode, recipe), Term(-1, mode, NONE)]) if recipe != NONE else {}
    size = mean(list(gains.values()))
    return (size.value, size.interval) if size else (None, None)
