"""A table of any length: only what is in view is drawn, and of that only the lines that changed.

Columns keep the width of their longest text, so that no number is ever cut: what does not fit beside each other is
scrolled to, whole columns at a time. The first column stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

Text = tuple[str, str]  # and its style, in rich's words


@dataclass(frozen=True)
class Table:
    """What a grid shows. `text` is asked for the cells in view, by row and column."""

    headings: Sequence[str]
    widths: Sequence[int]  # of columns, in cells of the terminal
    rows: int
    text: Callable[[int, int], Text]
    empty: str = ""  # shown instead of rows, where there are none


_NOTHING = Table((), (), 0, lambda row, column: ("", ""))
_GAP = 2
_LEAST = 12  # cells of the terminal that a first column keeps, however narrow the window


class Grid(ScrollView, can_focus=True):
    """Shows a Table; the cursor is a cell, or a whole row."""

    DEFAULT_CSS = "Grid { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1, 0)", show=False),
        Binding("down,j", "move(1, 0)", show=False),
        Binding("left", "move(0, -1)", show=False),
        Binding("right", "move(0, 1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000000, 0)", show=False),
        Binding("end", "move(1000000000, 0)", show=False),
        Binding("enter", "open", "open"),
    ]

    class Moved(Message):
        """The cursor is on another cell."""

        def __init__(self, grid: "Grid") -> None:
            super().__init__()
            self.grid = grid

        @property
        def control(self) -> "Grid":
            return self.grid

    class Opened(Moved):
        """Enter was pressed on a cell, or it was clicked twice."""

    def __init__(self, *, rows_only: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.table = _NOTHING
        self.row, self.column = 0, 1  # the cursor; column 0 is never under it
        self._rows_only = rows_only
        self._first = 1  # of the columns in view beside column 0
        self._drawn: dict[int, Strip] = {}  # by line of the screen

    # --- what is shown

    def show(self, table: Table) -> None:
        """Show a table; the cursor stays where it was, as far as there is such a place."""
        self.table = table
        size = Size(max(1, self.size.width), table.rows + 1)
        if size != self.virtual_size:
            self.virtual_size = size
        self._place(self.row, self.column)
        self._refresh_changed()

    def place(self, row: int, column: int = 1) -> None:
        """Put the cursor there, and what it is on into view."""
        self._place(row, column)
        self._refresh_changed()

    def _place(self, row: int, column: int) -> None:
        count = len(self.table.headings)
        self.row = min(max(0, row), max(0, self.table.rows - 1))
        self.column = min(max(1, column), max(1, count - 1))
        height = max(1, self.size.height - 1)  # without the heading
        if self.row < self.scroll_offset.y:
            self.scroll_to(y=self.row, animate=False)
        elif self.row >= self.scroll_offset.y + height:
            self.scroll_to(y=self.row - height + 1, animate=False)
        self._first = min(self._first, self.column)
        while self._first < self.column and self.column >= self._first + self._columns_in_view(self._first):
            self._first += 1
        while (
            self._first > 1
            and self.column < self._first - 1 + self._columns_in_view(self._first - 1)
            and (self._first - 1 + self._columns_in_view(self._first - 1) >= count)
        ):
            self._first -= 1  # a wider window shows more

    def _columns_in_view(self, first: int) -> int:
        room, count = self.size.width - self._label_width - _GAP, 0
        for width in self.table.widths[first:]:
            if room < width:
                break
            room, count = room - width - _GAP, count + 1
        return max(1, count)

    @property
    def _label_width(self) -> int:
        if not self.table.widths:
            return 0
        widest = max(self.table.widths[1:], default=0)
        return max(min(_LEAST, self.table.widths[0]), min(self.table.widths[0], self.size.width - widest - _GAP - 1))

    # --- drawing

    def _refresh_changed(self) -> None:
        for y in range(self.size.height):
            if self._drawn.get(y) != self._line(y):
                self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        strip = self._drawn[y] = self._line(y)
        return strip

    def _line(self, y: int) -> Strip:
        table, width = self.table, self.size.width
        base = self.rich_style
        if y == 0:
            return self._heading(base).adjust_cell_length(width, base)
        row = y - 1 + self.scroll_offset.y
        if row >= table.rows:
            text = table.empty if row == 0 else ""
            return Strip([Segment(text, base + Style(dim=True))]).adjust_cell_length(width, base)
        chosen_row = row == self.row
        label, style = table.text(row, 0)
        segments = [Segment(_fit(label, self._label_width), self._style(base, style, chosen_row and self._rows_only))]
        last = self._first + self._columns_in_view(self._first)
        for column in range(self._first, min(last, len(table.widths))):
            text, style = table.text(row, column)
            is_chosen = chosen_row and (self._rows_only or column == self.column)
            # The gap belongs to a chosen row, and to no chosen cell.
            segments.append(Segment(" " * _GAP, self._style(base, "", chosen_row and self._rows_only)))
            full_text = text.ljust(table.widths[column])
            segments.append(Segment(full_text, self._style(base, style, is_chosen)))
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, base: Style, style: str, is_chosen: bool) -> Style:
        cell_style = base + Style.parse(style) if style else base
        # Reverse, which is seen without colours too.
        return cell_style + Style(reverse=True) if is_chosen and self.has_focus else cell_style

    def _heading(self, base: Style) -> Strip:
        table, style = self.table, base + Style(bold=True)
        if not table.headings:
            return Strip([])
        last = min(self._first + self._columns_in_view(self._first), len(table.headings))
        before, after = self._first - 1, len(table.headings) - last
        segments = [Segment(_fit(table.headings[0], self._label_width), style)]
        for column in range(self._first, last):
            gap = " " * _GAP
            if before and column == self._first:
                gap = f"{'‹' + (str(before) if before < 10 else ''):>{_GAP}}"
            segments += [Segment(gap, base), Segment(table.headings[column].ljust(table.widths[column]), style)]
        text = Strip(segments)
        more = f"{after} more ›"
        if after and text.cell_length + 1 + len(more) <= self.size.width:
            return Strip([*text.adjust_cell_length(self.size.width - len(more), base), Segment(more, base)])
        if after:
            return Strip([*text.adjust_cell_length(self.size.width - 1, base), Segment("›", base)])
        return text

    # --- moving

    def action_move(self, rows: int, columns: int) -> None:
        self._go(self.row + rows, self.column + columns)

    def action_page(self, direction: int) -> None:
        self._go(self.row + direction * max(1, self.size.height - 2), self.column)

    def action_open(self) -> None:
        if self.table.rows:
            self.post_message(self.Opened(self))

    def _go(self, row: int, column: int) -> None:
        before = self.row, self.column
        self.place(row, column)
        if (self.row, self.column) != before:
            self.post_message(self.Moved(self))

    def on_click(self, event: events.Click) -> None:
        row = event.y - 1 + self.scroll_offset.y
        if event.y == 0 or row >= self.table.rows:
            return
        before = self.row, self.column
        self._go(row, self._column_at(event.x))
        if event.chain == 2 or (self.row, self.column) == before:
            self.action_open()

    def _column_at(self, x: int) -> int:
        end = self._label_width + _GAP
        last = min(self._first + self._columns_in_view(self._first), len(self.table.widths))
        for column in range(self._first, last):
            end += self.table.widths[column] + _GAP
            if x < end:
                return column
        return self.column

    def on_resize(self) -> None:
        self._drawn.clear()
        self.show(self.table)

    def on_focus(self) -> None:
        self._refresh_changed()

    def on_blur(self) -> None:
        self._refresh_changed()


def _fit(text: str, width: int) -> str:
    """A name in so many cells; of one that is too long the middle is left out, for its end tells it from others."""
    if len(text) <= width:
        return text.ljust(width)
    if width < 3:
        return text[:width]
    end = (width - 1) // 2
    return text[: width - 1 - end] + "…" + text[len(text) - end :]
