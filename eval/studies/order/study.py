"""What the orders of the same tasks say, in one finding."""

from collections.abc import Sequence
from math import factorial

import numpy as np

from eval.statistics import power
from eval.studies import transfer as transfers
from eval.studies.finding import Figure, Finding, Table, listed, write_p
from eval.studies.order import design as designs
from eval.studies.order import forgetting, tables
from eval.studies.order.design import Design
from eval.studies.order.effects import Agreement, Effect, Seeds, agreements, effects, seeds_of
from eval.studies.order.tables import LEVEL
from eval.studies.records import Results, show

NAME = "order"


def find(results: Results) -> Finding:
    """Of the largest set of tasks that recipes have several orders of; the caller leaves out what shall not count."""
    recipes = transfers.recipes_of(results.runs)
    design = designs.of_recipes(recipes)
    if design is None:
        return Finding(NAME, "Nothing can be said yet: no two recipes are orders of the same tasks.", (), (), ())
    all_targets = transfers.of_targets(results.runs)
    of_targets = [t for t in all_targets if any(t.seeds(order) for order in design.orders)]
    seeds = [seeds_of(of_target, design) for of_target in of_targets]
    of_effects = [effects(of_target, design) for of_target in seeds]
    of_agreements = agreements(seeds, design)
    forgotten = forgetting.of_recipes((*design.orders, *design.controls), results.dev_points)
    return Finding(
        NAME,
        _sentence(design, seeds, of_effects, of_agreements),
        _tables(design, of_targets, seeds, of_effects, of_agreements, forgotten.values),
        _figures(design, seeds, of_effects, forgotten.values),
        (
            *_limits(design, seeds, of_effects),
            *_missing(forgotten),
            *(line for target in all_targets for line in target.left_out),
        ),
    )


def _sentence(
    design: Design, seeds: Sequence[Seeds], of_effects: Sequence[Sequence[Effect]], tests: Sequence[Agreement]
) -> str:
    names = f"{', '.join(design.tasks[:-1])} and {design.tasks[-1]}"
    if not tests:
        return f"Whether the order of {names} matters cannot be said: no target has two seeds with at least two orders."
    tested_targets = list(dict.fromkeys(test.target for test in tests))
    shown_targets = {
        test.target: test for test in sorted(tests, key=lambda t: -t.adjusted_p) if test.adjusted_p < LEVEL
    }
    largest = _largest(seeds, of_effects, list(shown_targets))
    if not shown_targets:
        smallest = write_p(min(test.adjusted_p for test in tests))
        return (f"That the order of {names} matters was not shown on any of {_count(tested_targets)}"
                f" (smallest p after Holm {smallest}){largest}.")  # fmt: skip
    places = listed([f"{target} (p {_equal(test.adjusted_p)} after Holm)" for target, test in shown_targets.items()])
    share = f"{len(shown_targets)} of {_count(tested_targets)}"
    return f"The order of {names} changed zero-shot transfer on {share}: {places}{largest}."


def _largest(seeds: Sequence[Seeds], of_effects: Sequence[Sequence[Effect]], targets: Sequence[str]) -> str:
    """Of targets on which order matters at all, so that the number of targets makes no effect likelier."""
    shown_effects = [(abs(effect.size.value), effect.size.value, effect.contrast.label, of_target.target)
             for of_target, target_effects in zip(seeds, of_effects, strict=True)
             for effect in target_effects if effect.adjusted_p < LEVEL and of_target.target in targets]  # fmt: skip
    if not shown_effects:
        return "; no single effect of a place or of neighbours was shown"
    _, value, label, target = max(shown_effects)
    return f"; the largest effect shown is {value:+.1f} points for {label}, on {target}"


