"""What all figures have in common: widths, fonts, colours, and how wide a text is.

Text is 8 points, and never below 6. Its font is STIX, which looks as Times does and comes with matplotlib; a character
that it lacks is DejaVu's. Names are taken as they are written: no `$` of theirs begins a formula. Colours are Okabe and
Ito's (2008, "Color universal design"), and never the only sign: markers, hatching and numbers say the same in grey.
"""

import bisect
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from slurm.base import UsageError

WIDTHS = {"column": 3.03, "text": 6.3}  # inches, of the ACL's style
_NARROWEST, _WIDEST = 1.5, 20.0  # inches
SIZE, SMALL, TINY = 8.0, 7.0, 6.0  # points
FONTS = ("STIXGeneral", "DejaVu Sans")
POINTS = 72.0  # of an inch
PAGE = 9.0  # inches: what is higher than a page becomes several figures
LINE, LINE_SPACING = 0.112, 0.95  # inches from line to line of small text, at this spacing of matplotlib's
INK, FAINT, GROUND = "#000000", "#8c8c8c", "#ececec"
RC: Any = {
    "font.family": list(FONTS),
    "font.size": SIZE,
    "axes.titlesize": SIZE,
    "axes.labelsize": SIZE,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.linewidth": 0.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2.0,
    "ytick.major.size": 2.0,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "axes.titlepad": 3.0,
    "axes.labelpad": 2.0,
    "lines.linewidth": 0.9,
    "hatch.linewidth": 0.4,
    "text.parse_math": False,
    "text.usetex": False,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "figure.dpi": 72.0,
    "savefig.bbox": None,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",  # as text, which can be searched and edited
    "svg.hashsalt": "stepstone",
    "path.simplify": True,
}
_COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7")  # yellow is too pale on white
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "p", "8", "d")


def width(text: str) -> float:
    """Inches: of `column`, `text`, or a number of them. UsageError for anything else."""
    if text in WIDTHS:
        return WIDTHS[text]
    try:
        inches = float(text)
    except ValueError:
        inches = 0.0
    if not _NARROWEST <= inches <= _WIDEST:
        raise UsageError(
            f"--width {text}: it is {', '.join(WIDTHS)} or inches from {_NARROWEST:g} to {_WIDEST:g}, as in --width 5.5"
        )
    return inches


def figure(inches: float, height: float) -> Figure:
    """An empty one of this width and height."""
    empty_figure = Figure(figsize=(inches, height))
    FigureCanvasAgg(empty_figure)
    return empty_figure


def axes(of: Figure, x: float, y: float, inches: float, height: float) -> Axes:
    """Axes at a place from the lower left corner, all in inches."""
    whole_width, whole_height = of.get_size_inches()
    return of.add_axes((x / whole_width, y / whole_height, inches / whole_width, height / whole_height))


def colour(number: int) -> str:
    """Of the recipe of this number, from 0."""
    return _COLOURS[number % len(_COLOURS)]


def marker(number: int) -> str:
    """With the colour it tells 14 recipes apart, alone nearly so."""
    return _MARKERS[number % len(_MARKERS)]


def point(number: int) -> Line2D:
    """The sign of the recipe of this number."""
    return Line2D(
        [], [], linestyle="", marker=marker(number), markersize=3.5, markerfacecolor=colour(number),
        markeredgecolor="white", markeredgewidth=0.3,
    )  # fmt: skip


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a line of text is, in inches."""
    return max((_line_width(line, size, bold) for line in text.split("\n")), default=0.0)


@cache
def _line_width(line: str, size: float, bold: bool) -> float:
    font = FontProperties(family=list(FONTS), size=size, weight="bold" if bold else "normal")
    renderer = _canvas().get_renderer()  # type: ignore[no-untyped-call]
    return float(renderer.get_text_width_height_descent(line, font, ismath=False)[0]) / POINTS


@cache
def _canvas() -> FigureCanvasAgg:
    return FigureCanvasAgg(Figure(dpi=POINTS))


def wrapped(name: str, size: float, widest: float, lines: int = 6) -> str:
    """A name on so many lines, each within `widest` inches: broken before `>` and `+` and at spaces. A word that is too
    long for a line is cut, and so is what does not fit on the lines."""
    name = " ".join("".join(character if character.isprintable() else " " for character in name).split())
    words_of_lines: list[str] = []
    for word in re.split(r" (?=[>+] )|(?<![>+]) (?![>+])", name):
        longer = f"{words_of_lines[-1]} {word}" if words_of_lines else word
        if words_of_lines and text_width(longer, size) <= widest:
            words_of_lines[-1] = longer
        elif len(words_of_lines) == lines:
            words_of_lines[-1] = _cut(f"{words_of_lines[-1]} …", size, widest)
            break
        else:
            words_of_lines.append(_cut(word, size, widest))
    return "\n".join(words_of_lines)


def height_of(name: str) -> float:
    """Of a name in small text, in inches."""
    return LINE * (name.count("\n") + 1)


def pages(heights: Sequence[float], below: float) -> list[range]:
    """What stands on a page each, from the heights of rows that stay whole; `below`: room that every page needs."""
    breaks, room = [0], PAGE - below
    for number, height in enumerate(heights):
        if height > room and number > breaks[-1]:
            breaks.append(number)
            room = PAGE - below
        room -= height
    return [range(start, end) for start, end in zip(breaks, [*breaks[1:], len(heights)], strict=True)]


def _cut(word: str, size: float, widest: float) -> str:
    if text_width(word, size) <= widest:
        return word
    letters = bisect.bisect(range(2, len(word)), widest, key=lambda number: text_width(word[:number] + "…", size))
    return word[: letters + 1] + "…"


def legend_below(of: Figure, handles: Sequence[Line2D], names: Sequence[str], top: float) -> None:
    """A legend over the whole width, from `top` inches above the lower edge downwards; `legend_height` says how much
    room that takes."""
    inches, height = of.get_size_inches()
    columns, column_width = _legend_columns(names, inches)
    for number, (handle, name) in enumerate(zip(handles, names, strict=True)):
        row, column = divmod(number, columns)
        x, y = column * column_width + 0.03, top - (row + 0.5) * LEGEND_LINE
        ends = [(x + 0.02) / inches, (x + 0.15) / inches]
        xs = ends if handle.get_linestyle() != "None" else [sum(ends) / 2]
        drawn_handle = Line2D(xs, [y / height] * len(xs), transform=of.transFigure)
        drawn_handle.update_from(handle)
        of.add_artist(drawn_handle)
        text = _cut(name, SMALL, column_width - 0.24)
        of.text((x + 0.19) / inches, y / height, text, size=SMALL, va="center_baseline", ha="left")


LEGEND_LINE = 0.135  # inches


def legend_height(names: Sequence[str], inches: float) -> float:
    """In inches."""
    columns, _ = _legend_columns(names, inches)
    return LEGEND_LINE * -(-len(names) // columns)


def _legend_columns(names: Sequence[str], inches: float) -> tuple[int, float]:
    # Two columns at least: longer names are cut, and stand whole in the other figures.
    widest = min(max((text_width(name, SMALL) for name in names), default=0.5) + 0.3, (inches - 0.05) / 2)
    columns = max(1, min(len(names), int((inches - 0.05) / widest)))
    return columns, (inches - 0.05) / columns
