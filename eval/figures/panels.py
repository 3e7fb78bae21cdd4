"""Small multiples: equal panels side by side and below each other, with their names above and shared labels outside."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.figures import style

_OVER, _TICKS, _LABEL, _BETWEEN = 0.05, 0.16, 0.14, 0.07  # inches


@dataclass(frozen=True)
class Layout:
    """In inches. `left`: room for labels beside every row; `narrowest`: of a panel; `height`: of a panel;
    `shares_y`: the labels beside a row's first panel are those of all in it."""

    inches: float
    left: float
    narrowest: float
    height: float
    shares_y: bool
    y_label: str = ""  # beside all rows
    below: float = 0.0  # room for a legend

    @property
    def outside(self) -> float:
        """Room for the label beside all rows."""
        return _LABEL if self.y_label else 0.0

    def width(self, columns: int) -> float:
        """Of a panel."""
        beside = self.left if self.shares_y else self.left * columns
        return (self.inches - self.outside - beside - _BETWEEN * (columns - 1) - 0.06) / columns

    def columns(self, panels: int) -> int:
        """How many stand beside each other: as many as there is room for, but none alone in the last row of few."""
        room = self.inches - self.outside - (self.left if self.shares_y else 0.0) - 0.04
        panel_width = self.narrowest + (_BETWEEN if self.shares_y else self.left + _BETWEEN)
        fitting = max(1, min(panels, int((room + _BETWEEN) / panel_width)))
        rows = -(-panels // fitting)
        return -(-panels // rows)


def draw(names: Sequence[str], layout: Layout, x_label: str) -> list[tuple[Figure, list[Axes]]]:
    """Empty figures with a panel for each name: one, or as many as it takes pages."""
    columns = layout.columns(len(names))
    width = layout.width(columns)
    titles = [style.wrapped(name, style.SMALL, width, lines=4) for name in names]
    rows = [titles[start : start + columns] for start in range(0, len(titles), columns)]
    heights = [max(map(style.height_of, row)) + _OVER + layout.height + _TICKS for row in rows]
    pages = style.pages(heights, _LABEL + layout.below)
    return [
        _page([rows[number] for number in page], [heights[number] for number in page], layout, x_label, columns)
        for page in pages
    ]


def _page(
    rows: Sequence[Sequence[str]], heights: Sequence[float], layout: Layout, x_label: str, columns: int
) -> tuple[Figure, list[Axes]]:
    height = sum(heights) + _LABEL + layout.below
    drawn_figure = style.figure(layout.inches, height)
    panels, width, top = [], layout.width(columns), height
    for titles, row_height in zip(rows, heights, strict=True):
        for column, title in enumerate(titles):
            x = layout.outside + layout.left + column * (width + _BETWEEN + (0 if layout.shares_y else layout.left))
            panel = style.axes(drawn_figure, x, top - row_height + _TICKS, width, layout.height)
            panel.set_title(title, size=style.SMALL, linespacing=style.LINE_SPACING)
            panel.tick_params(labelsize=style.TINY, labelleft=not (layout.shares_y and column))
            for side in ("top", "right"):
                panel.spines[side].set_visible(False)
            panels.append(panel)
        top -= row_height
    _label(drawn_figure, layout, x_label)
    return drawn_figure, panels


def _label(drawn_figure: Figure, layout: Layout, x_label: str) -> None:
    inches, height = drawn_figure.get_size_inches()
    middle = (inches + layout.outside + layout.left) / 2 / inches
    drawn_figure.text(middle, (layout.below + 0.02) / height, x_label, size=style.SMALL, ha="center", va="bottom")
    if layout.y_label:
        middle_height = (height + layout.below + _LABEL) / 2 / height
        drawn_figure.text(
            0.02 / inches, middle_height, layout.y_label, size=style.SMALL, rotation=90, ha="left", va="center"
        )
