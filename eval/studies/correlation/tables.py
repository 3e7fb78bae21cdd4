"""The correlations as tables and figures."""

from collections.abc import Sequence

from eval.statistics import correlations
from eval.statistics.correlations import Coefficient
from eval.studies.correlation.pairs import Paired
from eval.studies.correlation.tests import Correlation, line
from eval.studies.finding import Column, Kind, Matrix, Point, Scatter, Table, Value
from eval.studies.records import show

LEVEL = 0.05
NAMES: dict[Coefficient, str] = {"pearson": "Pearson's r", "spearman": "Spearman's rho", "kendall": "Kendall's tau-b"}
_HOW = (
    "Over recipes, each the mean of its seeds. 95 %: bootstrap over recipes and the seeds of each. p: by",
    "permutation of the recipes (exact up to eight); p (Holm): for all rows of this table.",
)


def of_correlations(title: str, table: Sequence[Correlation], with_groups: bool) -> Table:
    """A row a target, group of languages, metric and outcome."""
    group: tuple[tuple[str, Kind], ...] = (("languages", "text"),) if with_groups else ()
    heads: tuple[tuple[str, Kind], ...] = (
        ("target", "text"), *group, ("metric", "text"), ("with", "text"), ("recipes", "count"),
        ("coefficient", "coefficient"), ("95 %", "interval"), ("p", "p"), ("p (Holm)", "p"),
    )  # fmt: skip
    return Table(
        title,
        tuple(Column(name, kind) for name, kind in heads),
        tuple(_row(row, with_groups) for row in table),
        _HOW,
    )


def given_size(table: Sequence[Correlation]) -> Table:
    return Table(
        "Given the size of the training data: partial correlation (Pearson)",
        (Column("target", "text"), Column("metric", "text"), Column("with", "text"), Column("recipes", "count"),
         Column("coefficient", "coefficient"), Column("p", "p"), Column("p (Holm)", "p")),
        tuple((row.paired.target, row.paired.metric, row.paired.outcome, len(row.paired.recipes), row.value, row.p,
               row.adjusted_p) for row in table),
        ("Of what a straight line on the logarithm of the number of training examples leaves of metric and outcome;",
         "p: by permutation of the outcome's residuals (Freedman & Lane 1983)."),
    )  # fmt: skip


def of_training(by_progress: Sequence[tuple[float, Sequence[Paired]]]) -> Table:
    """Spearman's rho of the metric at each point of training, where there are several."""
    names = list(dict.fromkeys((pair.target, pair.metric, pair.outcome) for _, pairs in by_progress for pair in pairs))
    values = {
        (progress, pair.target, pair.metric, pair.outcome): correlations.coefficient("spearman", *pair.values)
        for progress, pairs in by_progress
        for pair in pairs
    }
    return Table(
        "How early it is seen: Spearman's rho of the metric at each point of the intermediate training",
        (Column("target", "text"), Column("metric", "text"), Column("with", "text"),
         *(Column("end" if progress == 1 else f"{progress:.0%}", "coefficient") for progress, _ in by_progress)),
        tuple((*name, *(values.get((progress, *name)) for progress, _ in by_progress)) for name in names),
        ("Shares of the whole training: each one's last point by then; where its selected epoch had ended, that end.",
         "Points of one training are not independent; nothing is tested here."),
    )  # fmt: skip


def matrix(table: Sequence[Correlation], coefficient: str) -> Matrix:
    """Metrics by targets; `coefficient`: its name."""
    metrics = list(dict.fromkeys(_metric(row.paired) for row in table))
    targets = list(dict.fromkeys(row.paired.target for row in table))
    values = {(_metric(row.paired), row.paired.target): row.value for row in table}
    shown_cells = frozenset((_metric(row.paired), row.paired.target) for row in table if is_shown(row))
    rows_of_values = tuple(tuple(values.get((metric, target)) for target in targets) for metric in metrics)
    title = f"{coefficient} of a metric with transfer"
    return Matrix(title, "coefficient", tuple(metrics), tuple(targets), rows_of_values, shown_cells)


def scatter(pair: Paired) -> Scatter:
    metric, outcome = pair.values
    points = tuple(Point(show(recipe), float(x), float(y))
                   for recipe, x, y in zip(pair.recipes, metric, outcome, strict=True))  # fmt: skip
    unit = "zero-shot score" if pair.outcome == "score" else "gain over none, points"
    title = f"{pair.metric} and {pair.target}"
    return Scatter(title, f"{pair.metric} on English dev", f"{pair.target}: {unit}", points, line(pair))


def is_shown(row: Correlation) -> bool:
    return row.adjusted_p is not None and row.adjusted_p < LEVEL


def _metric(pair: Paired) -> str:
    return pair.metric if pair.outcome == "score and gain" else f"{pair.metric}, {pair.outcome}"


def _row(row: Correlation, with_groups: bool) -> tuple[Value, ...]:
    pair = row.paired
    return (pair.target, *((pair.languages,) if with_groups else ()), pair.metric, pair.outcome, len(pair.recipes),
            row.value, row.interval, row.p, row.adjusted_p)  # fmt: skip