def _tables(
    design: Design,
    of_targets: Sequence[transfers.Transfer],
    seeds: Sequence[Seeds],
    of_effects: Sequence[Sequence[Effect]],
    tests: Sequence[Agreement],
    forgotten: Sequence[forgetting.Forgetting],
) -> tuple[Table, ...]:
    of_all = [tables.of_agreements(tests, seeds, design)] if tests else []
    for of_target, of_seeds, target_effects in zip(of_targets, seeds, of_effects, strict=True):
        if target_effects:
            of_all.append(tables.of_effects(of_target.target, target_effects))
        of_all.append(tables.of_orders(of_target, of_seeds, design))
        controls = tables.of_controls(of_target, design)
        of_all += [controls] if controls else []
    return (*of_all, *([tables.of_forgetting(forgotten)] if forgotten else []))


def _figures(
    design: Design,
    seeds: Sequence[Seeds],
    of_effects: Sequence[Sequence[Effect]],
    forgotten: Sequence[forgetting.Forgetting],
) -> tuple[Figure, ...]:
    figures: list[Figure] = []
    for of_target, target_effects in zip(seeds, of_effects, strict=True):
        if target_effects:
            figures.append(tables.effects_figure(of_target.target, target_effects))
            figures.append(tables.neighbours_figure(of_target.target, of_target, design))
    return (*figures, *([tables.forgetting_figure(forgotten)] if forgotten else []))


def _limits(design: Design, seeds: Sequence[Seeds], of_effects: Sequence[Sequence[Effect]]) -> tuple[str, ...]:
    every, there = factorial(len(design.tasks)), len(design.orders)
    fewest = min((len(of_target.blocks) for of_target in seeds), default=0)
    lines = [f"{there} of {every} orders of {len(design.tasks)} tasks, {_seeds(seeds)}; these tasks alone, at the "
             "lengths and learning rates that they were trained with."]  # fmt: skip
    if len(design.tasks) == 2 and fewest:
        lines.append(f"Seeds can but agree that one order is the better: with {fewest} seed{'s' * (fewest > 1)} no p is"
                     f" below {2 * 2.0**-fewest:.2g}.")  # fmt: skip
    if len(design.tasks) > 2 and fewest:
        lines.append(
            f"Orders that begin with the same task share its training, so what a task does first rests on one training"
            f" per task and seed: with {fewest} seed{'s' * (fewest > 1)} no p of it is below "
            f"{len(design.tasks) ** -fewest:.2g}, before Holm."
        )
    detectable = [power.detectable(effect.size.error) for of_target in of_effects for effect in of_target
                  if effect.size.error is not None]  # fmt: skip
    if detectable:
        lines.append(
            f"An effect that was not shown may be there: one below about {np.median(detectable):.1f} points (median of"
            " all effects) would be missed more often than one time in five, even before Holm."
        )
    lines += [
        f"{of_target.target}: of {of_target.missing + sum(map(len, of_target.runs))} runs of orders {of_target.missing}"
        " not there; effects are of the orders that each seed has, so that one may show another's."
        for of_target in seeds
        if of_target.missing
    ]
    if not any(len(control) == len(design.tasks) for control in design.controls):
        first = design.tasks[0]
        lines.append(f"No control repeats a task ({show(((first,),) * len(design.tasks))}): that several tasks help and"
                     " that longer training does is not told apart.")  # fmt: skip
    return tuple(lines)


def _missing(forgotten: forgetting.Scored) -> tuple[str, ...]:
    names = [f"{task} after {show(recipe)} (seed {seed})" for recipe, task, seed in forgotten.missing]
    return (f"Forgetting lacks dev scores of {listed(names)}.",) if names else ()


def _seeds(seeds: Sequence[Seeds]) -> str:
    if not seeds:
        return "no zero-shot score of them that counts"
    counts = sorted({len(of_target.blocks) for of_target in seeds})
    text = "–".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    return f"{text} seed{'s' * (text != '1')} of each target"


def _count(targets: Sequence[str]) -> str:
    return f"{len(targets)} target{'s' * (len(targets) > 1)}"


def _equal(p: float) -> str:
    return write_p(p) if p < 0.001 else f"= {write_p(p)}"
