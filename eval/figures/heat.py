"""Heat maps: differences to `none` as colours and as numbers, with their stars.

The scale diverges from white at 0, blue above and orange below (both stay apart for every colour blindness), and every
cell has its number, so that nothing is lost in grey. Columns that do not fit stand below, as blocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from eval.figures import style
from eval.report.content import Grid, TargetGrids
from eval.studies.finding import Matrix
from eval.tables.baseline import baseline_words, is_baseline
from eval.tables.sheet import Entry

_SCALE = LinearSegmentedColormap.from_list(
    "differences", ["#8c4a00", "#d98324", "#f3d2a8", "#ffffff", "#b5d5ea", "#4a96c9", "#0b4f86"]
)
_AS_MUCH_CONTRAST = 0.179  # luminance of which black and white text stand out equally (WCAG 2)
_LEAST_LIMIT = 1.0  # points: of differences all below it the scale shows no more than they are
_ROW, _GAP, _EDGE = 0.145, 0.04, 0.03  # inches
_WIDEST_CELL = 0.9  # inches
_UPRIGHT = 1.2  # inches, at most, for a name that stands upright
_NAME_SHARE = 0.34  # of the width, at most, for names of rows
_DETAIL = 0.1  # inches, of what stands above a map
_SCALE_HEIGHT = 0.36  # inches, of the colour scale below


@dataclass(frozen=True)
class _Map:
    """What is drawn: names of rows and columns as they are wrapped, and the entry of each (row, column)."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    entry: Callable[[int, int], Entry]
    gaps: frozenset[int] = frozenset()  # rows before which there is one
    digits: int = 1  # behind the point
    scale: str = ""  # what the colours are of


def matrix(grid: Grid, inches: float) -> list[Figure]:
    """Recipes by targets, and averages that there are."""
    rows = _names(grid.recipes, inches)
    entries = [of_row for _, of_row in grid.sheet.rows]
    every_place = range(len(grid.columns))
    places = [at for at in every_place if any(_tells(of_row[at]) for of_row in entries)] or list(every_place)
    columns = tuple(grid.columns[at] for at in places)
    are_baselines = [is_baseline(recipe) for recipe in grid.recipes]
    gaps = frozenset(row for row in range(1, len(rows)) if are_baselines[row - 1] or are_baselines[row])
    cells = _Map(rows, columns, lambda row, column: entries[row][places[column]], gaps, scale=_scale(grid.recipes))
    return _figures(cells, inches)


def _tells(entry: Entry) -> bool:
    """Whether there is a score, or one is still to come: an average of which targets are missing never comes."""
    return entry.value is not None or entry.missing > 0


def languages(target: TargetGrids, inches: float) -> list[Figure]:
    """A target's languages, their mean before them, by recipes."""
    grid = target.languages
    rows = tuple(_short(name, _NAME_SHARE * inches) for name in grid.columns)
    columns = tuple(grid.recipes)
    gaps, scale = frozenset({1}), _scale(grid.recipes)
    return _figures(_Map(rows, columns, lambda row, column: grid.sheet.rows[column][1][row], gaps, scale=scale), inches)


def _scale(recipes: Sequence[str]) -> str:
    return f"difference to {baseline_words(recipes)}, points"


def values(matrix: Matrix, inches: float) -> list[Figure]:
    """A study's matrix: scores in grey, differences and coefficients in colours; `*`: p < 0.05 after Holm."""
    rows, columns = _names(matrix.rows, inches), tuple(matrix.columns)
    kind: Literal["score", "difference"] = "score" if matrix.unit == "percent" else "difference"

    def entry(row: int, column: int) -> Entry:
        is_marked = (matrix.rows[row], matrix.columns[column]) in matrix.marked
        return Entry(kind, matrix.values[row][column], mark="*" if is_marked else "", note="–")

    digits = 2 if matrix.unit == "coefficient" else 1
    return _figures(_Map(rows, columns, entry, digits=digits, scale=matrix.unit), inches)


