"""Whether what intermediate training gives and what prompts give add up, in one finding."""

from collections.abc import Sequence

from eval.studies.finding import Figure, Finding, listed, write_p
from eval.studies.prompts import effects as of_effects
from eval.studies.prompts import modes, tables
from eval.studies.prompts.effects import QUESTIONS, Effect
from eval.studies.prompts.modes import Target
from eval.studies.records import NONE, Results, show

NAME = "prompts"
_FEW = 10  # seeds: of fewer, Student's p does not bear luck of two peaks (docs/benchmarks.md#studies)


def find(results: Results) -> Finding:
    """Of all targets that have scores in two modes or more, and of all their recipes."""
    all_targets = modes.of_results(results)
    left_out = tuple(line for target in all_targets for line in target.left_out)
    targets = [target for target in all_targets if of_effects.comparisons(target)]
    if not targets:
        text = "Nothing can be said yet: no target was answered in two modes, such as by a trained head and by prompts."
        return Finding(NAME, text, (), (), left_out)
    sums, of_recipes, of_modes = (of_effects.of_targets(question, targets) for question in QUESTIONS)
    return Finding(
        NAME,
        _sentence(sums, of_recipes, of_modes),
        (*((tables.of_sums(sums),) if sums else ()),
         *(tables.of_scores(target) for target in targets),
         *((tables.of_recipes(of_recipes),) if of_recipes else ()),
         tables.of_modes(of_modes),
         tables.of_templates(targets)),
        _figures(targets, sums, of_recipes),
        (*_limits(targets, [*sums, *of_recipes, *of_modes]), *left_out),
    )  # fmt: skip


def _sentence(sums: Sequence[Effect], of_recipes: Sequence[Effect], of_modes: Sequence[Effect]) -> str:
    tested_sums = [effect for effect in sums if effect.adjusted_p is not None]
    if not tested_sums:
        lack = "no recipe has the scores" if not sums else f"of {_count(len(sums), 'sum')} none has two seeds"
        return f"Nothing could be tested: {lack} that show whether intermediate training and prompts add up."
    changes = f"Intermediate training was shown to change {_share(of_recipes)} scores, prompts {_share(of_modes)}."
    shown_sums = sorted(
        (effect for effect in tested_sums if effect.is_shown), key=lambda effect: -abs(effect.size.value)
    )
    if not shown_sums:
        ends = [abs(end) for effect in tested_sums for end in effect.size.interval or ()]
        return (
            "Intermediate training and prompts were not shown to give more or less than the sum of what each gives, in"
            f" any of {_count(len(tested_sums), 'test')}; the 95 % intervals leave room for {max(ends):.1f} points."
            f" {changes}"
        )
    shown_sums.sort(key=lambda effect: -abs(effect.size.value))
    names = [
        f"{show(effect.recipe)} on {effect.target.name}, {effect.base.label} to {effect.mode.label}"
        f" ({abs(effect.size.value):.1f} points {'more' if effect.size.value > 0 else 'less'} than the sum,"
        f" p (Holm) {write_p(effect.adjusted_p or 0.0)})"
        for effect in shown_sums
    ]
    return (
        f"Intermediate training and prompts do not add up in {len(names)} of {_count(len(tested_sums), 'test')}:"
        f" {listed(names)}. {changes}"
    )


def _share(effects: Sequence[Effect]) -> str:
    """How many are shown, of those that could be."""
    tested_effects = [effect for effect in effects if effect.adjusted_p is not None]
    return f"{sum(effect.is_shown for effect in effects)} of {len(tested_effects)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _figures(targets: Sequence[Target], sums: Sequence[Effect], of_recipes: Sequence[Effect]) -> tuple[Figure, ...]:
    by_target = {target.name: [e for e in of_recipes if e.target.name == target.name] for target in targets}
    return (
        *((tables.sums_figure(sums),) if sums else ()),
        *(tables.recipes_figure(name, effects) for name, effects in by_target.items() if effects),
        *(tables.scores_figure(target) for target in targets),
    )


def _limits(targets: Sequence[Target], effects: Sequence[Effect]) -> tuple[str, ...]:
    counts = sorted({effect.size.seeds for effect in effects if effect.adjusted_p is not None})
    lines = []
    if counts:
        seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        lines.append(
            f"Within each of {seeds} seeds, of trainings and of the demonstrations; test examples and templates are as"
            " they are. p and intervals are Student's, as if seeds' values were normal; no p by exchanged signs, which"
            f" takes them for symmetric alone, can be below {2.0 ** (1 - counts[-1]):.2g}."
        )
    if counts and counts[0] < _FEW:
        lines.append(
            f"With fewer than {_FEW} seeds p can be too small where some trainings fail and others do not: seeds then"
            " agree by chance."
        )
    lines.append("A sum is one of points: where a score has little room left, gains add up to less.")
    if constant_modes := _without_chance(targets):
        lines.append(
            f"What the start model answers without any training ({listed(constant_modes)} after none) has no seeds:"
            " what is held against it is tested over the other's seeds, and two such scores not at all."
        )
    if cells := _not_above_majority(targets):
        lines.append(f"No better than always the majority class: {listed(cells)}.")
    lines.append(
        "Words of templates and answers are English unless the file asks for the target's language, whose words nobody"
        " here checked as a speaker."
    )
    return tuple(lines)


def _without_chance(targets: Sequence[Target]) -> list[str]:
    constant_modes = [mode.label for target in targets for mode in target.by_mode
                      if target.mean(mode, NONE) is not None and not target.has_seeds(mode, NONE)]  # fmt: skip
    return list(dict.fromkeys(constant_modes))


def _not_above_majority(targets: Sequence[Target]) -> list[str]:
    return [
        f"{show(recipe)}, {mode.label} on {target.name} ({mean:.1f}; majority {target.majority:.1f})"
        for target in targets
        for mode in target.by_mode
        for recipe in target.recipes
        if target.majority is not None and (mean := target.mean(mode, recipe)) is not None and mean <= target.majority
    ]
