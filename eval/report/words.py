"""Numbers, times and counts as a report writes them; and how text becomes HTML."""

import time
from collections.abc import Sequence
from html import escape

from eval.tables.sheet import Entry

__all__ = ["count", "cut", "entry_text", "escape", "hours", "instant", "moment", "score", "some", "told"]


def count(number: int, noun: str) -> str:
    """`1 seed`, `5 seeds`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def score(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def hours(value: float) -> str:
    """Three digits: experiments take seconds or years."""
    return "0" if value == 0 else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def moment(seconds: float) -> str:
    """A Unix time, where who wrote the report is, with the zone: it may be read anywhere."""
    return time.strftime("%Y-%m-%d %H:%M %z", time.localtime(seconds))


def instant(seconds: float) -> str:
    """The same for programs."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def some(names: Sequence[str], limit: int = 8) -> str:
    """The first of many names."""
    return ", ".join(names[:limit]) + (f", … ({len(names)} in all)" if len(names) > limit else "")


def cut(text: str, length: int = 300) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def entry_text(entry: Entry) -> str:
    """`+1.2* †1`, without the interval."""
    return " ".join(filter(None, (f"{entry.number}{entry.mark}", entry.dagger)))


def told(entry: Entry, examples: int) -> str:
    """All that is known of a cell, as a line."""
    parts = [entry_text(entry)]
    if entry.kind == "difference" and entry.value is not None:
        parts.append(f"score {score(entry.score)}")
    if entry.interval is not None:
        parts.append(f"95 % interval {entry.spread}")
    elif entry.error is not None:
        parts.append(f"standard error {entry.error:.1f}")
    if entry.adjusted_p is not None:
        parts.append("p < 0.001 after Holm" if entry.adjusted_p < 0.001 else f"p {entry.adjusted_p:.3f} after Holm")
    parts.append(count(entry.seeds, "seed"))
    if examples:
        parts.append(f"n {examples:,}")
    if entry.missing:
        parts.append(f"{count(entry.missing, 'score')} missing")
    if entry.diverged:
        parts.append(f"{entry.diverged} diverged")
    return "; ".join(parts)
