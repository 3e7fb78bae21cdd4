"""What a study says: a sentence, tables, figures as data, and the limits of the conclusion.

Numbers are unrounded; a column's kind says how they are written. Whoever draws needs to know no study.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "count", "score", "difference", "interval", "p", "coefficient", "number"]
Value = str | int | float | tuple[float, float] | None  # None: there is none, written as `-`
Unit = Literal["percent", "points", "coefficient"]


@dataclass(frozen=True)
class Column:
    """`score`: percent; `difference`: points, with a sign; `interval`: both ends, 95 %, of what stands before it."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Table:
    """`caption`: lines that a reader of the numbers must know."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    caption: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.title


@dataclass(frozen=True)
class Point:
    """`group`: what the point is of, said behind its label."""

    label: str
    x: float
    y: float
    group: str = ""
    interval: tuple[float, float] | None = None  # of y

    @property
    def name(self) -> str:
        return f"{self.label} ({self.group})" if self.group else self.label


@dataclass(frozen=True)
class Scatter:
    """`line`: intercept and slope, where a straight line was fitted."""

    title: str
    x: str
    y: str
    points: tuple[Point, ...]
    line: tuple[float, float] | None = None


@dataclass(frozen=True)
class Estimate:
    label: str
    value: float
    interval: tuple[float, float] | None
    group: str = ""
    marked: bool = False  # p < 0.05 after Holm


@dataclass(frozen=True)
class Estimates:
    """Values with their intervals, one below the other, beside a line at 0."""

    title: str
    unit: Unit
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True)
class Matrix:
    """`values`: by row and column; None: there is none. `marked`: p < 0.05 after Holm."""

    title: str
    unit: Unit
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    marked: frozenset[tuple[str, str]] = frozenset()


Figure = Scatter | Estimates | Matrix


@dataclass(frozen=True)
class Finding:
    """`limits`: in words, how many there were, and what they can and cannot show; also what was left out."""

    study: str
    sentence: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    limits: tuple[str, ...]


def write(value: Value, kind: Kind) -> str:
    """A value as it is printed."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return f"[{value[0]:+.2f}, {value[1]:+.2f}]"
    if isinstance(value, str) or kind in ("text", "count"):
        return str(value)
    if kind == "p":
        return write_p(value)
    return f"{value:{_FORMATS[kind]}}"


_FORMATS: dict[Kind, str] = {"score": ".1f", "difference": "+.2f", "coefficient": "+.2f", "number": ".3g"}


def write_p(p: float) -> str:
    """Three digits, and what is smaller as such."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def listed(names: tuple[str, ...] | list[str], limit: int = 4) -> str:
    """Names in a sentence, the first few."""
    remainder = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {remainder} more" if remainder > 0 else "")
