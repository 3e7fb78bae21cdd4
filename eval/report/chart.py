"""What the plots of a report have in common: a chart's record, colours, lists to choose from, data by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Spec = dict[str, Any]  # JSON of Vega-Lite
Row = dict[str, Any]  # of its data
UP, DOWN, TEXT, MUTED = "var(--up)", "var(--down)", "var(--text)", "var(--muted)"
SERIES = [f"var(--c{number})" for number in range(8)]
ROW = 26  # pixels
STRONG = 0.6  # opacity of the largest difference: text on it stays readable


@dataclass(frozen=True)
class Chart:
    """A plot. `title` heads it, `description` says in words what it shows."""

    name: str
    title: str
    description: str
    spec: Spec


def chosen(name: str, label: str, values: Sequence[str]) -> Any:
    """A list from which one value is chosen: the first at the beginning."""
    import altair

    return altair.param(name=name, value=values[0], bind=altair.binding_select(options=list(values), name=f"{label} "))


def finished(chart: Any, rows: Sequence[Row]) -> Spec:
    """The specification with its data, which altair need not check row by row."""
    spec: Spec = chart.to_dict()
    spec["datasets"] = {"rows": list(rows)}
    return spec


def named_rows() -> Any:
    """A chart of data that `finished` adds."""
    import altair

    return altair.Chart(altair.NamedData(name="rows"), width="container")