def _names(recipes: Sequence[str], inches: float) -> tuple[str, ...]:
    return tuple(style.wrapped(name, style.SMALL, _NAME_SHARE * inches) for name in recipes)


def _short(name: str, widest: float) -> str:
    return style.wrapped(name, style.SMALL, widest)


@dataclass(frozen=True)
class _Measures:
    """In inches. `heights`: of rows; `limit`: the ends of the scale in points, 0: there is none."""

    inches: float
    names_width: float
    cell_width: float
    heights: tuple[float, ...]
    gaps: float
    names_height: float
    limit: float
    is_upright: bool
    digits: int
    scale: str

    @property
    def room(self) -> float:
        return self.inches - _EDGE - self.names_width

    @property
    def map_height(self) -> float:
        return sum(self.heights) + self.gaps

    @property
    def block_height(self) -> float:
        return self.names_height + self.map_height + _DETAIL

    @property
    def scale_height(self) -> float:
        return _SCALE_HEIGHT if self.limit else 0.0


def _figures(cells: _Map, inches: float) -> list[Figure]:
    """One, or as many as it takes pages."""
    entries = [cells.entry(row, column) for row in range(len(cells.rows)) for column in range(len(cells.columns))]
    names_width = max((style.text_width(name, style.SMALL) for name in cells.rows), default=0.0) + 0.06
    room = inches - _EDGE - names_width
    cell_width = max([0.2, *(_entry_width(entry, cells.digits) for entry in entries)])
    blocks = _blocks(len(cells.columns), room, cell_width)
    cell_width = min(room / max(map(len, blocks)), max(cell_width, _WIDEST_CELL))
    is_upright = any(style.text_width(name, style.SMALL) > cell_width - 0.03 for name in cells.columns)
    if is_upright:
        lines = max(1, int((cell_width - 0.02) / style.LINE))
        cells = replace(
            cells, columns=tuple(style.wrapped(name, style.SMALL, _UPRIGHT, lines) for name in cells.columns)
        )
    measures = _Measures(
        inches,
        names_width,
        cell_width,
        tuple(max(_ROW, style.height_of(name) + 0.03) for name in cells.rows),
        _GAP * sum(0 < row < len(cells.rows) for row in cells.gaps),
        max(map(_upright_height if is_upright else style.height_of, cells.columns)) + 0.04,
        _limit(entries),
        is_upright,
        cells.digits,
        cells.scale,
    )
    pages = style.pages([measures.block_height] * len(blocks), measures.scale_height)
    return [_page(cells, [blocks[number] for number in page], measures) for page in pages]


def _upright_height(name: str) -> float:
    return style.text_width(name, style.SMALL)


def _page(cells: _Map, blocks: Sequence[range], measures: _Measures) -> Figure:
    height = len(blocks) * measures.block_height + measures.scale_height
    drawn_figure = style.figure(measures.inches, height)
    top = height
    for block in blocks:
        bottom = top - measures.block_height + _DETAIL / 2
        width = measures.cell_width * len(block)
        of_block = style.axes(drawn_figure, measures.names_width, bottom, width, measures.map_height)
        _draw_block(of_block, cells, block, measures)
        top -= measures.block_height
    if measures.limit:
        _draw_scale(drawn_figure, measures)
    return drawn_figure


def _blocks(columns: int, room: float, cell_width: float) -> list[range]:
    """Columns that stand beside each other: as few blocks as there is room for, all about as long."""
    number = ceil(columns / max(1, int(room / cell_width)))
    length = ceil(columns / max(1, number))
    return [range(start, min(columns, start + length)) for start in range(0, columns, length)]


def _entry_width(entry: Entry, digits: int) -> float:
    return style.text_width(_text(entry, digits), style.TINY, bold=entry.best) + 0.035


def _text(entry: Entry, digits: int) -> str:
    """As tables have it, without errors: those do not fit a cell."""
    if entry.value is None:
        return "·" if entry.missing else entry.note if len(entry.note) < 3 else "–"
    number = entry.number if digits == 1 else f"{entry.value:+.{digits}f}"
    return f"{number.replace('-', '−')}{entry.mark}{entry.dagger[:1]}"


