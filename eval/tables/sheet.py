"""A table as one publishes it: recipes by columns, `none` in its scores, the others in their differences to it. Of
several start models one below the other, each with a `none` of its own.

A column is a target, an average, a language or a group of languages. `entries` fills sheets; `table` (terminal and
Markdown), `latex`, `page` (HTML) and `long` (CSV) draw them.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from eval.tables.baseline import split
from eval.tables.cells import DIVERGED

if TYPE_CHECKING:  # numpy and scipy: what only draws need not wait for them
    from eval.statistics.differences import Difference

STATISTICS = ("p", "p_permuted", "effect", "better", "detectable", "seeds_needed")  # of a `Difference`
Kind = Literal["score", "difference", "reference"]
SHEET_SCHEMA = 1


Rows = tuple[tuple[str, tuple["Entry", ...]], ...]  # by label


@dataclass(frozen=True)
class Column:
    """`detail` stands below the name: a metric, or of how many tasks or languages it is."""

    name: str
    detail: str
    metric: str


@dataclass(frozen=True)
class Entry:
    """One cell as it is printed, in percent and points. `value` is None where there is nothing to print; then `note`
    says why. `error`: standard error over seeds. `interval`: 95 %, where that is shown instead. `mark`: stars."""

    kind: Kind
    value: float | None
    error: float | None = None
    interval: tuple[float, float] | None = None
    mark: str = ""
    best: bool = False
    note: str = ""
    score: float | None = None
    seeds: int = 0
    diverged: int = 0
    missing: int = 0
    adjusted_p: float | None = None
    difference: "Difference | None" = None  # what `eval.statistics` says of it
    over_examples: bool = False  # that is of other examples too, not of these test sets alone
    with_interval: bool = False  # shows that, or nothing, instead of the error
    alone: bool = False  # a score among differences: there is nothing to compare it with

    @property
    def number(self) -> str:
        if self.value is None:
            return self.note
        text = f"{self.value:+.1f}" if self.kind == "difference" else f"{self.value:.1f}"
        return f"({text})" if self.alone else text

    @property
    def spread(self) -> str:
        """What follows the number: `±0.3`, or an interval; "" for one seed."""
        if self.interval is not None:
            sign = "+" if self.kind == "difference" else ""
            return "[" + ", ".join(f"{end:{sign}.1f}" for end in self.interval) + "]"
        return f"±{self.error:.1f}" if self.error is not None and not self.with_interval else ""

    @property
    def dagger(self) -> str:
        """`†1`: without one seed that diverged; `†`: all seeds did."""
        return f"{DIVERGED}{self.diverged if self.diverged < self.seeds else ''}" if self.diverged else ""


@dataclass(frozen=True)
class Sheet:
    """One table. `references`: published rows, which stand apart; `caption`: lines that a reader must know."""

    title: str
    columns: tuple[Column, ...]
    rows: Rows
    caption: tuple[str, ...]
    references: Rows = ()

    @property
    def has_best(self) -> bool:
        """Whether any cell is marked as the best of its column."""
        return any(entry.best for _, of_row in self.rows for entry in of_row)

    @property
    def best_words(self) -> str:
        """What such a cell is."""
        return "the best of its column" + (" for its start model" if len(self.by_model) > 1 else "")

    @property
    def by_model(self) -> tuple[Rows, ...]:
        """The rows, those from each start model together."""
        return tuple(tuple(rows) for _, rows in groupby(self.rows, key=lambda row: split(row[0])[0]))


def as_records(sheet: Sheet) -> list[dict[str, Any]]:
    """Every cell as JSON values, unrounded: the long form that `--json` and CSV have. `model`: the start model's label,
    "" without one."""
    return [
        {"table": sheet.title, "row": name, "model": model, "column": column.name, "metric": column.metric}
        | _record(entry)
        for name, model, of_row in (
            *((name, split(name)[0], of_row) for name, of_row in sheet.rows),
            *((name, "", of_row) for name, of_row in sheet.references),
        )
        for column, entry in zip(sheet.columns, of_row, strict=True)
    ]


def _record(entry: Entry) -> dict[str, Any]:
    low, high = entry.interval or (None, None)
    names = ("kind", "score", "error", "adjusted_p", "mark", "best", "seeds", "diverged", "missing", "over_examples")
    record: dict[str, Any] = {name: getattr(entry, name) for name in names}
    record["difference"] = entry.value if entry.kind == "difference" else None
    tested_difference = entry.difference if entry.adjusted_p is not None else None
    for name in STATISTICS:
        record[name] = getattr(tested_difference, name, None)
    return record | {"low": low, "high": high, "note": entry.note}
