"""What measures of intermediate tasks say of their gain, in one finding."""

from collections.abc import Sequence

import numpy as np
from scipy import special

from eval.studies import transfer as transfers
from eval.studies.complexity import regressions
from eval.studies.complexity.regressions import LEAST, Regression
from eval.studies.complexity.table import ALL, GroupGains, distinct, gains_of, measures_of
from eval.studies.finding import Column, Finding, Point, Scatter, Table, Value, listed, write_p
from eval.studies.records import Results

NAME = "complexity"
LEVEL = 0.05


def find(results: Results) -> Finding:
    """Of recipes that are one task alone, with measures of the task and a gain over `none`."""
    groups, measures = gains_of(results), measures_of(results)
    tested_groups = distinct(groups)
    singles, together = regressions.singles(tested_groups, measures), regressions.together(tested_groups, measures)
    left_out = tuple(line for transfer in transfers.of_targets(results.runs) for line in transfer.left_out)
    if not singles:
        text = f"Nothing can be said yet: no measure is known of {LEAST} tasks that have a gain over none."
        return Finding(NAME, text, (), (), left_out)
    return Finding(
        NAME,
        _sentence(singles, together),
        (_of_singles(singles), *((_of_several(together),) if together else ()), _of_gains(groups)),
        tuple(_scatter(row) for row in singles),
        (*_limits(singles, groups), *left_out),
    )


def _sentence(singles: Sequence[Regression], together: Sequence[Regression]) -> str:
    shown_rows = [row for row in (*together, *singles) if row.adjusted_p < LEVEL]
    if shown_rows:
        names = [f"{_name(row)} (error {_errors(row)}, p {_equal(row.adjusted_p)} after Holm)" for row in shown_rows]
        return f"The gain of a task that was left out is predicted better than by the mean from {listed(names)}."
    best = min(singles, key=lambda row: row.left_out.p)
    return (f"No measure of a task was shown to predict its gain; the best of {len(singles)} is {_name(best)}:"
            f" error {_errors(best)}, p {_equal(best.left_out.p)}, {_equal(best.adjusted_p)} after Holm.")  # fmt: skip


def _of_singles(rows: Sequence[Regression]) -> Table:
    return Table(
        "One measure of a task and its gain over none",
        (Column("targets", "text"), Column("measure", "text"), Column("tasks", "count"),
         Column("points per SD", "difference"), Column("95 %", "interval"), Column("error", "number"),
         Column("error of the mean", "number"), Column("p", "p"), Column("p (Holm)", "p")),
        tuple((row.group, row.name, len(row.tasks), row.slope.value if row.slope else None,
               row.slope.interval() if row.slope else None, *_errors_and_p(row)) for row in rows),
        _CAPTION,
    )  # fmt: skip


def _of_several(rows: Sequence[Regression]) -> Table:
    return Table(
        "Several measures together",
        (Column("targets", "text"), Column("model", "text"), Column("tasks", "count"), Column("error", "number"),
         Column("error of the mean", "number"), Column("p", "p"), Column("p (Holm)", "p")),
        tuple((row.group, row.name, len(row.tasks), *_errors_and_p(row)) for row in rows),
        (*_CAPTION, "The measure, or the penalty of ridge regression, is chosen without the task that is left out."),
    )  # fmt: skip


_CAPTION = (
    "error: root mean square, in points, of the gain predicted for a task from the others; of the mean: of predicting",
    "the others' mean. p: how often gains in another order of tasks are predicted as well (exact up to eight tasks).",
)


def _of_gains(groups: Sequence[GroupGains]) -> Table:
    tasks = sorted({task for group in groups for task in group.tasks})
    return Table(
        "Gain over none, mean over targets",
        (Column("task", "text"), *(Column(group.group, "difference") for group in groups)),
        tuple(
            (task, *(float(group.gains[group.tasks.index(task)]) if task in group.tasks else None for group in groups))
            for task in tasks
        ),
    )


def _scatter(row: Regression) -> Scatter:
    values = row.values[:, 0]
    slope, intercept = np.polyfit(values, row.gains, 1)
    points = tuple(Point(task, float(x), float(y)) for task, x, y in zip(row.tasks, values, row.gains, strict=True))
    title = f"{row.name} and gain on {row.group}"
    return Scatter(title, row.name, "gain over none, points", points, (float(intercept), float(slope)))


def _limits(singles: Sequence[Regression], groups: Sequence[GroupGains]) -> tuple[str, ...]:
    lines = [_reach(count, len(singles)) for count in sorted({len(row.tasks) for row in singles})]
    lines.append(
        "Measures of few tasks vary together (large tasks are long, hard ones differ in kind): one that predicts need"
        " not be what helps, and these tasks are no sample of all."
    )
    tested_groups = {row.group for row in singles}
    lines += [f"{group.group}: {_targets(group)} ({listed(group.targets, 20)})"
              + ("." if group.group in tested_groups else f": its gains are those on {ALL}, and not tested again.")
              for group in groups if group.group != ALL and " less " not in group.group]  # fmt: skip
    target_sets = [set(group.targets) for group in groups if group.group != ALL and " less " not in group.group]
    if len(target_sets) == 2 and (overlap := target_sets[0] & target_sets[1]):
        lines.append(f"Both groups have {listed(sorted(overlap), 20)}: they are not independent.")
    lines += [f"{group.group}: without {listed(group.left_out, 20)}, which lack a gain on some target."
              for group in groups if group.left_out]  # fmt: skip
    return tuple(lines)


def _reach(tasks: int, count: int) -> str:
    """What correlation a measure must have with gain for a p below 0.05, by Student's law."""
    quantiles = [special.stdtrit(tasks - 2, 1 - LEVEL / 2 / tests) for tests in (1, count)]
    alone, after = (float(quantile / np.sqrt(tasks - 2 + quantile**2)) for quantile in quantiles)
    return (f"Of {tasks} tasks a measure must correlate with gain by about ±{alone:.2f} to be told from none, and by"
            f" ±{after:.2f} after Holm for {count} tests: weaker relations can be there, unseen.")  # fmt: skip


def _errors_and_p(row: Regression) -> tuple[Value, ...]:
    return row.left_out.error, row.left_out.error_of_mean, row.left_out.p, row.adjusted_p


def _errors(row: Regression) -> str:
    return f"{row.left_out.error:.2f} points, of the mean {row.left_out.error_of_mean:.2f}"


def _targets(group: GroupGains) -> str:
    return f"{len(group.targets)} target{'s' * (len(group.targets) > 1)}"


def _name(row: Regression) -> str:
    return f"{row.name} on {row.group}"


def _equal(p: float) -> str:
    return write_p(p) if p < 0.001 else f"= {write_p(p)}"
