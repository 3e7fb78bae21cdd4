"""What an experiment cost: hours by recipe, by what became of them."""

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from eval.figures import style
from eval.report.content import Costs

_BAR = 0.16  # inches
# Each with a hatching of its own: in grey the colours are about as dark as one another.
_PARTS = (
    ("useful", "#0072b2", ""),
    ("running", "#56b4e9", "...."),
    ("idle", "#f0f0f0", "||||"),
    ("wasted", "#d55e00", "////"),
)


def draw(costs: Costs, inches: float) -> list[Figure]:
    """Empty where nothing has run. A stage that several recipes need counts in equal parts for each."""
    bars = [cost for cost in costs.by_recipe if cost.total > 0]
    if not bars:
        return []
    names = [style.wrapped(cost.name, style.SMALL, 0.34 * inches) for cost in bars]
    names_width = max(style.text_width(name, style.SMALL) for name in names) + 0.06
    heights = [max(_BAR, style.height_of(name) + 0.03) for name in names]
    bottom = 0.52
    height = sum(heights) + bottom + 0.04
    drawn_figure = style.figure(inches, height)
    of = style.axes(drawn_figure, names_width, bottom, inches - names_width - 0.1, sum(heights))
    y, centres = 0.0, []
    for cost, bar_height in zip(bars, heights, strict=True):
        centres.append(y + bar_height / 2)
        start = 0.0
        for part, colour, hatch in _PARTS:
            hours = getattr(cost, part)
            of.barh(y + bar_height / 2, hours, 0.72 * _BAR, left=start, facecolor=colour, hatch=hatch,
                    edgecolor=style.INK, linewidth=0.4)  # fmt: skip
            start += hours
        of.text(start, y + bar_height / 2, f" {_hours(start)}", size=style.TINY, va="center_baseline", ha="left")
        y += bar_height
    of.set_ylim(y, 0)
    of.set_xlim(0, 1.15 * max(cost.total for cost in bars))
    of.set_yticks(centres, names, size=style.SMALL)
    of.tick_params(axis="y", length=0)
    for label in of.get_yticklabels():
        label.set_linespacing(style.LINE_SPACING)
    of.tick_params(axis="x", labelsize=style.TINY)
    of.locator_params(axis="x", nbins=5)
    for side in ("top", "right"):
        of.spines[side].set_visible(False)
    of.set_xlabel(f"{costs.unit} (in all {_hours(costs.total.total)})", size=style.SMALL)
    shown_parts = [part for part in _PARTS if any(getattr(cost, part[0]) > 0 for cost in bars)]
    _legend(drawn_figure, shown_parts)
    return [drawn_figure]


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}"


def _legend(of: Figure, parts: list[tuple[str, str, str]]) -> None:
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=style.INK, linewidth=0.4, label=name)
        for name, colour, hatch in parts
    ]
    of.legend(
        handles=handles, loc="lower center", ncols=len(parts), frameon=False, fontsize=style.SMALL, handlelength=1.4,
        handleheight=0.8, columnspacing=1.2, borderpad=0.1, handletextpad=0.4,
    )  # fmt: skip
