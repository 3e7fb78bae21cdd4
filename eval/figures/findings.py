"""Figures of studies: points in a plane, estimates beside a line at 0, matrices."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from eval.figures import heat, style
from eval.studies import finding
from eval.studies.finding import Estimate, Estimates, Matrix, Point, Scatter

_LINE = 0.14  # inches, of an estimate
_GAP = 0.06  # between groups
_TICKS, _LABEL, _EDGE = 0.17, 0.15, 0.08
_LEFT = 0.5  # of a scatter: numbers and label
_PLANE = 1.7  # its height


def draw(figure: finding.Figure, inches: float) -> list[Figure]:
    """One, or as many as it takes pages; none where there is nothing to show."""
    match figure:
        case Scatter():
            return _scatter(figure, inches) if figure.points else []
        case Estimates():
            return _estimates(figure, inches) if figure.estimates else []
        case Matrix():
            return heat.values(figure, inches) if figure.rows and figure.columns else []


def _scatter(scatter: Scatter, inches: float) -> list[Figure]:
    """A sign a point, which the legend names: labels beside points would stand on each other."""
    names = [point.name for point in scatter.points]
    signs = [style.point(number) for number in range(len(names))]
    below = style.legend_height(names, inches) + 0.05
    x_label = style.wrapped(scatter.x, style.SMALL, inches - _LEFT)
    bottom = below + _TICKS + style.height_of(x_label) + 0.03
    drawn_figure = style.figure(inches, bottom + _PLANE + _EDGE)
    of = style.axes(drawn_figure, _LEFT, bottom, inches - _LEFT - _EDGE, _PLANE)
    for point, sign in zip(scatter.points, signs, strict=True):
        _draw_point(of, point, sign)
    of.margins(0.08)
    of.autoscale_view()
    if scatter.line is not None:
        intercept, slope = scatter.line
        ends = [min(point.x for point in scatter.points), max(point.x for point in scatter.points)]
        of.plot(ends, [intercept + slope * x for x in ends], color=style.FAINT, linewidth=0.7, zorder=0)
    of.locator_params(nbins=5)
    of.tick_params(labelsize=style.TINY)
    for side in ("top", "right"):
        of.spines[side].set_visible(False)
    of.set_xlabel(x_label, size=style.SMALL, linespacing=style.LINE_SPACING)
    y_label = style.wrapped(scatter.y, style.SMALL, _PLANE, lines=2)
    drawn_figure.text(
        0.02 / inches, (bottom + _PLANE / 2) / drawn_figure.get_size_inches()[1], y_label, size=style.SMALL,
        rotation=90, ha="left", va="center", linespacing=style.LINE_SPACING,
    )  # fmt: skip
    style.legend_below(drawn_figure, signs, names, below)
    return [drawn_figure]


def _draw_point(of: Axes, point: Point, sign: Line2D) -> None:
    if point.interval:
        of.plot([point.x, point.x], list(point.interval), color=style.FAINT, linewidth=0.6, zorder=1)
    copy = Line2D([point.x], [point.y])
    copy.update_from(sign)
    of.add_line(copy)


def _estimates(estimates: Estimates, inches: float) -> list[Figure]:
    labels = [style.wrapped(estimate.label, style.SMALL, 0.4 * inches) for estimate in estimates.estimates]
    heights = [
        max(_LINE, style.height_of(label) + 0.03) + _GAP * (number > 0 and _begins_group(estimates, number))
        for number, label in enumerate(labels)
    ]
    labels_width = max(style.text_width(label, style.SMALL) for label in labels) + _EDGE
    limits = _limits(estimates.estimates)
    pages = style.pages(heights, _TICKS + _LABEL + _EDGE)
    return [
        _page(estimates, [(number, labels[number], heights[number]) for number in page], labels_width, limits, inches)
        for page in pages
    ]


def _begins_group(estimates: Estimates, number: int) -> bool:
    return estimates.estimates[number].group != estimates.estimates[number - 1].group


def _page(
    estimates: Estimates,
    rows: Sequence[tuple[int, str, float]],
    labels_width: float,
    limits: tuple[float, float],
    inches: float,
) -> Figure:
    height = sum(row_height for _, _, row_height in rows)
    bottom = _TICKS + _LABEL
    drawn_figure = style.figure(inches, height + bottom + _EDGE)
    of = style.axes(drawn_figure, labels_width, bottom, inches - labels_width - _EDGE, height)
    of.set_xlim(*limits)
    of.set_ylim(height, 0)
    of.axvline(0, color=style.FAINT, linewidth=0.5, zorder=0)
    y, centres = 0.0, []
    for number, label, row_height in rows:
        y += row_height
        centre = y - max(_LINE, style.height_of(label) + 0.03) / 2
        _draw_estimate(of, estimates.estimates[number], centre)
        centres.append(centre)
    of.set_yticks(centres, [label for _, label, _ in rows], size=style.SMALL)
    for text in of.get_yticklabels():
        text.set_linespacing(style.LINE_SPACING)
    of.tick_params(axis="y", length=0)
    of.tick_params(axis="x", labelsize=style.TINY)
    of.locator_params(axis="x", nbins=5)
    for side in ("top", "right"):
        of.spines[side].set_visible(False)
    of.set_xlabel(f"{estimates.unit} (95 % interval)", size=style.SMALL)
    return drawn_figure


def _draw_estimate(of: Axes, estimate: Estimate, y: float) -> None:
    """Filled: p < 0.05 after Holm."""
    if estimate.interval is not None:
        of.plot(list(estimate.interval), [y, y], color=style.INK, linewidth=0.8, solid_capstyle="butt", zorder=1)
    ground = style.INK if estimate.marked else "white"
    of.plot([estimate.value], [y], "o", markersize=3.2, markerfacecolor=ground, markeredgecolor=style.INK,
            markeredgewidth=0.6, zorder=2)  # fmt: skip


def _limits(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Of the axis: 0 and every value are on it; of very wide intervals the ends are not, which its edge shows."""
    values = [0.0, *(estimate.value for estimate in estimates)]
    ends = sorted(abs(end) for estimate in estimates if estimate.interval for end in estimate.interval)
    reach = max([*map(abs, values), *ends[: max(1, 9 * len(ends) // 10)], 0.1])
    return -1.08 * reach, 1.08 * reach