def _limit(entries: Sequence[Entry]) -> float:
    """The ends of the scale, in points: of the largest differences the 98th percentile, so that one cell does not take
    all colour from the others; 0 where there is no difference."""
    sizes = sorted(abs(entry.value) for entry in entries if entry.kind == "difference" and entry.value is not None)
    return max(_LEAST_LIMIT, sizes[min(len(sizes) - 1, int(0.98 * len(sizes)))]) if sizes else 0.0


def _draw_block(of: Axes, cells: _Map, block: range, measures: _Measures) -> None:
    of.set_xlim(0, len(block))
    of.set_ylim(measures.map_height, 0)
    y = 0.0
    centres = []
    for row, height in enumerate(measures.heights):
        y += _GAP if row in cells.gaps and row else 0.0
        for place, column in enumerate(block):
            _draw_cell(of, cells.entry(row, column), (place, y), height, measures)
        centres.append(y + height / 2)
        y += height
    of.set_yticks(centres, cells.rows)
    of.set_xticks([place + 0.5 for place in range(len(block))], [cells.columns[column] for column in block])
    of.tick_params(length=0, labelsize=style.SMALL, top=True, labeltop=True, bottom=False, labelbottom=False)
    of.tick_params(axis="x", rotation=90 if measures.is_upright else 0)
    for label in (*of.get_yticklabels(), *of.get_xticklabels()):
        label.set_linespacing(style.LINE_SPACING)
    if not measures.is_upright:
        for label in of.get_xticklabels():
            label.set_verticalalignment("baseline")
    for spine in of.spines.values():
        spine.set_visible(False)


def _draw_cell(of: Axes, entry: Entry, corner: tuple[float, float], height: float, measures: _Measures) -> None:
    ground, ink = _colours(entry, measures.limit)
    hatch = "////" if entry.value is None and entry.missing else None
    of.add_patch(
        Rectangle(corner, 1, height, facecolor=ground, edgecolor="white" if not hatch else style.FAINT, linewidth=0.4,
                  hatch=hatch)
    )  # fmt: skip
    of.text(
        corner[0] + 0.5,
        corner[1] + height / 2,
        "" if hatch else _text(entry, measures.digits),
        size=style.TINY,
        color=ink,
        weight="bold" if entry.best else "normal",
        ha="center",
        va="center_baseline",
    )


def _colours(entry: Entry, limit: float) -> tuple[str | tuple[float, ...], str]:
    """Of the cell and its number."""
    if entry.value is None:
        return "white", style.FAINT
    if entry.kind != "difference":
        return style.GROUND, style.INK
    colour = _SCALE(Normalize(-limit, limit, clip=True)(entry.value))
    red, green, blue = (part**2.2 for part in colour[:3])
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return colour, "white" if luminance < _AS_MUCH_CONTRAST else style.INK


def _draw_scale(of: Figure, measures: _Measures) -> None:
    limit, inches = measures.limit, min(measures.room - 0.3, 2.0)  # its numbers are wider than it
    x = measures.names_width + (measures.room - inches) / 2
    scale_axes = style.axes(of, x, _SCALE_HEIGHT - 0.1, inches, 0.07)
    steps = 60
    for step in range(steps):
        scale_axes.add_patch(
            Rectangle((step / steps, 0), 1.02 / steps, 1, facecolor=_SCALE((step + 0.5) / steps), linewidth=0)
        )
    scale_axes.set_xlim(0, 1)
    scale_axes.set_ylim(0, 1)
    shown_ends = (-limit, 0.0, limit)
    labels = [f"{end:+.1f}".replace("-", "−") if end else "0" for end in shown_ends]
    scale_axes.set_xticks([0, 0.5, 1], labels, size=style.TINY)
    scale_axes.set_yticks([])
    scale_axes.set_xlabel(measures.scale, size=style.TINY, labelpad=1)
