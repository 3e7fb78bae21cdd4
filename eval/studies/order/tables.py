"""The order study's effects as tables and figures."""

from collections.abc import Sequence

import numpy as np

from eval.statistics.several import holm
from eval.studies.finding import Column, Estimate, Estimates, Matrix, Table
from eval.studies.means import Mean, mean
from eval.studies.order import forgetting
from eval.studies.order.design import Design, follows
from eval.studies.order.effects import Agreement, Effect, Seeds
from eval.studies.order.forgetting import Forgetting
from eval.studies.records import NONE, Recipe, show
from eval.studies.transfer import Transfer

LEVEL = 0.05
_TESTED = "p: by permutation within seeds, of whole branches of runs that share trainings; p (Holm) for all rows."


def of_agreements(agreements: Sequence[Agreement], seeds: Sequence[Seeds], design: Design) -> Table:
    """Whether order matters, a row a target and question."""
    by_target = {of_target.target: of_target for of_target in seeds}
    rows = []
    for agreement in agreements:
        deviations = deviations_of(by_target[agreement.target], design)
        best, worst = max(deviations, key=deviations.__getitem__), min(deviations, key=deviations.__getitem__)
        rows.append((agreement.target, agreement.question, deviations[best] - deviations[worst], show(best),
                     show(worst), agreement.p, agreement.adjusted_p))  # fmt: skip
    return Table(
        "Does order matter?",
        (Column("target", "text"), Column("question", "text"), Column("best less worst", "difference"),
         Column("best order", "text"), Column("worst order", "text"), Column("p", "p"), Column("p (Holm)", "p")),
        tuple(rows),
        ("p: whether seeds agree on which orders are better, more than branches of runs permuted within seeds do.",
          "The best and the worst of several always lie apart: that they do shows nothing. By the mean of what an order"
         " scores over all of its seed's orders."),
    )  # fmt: skip


def of_effects(target: str, effects: Sequence[Effect]) -> Table:
    """Position, neighbours and recency (`last`), a row an effect."""
    rows = tuple(
        (effect.contrast.label, effect.size.value, effect.size.interval, effect.size.seeds, effect.p, effect.adjusted_p)
        for effect in effects
    )
    return Table(
        f"Effects of position and neighbours on {target}",
        (Column("effect", "text"), Column("points", "difference"), Column("95 %", "interval"),
         Column("seeds", "count"), Column("p", "p"), Column("p (Holm)", "p")),
        rows,
        ("A task at a place: the mean over those orders less the mean over the other orders; `a just before b`: less",
         f"those with b just before a. Intervals: Student's over seeds, of each row alone. {_TESTED}"),
    )  # fmt: skip


def effects_figure(target: str, effects: Sequence[Effect]) -> Estimates:
    return Estimates(f"Effects of order on {target}", "points", tuple(
        Estimate(effect.contrast.label, effect.size.value, effect.size.interval, effect.contrast.kind,
                 effect.adjusted_p < LEVEL)
        for effect in effects
    ))  # fmt: skip


def of_orders(transfer: Transfer, seeds: Seeds, design: Design) -> Table:
    """Each order, what its positions alone would give, and what is left: the interaction."""
    present = [order for order in design.orders if transfer.mean(order) is not None]
    additive = _additive([centred_mean(seeds, order) for order in present], present, design)
    rows = []
    for order, by_positions in zip(present, additive, strict=True):
        deviation = centred_mean(seeds, order)
        left_over = None if by_positions is None or deviation is None else deviation - by_positions
        gains = mean(list(transfer.differences(order, NONE).values()))
        gain = gains.value if gains else None
        rows.append((show(order), transfer.mean(order), gain, deviation, by_positions, left_over,
                     len(transfer.seeds(order))))  # fmt: skip
    return Table(
        f"Orders on {transfer.target}",
        (Column("order", "text"), Column("score", "score"), Column("over none", "difference"),
         Column("over all orders", "difference"), Column("by positions", "difference"),
         Column("interaction", "difference"), Column("seeds", "count")),
        tuple(rows),
        ("over all orders: less the mean of the same seed's orders; by positions: the least-squares sum of an effect",
         "of each task at each place; interaction: what that sum leaves."),
    )  # fmt: skip


def centred_mean(seeds: Seeds, order: Recipe) -> float | None:
    """An order's score less the mean over the same seed's orders, mean over seeds."""
    values = [
        float(block.scores[runs.index(order)] - block.scores.mean())
        for block, runs in zip(seeds.blocks, seeds.runs, strict=True)
        if order in runs
    ]
    return float(np.mean(values)) if values else None


def deviations_of(seeds: Seeds, design: Design) -> dict[Recipe, float]:
    """Of each order that some seed has: `centred_mean`."""
    return {order: deviation for order in design.orders if (deviation := centred_mean(seeds, order)) is not None}


