"""The screen behind a cell: its stages, and of one of them attempts, logs and curves, read again and again."""

import threading
from collections.abc import Sequence
from typing import ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Sparkline, Static, Tab, Tabs

from eval.tables.cells import DIVERGED
from launch.plan import Stage
from launch.results import scores
from launch.show.cells import STYLES
from launch.standing import records
from launch.standing.records import Fold
from launch.watch.grid import Grid, Table
from launch.watch.looking import Experiment, Picture
from launch.watch.tails import PANES, Curve, Page, Pane, StageReader

_SECONDS = 2.0  # between two reads of the pane in view


class Plot(Vertical):
    """One curve, with its numbers above it."""

    DEFAULT_CSS = """
    Plot { height: 1fr; max-height: 6; }
    Plot > Static { height: 1; }
    Plot > Sparkline { height: 1fr; }
    """

    def __init__(self) -> None:
        self._label, self._line = Static(), Sparkline([])
        super().__init__(self._label, self._line)

    def show(self, curve: Curve) -> None:
        self._label.update(Text(f"{curve.name}: {curve.numbers}"))
        self._line.data = list(curve.values)


class CellScreen(Screen[None]):
    """What a cell of the matrix, or a shared training, rests on."""

    DEFAULT_CSS = """
    CellScreen #title { height: 1; text-style: bold; background: $primary-background; }
    CellScreen #stages { height: auto; max-height: 40%; }
    CellScreen #pane { height: 1fr; }
    CellScreen #plots { height: 1fr; display: none; padding: 0 1; layout: grid; grid-size: 2; grid-gutter: 0 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "app.pop_screen", "back"),
        *(Binding(str(n), f"pane('{pane}')", show=False) for n, pane in enumerate(PANES, 1)),
        Binding("tab", "turn(1)", "pane", priority=True),
        Binding("shift+tab", "turn(-1)", show=False, priority=True),
        Binding("pageup,ctrl+b", "scroll_pane(-1)", show=False, priority=True),
        Binding("pagedown,ctrl+f,space", "scroll_pane(1)", show=False, priority=True),
        Binding("c", "app.act('cancel')", "cancel"),
        Binding("r", "app.act('retry')", "retry"),
    ]

    class Read(Message):
        """A pane was read."""

        def __init__(self, page: Page) -> None:
            super().__init__()
            self.page = page

    def __init__(self, experiment: Experiment, title: str, at: tuple[str, str] | None, name: str | None) -> None:
        """at: the cell's recipe and target; name: a shared training's."""
        super().__init__()
        self.experiment, self._title, self._at, self._name = experiment, title, at, name
        self.stages: Sequence[Stage] = ()
        self.pane: Pane = "attempts"
        self.page: Page | None = None
        self._plots: dict[str, Plot] = {}  # by the names of their curves
        self._wake, self._ended = threading.Event(), False

    def compose(self) -> ComposeResult:
        yield Static(Text(self._title), id="title")
        yield Static(id="race")
        yield Grid(rows_only=True, id="stages")
        yield Tabs(*(Tab(f"{n} {pane}", id=pane) for n, pane in enumerate(PANES, 1)))
        with VerticalScroll(id="pane", can_focus=False):
            yield Static(id="text")
        yield Vertical(id="plots")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(Tabs).can_focus = False
        self.query_one("#stages").focus()
        self.draw()
        threading.Thread(target=self._run, name="reading", daemon=True).start()

    def on_unmount(self) -> None:
        self._ended = True
        self._wake.set()

    # --- stages

    @property
    def fold(self) -> Fold | None:
        """How it stands in the newest picture."""
        picture = self.experiment.picture
        if picture is None:
            return None
        if self._at is not None:
            return picture.overview.cells.get(self._at)
        return next((training for training in picture.overview.shared if training.name == self._name), None)

    @property
    def stage(self) -> Stage | None:
        """The one under the cursor."""
        return self.stages[self.query_one("#stages", Grid).row] if self.stages else None

    def draw(self) -> None:
        """Show the newest picture."""
        picture, fold = self.experiment.picture, self.fold
        if picture is None or fold is None:
            return
        self._draw_race(picture)
        first_time = not self.stages
        self.stages = records.stages_of(self.experiment.plan, fold)
        grid = self.query_one("#stages", Grid)
        grid.show(_table(self.experiment, picture, self.stages))
        if first_time:
            grid.place(_first_row(picture, self.stages))
        self._wake.set()

    def _draw_race(self, picture: Picture) -> None:
        race, pair = self.experiment.plan.experiment.race, self._at and picture.observation.racing.pairs.get(self._at)
        line = self.query_one("#race", Static)
        line.display = bool(pair)
        if race and pair:
            line.update(Text(f"race: {pair.words(race)}"))

    def on_grid_moved(self, message: Grid.Moved) -> None:
        message.stop()
        self._wake.set()

    # --- panes

    def action_pane(self, pane: Pane) -> None:
        self.query_one(Tabs).active = pane

    def action_turn(self, by: int) -> None:
        self.action_pane(PANES[(PANES.index(self.pane) + by) % len(PANES)])

    def action_scroll_pane(self, pages: int) -> None:
        pane = self.query_one("#pane")
        pane.scroll_relative(y=pages * max(1, pane.size.height - 1), animate=False)

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        event.stop()
        self.pane = cast(Pane, event.tab.id)
        self.query_one("#pane").display = self.pane != "curves"
        self.query_one("#plots").display = self.pane == "curves"
        self._wake.set()

    def on_cell_screen_read(self, message: Read) -> None:
        page, stage = message.page, self.stage
        if stage is None or (page.stage, page.pane) != (stage.key, self.pane):
            return  # of what was in view before
        is_new = self.page is None or (self.page.stage, self.page.pane) != (page.stage, page.pane)
        if page == self.page:
            return
        self.page = page
        if page.pane == "curves":
            self._draw_curves(page)
            return
        pane = self.query_one("#pane", VerticalScroll)
        at_end = pane.scroll_offset.y >= pane.max_scroll_y
        self.query_one("#text", Static).update(Text("\n".join(page.lines)))
        if page.pane == "attempts" and is_new:
            pane.scroll_home(animate=False)
        elif page.pane != "attempts" and (is_new or at_end):
            pane.scroll_end(animate=False)  # a tail; who has scrolled up goes on reading there

    def _draw_curves(self, page: Page) -> None:
        if list(self._plots) != [curve.name for curve in page.curves]:
            box = self.query_one("#plots", Vertical)
            box.remove_children()
            self._plots = {curve.name: Plot() for curve in page.curves}
            box.mount(*self._plots.values() or [Static("nothing is measured yet")])
        for curve in page.curves:
            self._plots[curve.name].show(curve)

    def _run(self) -> None:
        """Read the pane in view, in a thread: a file system may hang."""
        reader: StageReader | None = None
        while not self._ended:
            self._wake.clear()
            picture, stage = self.experiment.picture, self.stage_in_view
            if picture is not None and stage is not None:
                if reader is None or reader.stage.key != stage.key:
                    reader = StageReader(stage)
                page = reader.read(picture, self.pane)
                if not self._ended:
                    self.post_message(self.Read(page))
            self._wake.wait(_SECONDS)

    @property
    def stage_in_view(self) -> Stage | None:
        """Of the thread: the stage under the cursor, unless the screen changes just now."""
        try:
            return self.stage
        except Exception:  # the screen is being taken down, or its stages change
            return None


def _table(experiment: Experiment, picture: Picture, stages: Sequence[Stage]) -> Table:
    """A row each; what is not in view is not looked up."""
    observation = picture.observation

    def text(row: int, column: int) -> tuple[str, str]:
        stage = stages[row]
        state = observation.state(stage)
        style = STYLES[state.state]
        if column == 0:
            return stage.name, ""
        if column == 1:
            return state.state, style
        if column == 2:
            return _how_far(experiment, picture, stage), style
        return state.job or "", "dim"

    names = max((len(stage.name) for stage in stages), default=0)
    return Table(("stage", "state", "so far", "job"), (min(40, names), 9, 12, 12), len(stages), text, "no stage")


def _how_far(experiment: Experiment, picture: Picture, stage: Stage) -> str:
    """The score of what is finished, the share of what runs, the cause of what failed."""
    state = picture.observation.state(stage)
    if state.state == "finished":
        record = picture.store.known(stage)
        score = record.score if record else scores.score(experiment.plan, picture.store, stage)
        mark = f" {DIVERGED}" if record and record.at_chance else ""
        return "" if score is None else f"{score:.1f}{mark}"
    progress = picture.overview.progress.get(stage.key)
    if progress is not None and progress.share is not None:
        return f"{progress.share:.0%}"
    return state.cause or ""


def _first_row(picture: Picture, stages: Sequence[Stage]) -> int:
    """The first stage that needs a person, else that runs."""
    for state in ("failed", "running", "held", "queued"):
        for row, stage in enumerate(stages):
            if picture.observation.state(stage).state == state:
                return row
    return 0
