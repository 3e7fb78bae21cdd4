"""What readers say about data that they could read all the same: for `plan` and `prepare`; jobs do not ask."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from training.spec import Split


@dataclass
class Report:
    """`remarks`: `file: what was mended`, for people. `rows`: how many the files of a split have.

    Of one file, so far: `left_out` rows that made no example (without a label, malformed); of `answers` in contexts
    `stripped` were moved to the left in a context that lost its white space, and `moved` otherwise.
    """

    remarks: list[str] = field(default_factory=list)
    rows: dict[Split, int] = field(default_factory=dict)
    left_out: int = 0
    answers: int = 0
    stripped: int = 0
    moved: int = 0


_REPORT: ContextVar[Report] = ContextVar("_REPORT", default=Report())  # noqa: B039  # where nobody asks: read by none


@contextmanager
def reporting() -> Iterator[Report]:
    """Inside, readers report to what is given. Inside another, the outer one gets it too, but for its answers."""
    outer, inner = _REPORT.get(), Report()
    token = _REPORT.set(inner)
    try:
        yield inner
    finally:
        _REPORT.reset(token)
        outer.remarks += inner.remarks
        outer.rows |= inner.rows
        outer.left_out += inner.left_out


def current() -> Report:
    """Where to report."""
    return _REPORT.get()