def _additive(deviations: Sequence[float | None], orders: Sequence[Recipe], design: Design) -> list[float | None]:
    """What positions alone give; None where there are no more orders than such effects to fit."""
    tasks = [[order[place] == (task,) for place in range(len(order)) for task in design.tasks] for order in orders]
    matrix = np.column_stack([np.ones(len(orders)), np.array(tasks, float)])
    known_rows = [at for at, deviation in enumerate(deviations) if deviation is not None]
    if len(known_rows) <= np.linalg.matrix_rank(matrix[known_rows]):
        return [None] * len(orders)
    coefficients = np.linalg.lstsq(
        matrix[known_rows], np.array([deviations[at] for at in known_rows], float), rcond=None
    )[0]
    return [float(row @ coefficients) if at in known_rows else None for at, row in enumerate(matrix)]


def neighbours_figure(target: str, seeds: Seeds, design: Design) -> Matrix:
    """The mean of orders in which the row's task is trained just before the column's."""
    deviations = deviations_of(seeds, design)
    values = tuple(
        tuple(_mean([value for order, value in deviations.items() if follows(order, earlier, later)])
              for later in design.tasks)
        for earlier in design.tasks
    )  # fmt: skip
    return Matrix(f"{target}: row just before column, over all orders", "points", design.tasks, design.tasks, values)


def of_controls(transfer: Transfer, design: Design) -> Table | None:
    """The mean over orders beside recipes of the same tasks; None where there are none."""
    rows: list[tuple[Recipe, float, Mean]] = []
    for control in design.controls:
        score, difference = transfer.mean(control), mean(_over(transfer, control, design))
        if score is not None and difference is not None:
            rows.append((control, score, difference))
    if not rows:
        return None
    p_values = [difference.p for _, _, difference in rows if difference.p is not None]
    adjusted_values = iter(holm(p_values))
    return Table(
        f"The mean over orders beside other recipes on {transfer.target}",
        (Column("recipe", "text"), Column("tasks trained", "count"), Column("score", "score"),
         Column("orders over it", "difference"), Column("95 %", "interval"), Column("seeds", "count"),
         Column("p", "p"), Column("p (Holm)", "p")),
        tuple(
            (show(control), sum(map(len, control)), score, difference.value, difference.interval, difference.seeds,
             difference.p, None if difference.p is None else next(adjusted_values))
            for control, score, difference in rows
        ),
        ("orders over it: the mean over orders less this recipe, of the same seed, over seeds that have all orders; a",
         "t test over seeds. Where as many tasks were trained, one repeatedly or all jointly, training was as long, if",
         "tasks are equally long (`stepstone plan` says it); where fewer were, it was shorter."),
    )  # fmt: skip


def _over(transfer: Transfer, control: Recipe, design: Design) -> list[float]:
    """By seed that has all orders of the design and the control."""
    by_order = [transfer.differences(order, control) for order in design.orders if transfer.mean(order) is not None]
    seeds = set.intersection(*(set(differences) for differences in by_order)) if by_order else set()
    return [float(np.mean([differences[seed] for differences in by_order])) for seed in sorted(seeds, key=str)]


def of_forgetting(values: Sequence[Forgetting]) -> Table:
    """A row an earlier task and how many steps were trained since."""
    means = sorted(forgetting.by(values, lambda value: (value.task, value.steps)),
                   key=lambda entry: (entry[0].task, entry[0].steps))  # fmt: skip
    adjusted_values = iter(holm([size.p for _, size in means if size.p is not None]))
    return Table(
        "Forgetting on English dev",
        (Column("task", "text"), Column("steps since", "count"), Column("forgotten", "difference"),
         Column("95 %", "interval"), Column("seeds", "count"), Column("p", "p"), Column("p (Holm)", "p")),
        tuple(
            (value.task, value.steps, size.value, size.interval, size.seeds, size.p,
             None if size.p is None else next(adjusted_values))
            for value, size in means
        ),
        ("forgotten: the best dev score so far less that at the end (Chaudhry et al. 2018), points; below 0 it rose.",
         "The head is as it was when the task was trained: it is forgetting by encoder and head together. A t test"
         " over seeds."),
    )  # fmt: skip


def forgetting_figure(values: Sequence[Forgetting]) -> Matrix:
    means = {
        (value.task, " + ".join(value.last)): size.value
        for value, size in forgetting.by(values, lambda value: (value.task, value.last))
    }
    tasks, lasts = sorted({task for task, _ in means}), sorted({last for _, last in means})
    return Matrix("Forgotten of the row's task when the column is trained last", "points", tuple(tasks), tuple(lasts),
                  tuple(tuple(means.get((task, last)) for last in lasts) for task in tasks))  # fmt: skip


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
