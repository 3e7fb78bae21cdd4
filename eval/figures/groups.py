"""Transfer by family, script or pretraining text: differences to `none` with their 95 % intervals, a panel a recipe."""

import re
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.figures import panels, style
from eval.report.content import Grid
from eval.tables.baseline import baseline_words, is_baseline
from eval.tables.sheet import Entry

_LINE = 0.125  # inches, of a group
_WIDER = 1.25  # the axis ends so much beyond the outermost value at least


def draw(grid: Grid, inches: float) -> list[Figure]:
    """Empty where there is nothing to compare."""
    rows = {name: entries for name, entries in grid.sheet.rows if any(entry.value is not None for entry in entries)}
    are_differences = any(entry.kind == "difference" for entries in rows.values() for entry in entries)
    if are_differences:
        rows = {name: entries for name, entries in rows.items() if not is_baseline(name)}
    if not rows:
        return []
    groups = [_label(column.name, column.detail, 0.3 * inches) for column in grid.sheet.columns]
    names_width = max(style.text_width(group, style.SMALL) for group in groups) + 0.08
    height = _LINE * len(groups) + 0.06
    layout = panels.Layout(inches, names_width, 0.72, height, shares_y=True)
    baseline = baseline_words(rows)
    label = f"difference to {baseline}, points (95 % interval)" if are_differences else "score, percent (95 % interval)"
    pages = panels.draw(list(rows), layout, label)
    limits = _limits([entry for entries in rows.values() for entry in entries], from_zero=are_differences)
    all_axes = [of for _, of_page in pages for of in of_page]
    for of, entries in zip(all_axes, rows.values(), strict=True):
        _panel(of, entries, groups, limits)
    return [drawn_figure for drawn_figure, _ in pages]


def _label(name: str, detail: str, widest: float) -> str:
    """With how many languages a group has."""
    languages = re.match(r"\d+(?= languages?$)", detail)
    return style.wrapped(name, style.SMALL, widest) + (f" ({languages[0]})" if languages else "")


def _limits(entries: Sequence[Entry], *, from_zero: bool) -> tuple[float, float]:
    """Of the axis: of the widest intervals a tenth goes beyond it, which arrows tell; every value is on it."""
    values = [entry.value for entry in entries if entry.value is not None]
    lows = sorted(entry.interval[0] for entry in entries if entry.interval)
    highs = sorted(entry.interval[1] for entry in entries if entry.interval)
    low = min(
        [*([_WIDER * min(values)] if from_zero else [min(values) - 2]), *lows[len(lows) // 10 : len(lows) // 10 + 1]]
    )
    high = max([_WIDER * max(values) if from_zero else max(values) + 2, *highs[-1 - len(highs) // 10 :][:1]])
    if from_zero:
        low, high = min(low, -0.2), max(high, 0.2)
    margin = 0.03 * (high - low)
    return low - margin, high + margin


def _panel(of: Axes, entries: Sequence[Entry], groups: Sequence[str], limits: tuple[float, float]) -> None:
    of.set_xlim(*limits)
    of.set_ylim(len(groups) - 0.5, -0.5)
    of.set_yticks(range(len(groups)), groups, size=style.SMALL)
    of.tick_params(axis="y", length=0)
    of.locator_params(axis="x", nbins=4)
    of.axhline(0.5, color=style.FAINT, linewidth=0.4)  # below the mean
    if limits[0] < 0 < limits[1]:
        of.axvline(0, color=style.FAINT, linewidth=0.5, zorder=0)
    for place, entry in enumerate(entries):
        if entry.value is None:
            of.text(sum(limits) / 2, place, "–", size=style.TINY, color=style.FAINT, ha="center", va="center")
            continue
        if entry.interval:
            _interval(of, entry.interval, place, limits)
        ground = style.INK if entry.mark else "white"
        of.plot([entry.value], [place], "o", markersize=3.2, markerfacecolor=ground, markeredgecolor=style.INK,
                markeredgewidth=0.6)  # fmt: skip


def _interval(of: Axes, interval: tuple[float, float], place: int, limits: tuple[float, float]) -> None:
    low, high = max(interval[0], limits[0]), min(interval[1], limits[1])
    of.plot([low, high], [place, place], color=style.INK, linewidth=0.8, solid_capstyle="butt")
    for end, edge, arrow in ((interval[0], limits[0], "<"), (interval[1], limits[1], ">")):
        if (end < edge) if arrow == "<" else (end > edge):
            inside = edge + (0.02 if arrow == "<" else -0.02) * (limits[1] - limits[0])
            of.plot([inside], [place], arrow, color=style.INK, markersize=2.5)
