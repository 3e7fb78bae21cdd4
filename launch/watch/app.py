"""The app: tabs of experiments, the matrix, shared trainings, totals; keys that act, each after a question."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static, Tab, Tabs

from launch.executors import Verb
from launch.plan import Plan
from launch.standing.records import Fold, SharedTraining
from launch.submit.beside import Collector
from launch.submit.notify import Notifier
from launch.watch import acting, sheet
from launch.watch.acting import Action, Proposal
from launch.watch.asking import Help, Number, Question
from launch.watch.cell import CellScreen
from launch.watch.deeds import Deed, finish
from launch.watch.grid import Grid
from launch.watch.looking import Experiment, Looker, end_questions
from slurm.base import UserError
from slurm.base.errors import one_line

_SWITCH_SECONDS = 0.001  # that the screen waits for the thread that looks, whenever it has something to draw
_SHARED_ROWS = 5  # of shared trainings in view
_VERBS: tuple[Verb, ...] = ("hold", "release", "requeue")


class WatchApp(App[None]):
    """Draws what the looking thread has seen; waits for no file system and no scheduler itself."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    Tabs { height: 2; }
    #head { height: auto; max-height: 2; text-style: bold; background: $primary-background; }
    #trouble { height: auto; max-height: 3; display: none; background: $warning; color: $text; }
    #matrix { height: 1fr; min-height: 4; }
    #shared { height: auto; display: none; margin-top: 1; }
    #totals { height: auto; max-height: 4; margin-top: 1; }
    #search { display: none; height: 1; }
    Toast { max-width: 76; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "search", key_display="/"),
        Binding("c", "act('cancel')", "cancel"),
        Binding("r", "act('retry')", "retry"),
        Binding("t", "throttle", "throttle"),
        Binding("h", "act('hold')", "hold", show=False),
        Binding("l", "act('release')", "release", show=False),
        Binding("u", "act('requeue')", "requeue", show=False),
        Binding("C", "act_on_all('cancel')", show=False),
        Binding("R", "act_on_all('retry')", show=False),
        Binding("H", "act_on_all('hold')", show=False),
        Binding("L", "act_on_all('release')", show=False),
        Binding("U", "act_on_all('requeue')", show=False),
        Binding("g", "look", "look now", show=False),
        Binding("left_square_bracket", "turn(-1)", show=False),
        Binding("right_square_bracket", "turn(1)", show=False),
        Binding("escape", "show_all", show=False),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "leave", "quit"),
        Binding("ctrl+c", "leave", show=False, priority=True),  # over a question and in a line that is typed, too
    ]

    class Looked(Message):
        """An experiment was looked at."""

        def __init__(self, experiment: Experiment) -> None:
            super().__init__()
            self.experiment = experiment

    class Asked(Message):
        """An action asks, and waits for the answer."""

        def __init__(self, proposal: Proposal, answer: Callable[[bool], None]) -> None:
            super().__init__()
            self.proposal, self.answer = proposal, answer

    class Said(Message):
        """An action has something to say, or is over."""

        def __init__(self, deed: Deed) -> None:
            super().__init__()
            self.deed = deed

    class Reported(Message):
        """The user's command, which is told of what is seen, failed."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    def __init__(self, plans: Sequence[Plan]) -> None:
        super().__init__()
        self.animation_level = "none"  # a terminal behind ssh is no place for them
        self.experiments = [
            Experiment(plan, Notifier(plan, self._report), Collector(plan, "watch", self._report)) for plan in plans
        ]
        self.shown = self.experiments[0]
        self.search = ""
        self.chosen: sheet.Chosen | None = None
        self.looker = Looker(self.experiments, self._tell)
        self.deeds: list[Deed] = []  # what keys began
        self.ended_by: UserError | OSError | None = None

    def _report(self, line: str) -> None:
        self.post_message(self.Reported(line))

    def _tell(self, experiment: Experiment) -> None:
        self.post_message(self.Looked(experiment))

    # --- the screen

    def compose(self) -> ComposeResult:
        if len(self.experiments) > 1:
            tabs = (Tab(at.plan.experiment.name, id=f"experiment-{n}") for n, at in enumerate(self.experiments))
            yield Tabs(*tabs, id="experiments")
        yield Static(id="head")
        yield Static(id="trouble")
        yield Grid(id="matrix")
        yield Grid(rows_only=True, id="shared")
        yield Static(id="totals")
        yield Input(placeholder="words: recipe, target, state, cause, stage", id="search", compact=True)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.title = "stepstone watch"
        self.query_one("#matrix").focus()
        for tabs in self.query(Tabs):
            tabs.can_focus = False
        self._die_with_the_terminal()
        sys.setswitchinterval(_SWITCH_SECONDS)
        self.draw()
        self.looker.start()
        self.set_interval(1.0, self._draw_head)  # the picture's age

    def _die_with_the_terminal(self) -> None:
        """A terminal that is gone ends the app: no process is left that nobody sees."""
        if self.is_headless or threading.current_thread() is not threading.main_thread():
            return
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also under nohup, which would leave it running
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self.set_interval(5.0, self._check_terminal)

    def _handle_exception(self, error: Exception) -> None:
        """Ends the app, as Textual has it; what has a line for the person is told in it, without a traceback."""
        super()._handle_exception(error)
        if isinstance(error, UserError) or (isinstance(error, OSError) and one_line(error)):
            self.ended_by = self.ended_by or error
            self._exit_renderables.clear()  # the traceback

    def _check_terminal(self) -> None:
        if not os.isatty(sys.__stdin__.fileno() if sys.__stdin__ else 0):
            end_questions()
            os._exit(1)

    def on_watch_app_looked(self, message: Looked) -> None:
        if message.experiment is self.shown:
            self.draw()
        for screen in self.screen_stack:
            if isinstance(screen, CellScreen) and screen.experiment is message.experiment:
                screen.draw()

    def draw(self) -> None:
        """Show the newest picture of the experiment in view."""
        if not self._is_there:
            return
        self._draw_head()
        picture = self.shown.picture
        if picture is None:
            return
        self.chosen = sheet.choose(picture.sheet, self.search)
        base = self.screen_stack[0]
        base.query_one("#matrix", Grid).show(sheet.matrix(picture.sheet, self.chosen, self.search))
        trainings = base.query_one("#shared", Grid)
        trainings.display = bool(self.chosen.shared)
        trainings.styles.height = 1 + min(_SHARED_ROWS, len(self.chosen.shared))
        trainings.show(sheet.shared_table(self.chosen))
        lines = [*picture.sheet.totals, picture.sheet.next_step]
        _update(base.query_one("#totals", Static), "\n".join(line for line in lines if line))

    @property
    def _is_there(self) -> bool:
        """Whether the screen is whole: a look may come in while it is taken down."""
        return bool(self.screen_stack) and bool(self.screen_stack[0].query("#totals"))

    def _draw_head(self) -> None:
        if not self._is_there:
            return
        base, picture = self.screen_stack[0], self.shown.picture
        trouble = self.shown.trouble or (picture.sheet.silence if picture else None)
        box = base.query_one("#trouble", Static)
        box.display = trouble is not None
        if trouble is not None and self.shown.trouble and picture is not None:
            trouble = f"{trouble}; this is what was seen {sheet.age(picture.taken)}"
        _update(box, trouble or "")
        name = self.shown.plan.experiment.name
        if picture is None:
            _update(base.query_one("#head", Static), f"{name}: {'no look yet' if trouble else 'looking …'}")
            return
        search_words = f" /{self.search}" if self.search else ""
        text = f"{name}{search_words}, {sheet.age(picture.taken)}: {picture.sheet.counts}"
        _update(base.query_one("#head", Static), text)

    # --- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the matrix are none on other screens; over a question, only to leave is one."""
        if isinstance(self.screen, ModalScreen):
            return action in ("leave", "help_quit")
        return len(self.screen_stack) == 1 or action not in ("search", "show_all", "throttle", "turn")

    def action_leave(self) -> None:
        self.exit()

    def action_help(self) -> None:
        self.push_screen(Help())

    def action_look(self) -> None:
        self.looker.look_now()

    def action_turn(self, by: int) -> None:
        number = (self.experiments.index(self.shown) + by) % len(self.experiments)
        for tabs in self.screen_stack[0].query(Tabs):
            tabs.active = f"experiment-{number}"

    def on_tabs_tab_activated(self, event: Tabs.TabActivated) -> None:
        self.shown = self.experiments[int(str(event.tab.id).removeprefix("experiment-"))]
        self.draw()

    def on_grid_opened(self, message: Grid.Opened) -> None:
        fold = self._fold_under_cursor(message.grid)
        if fold is None or len(self.screen_stack) > 1:
            return
        if isinstance(fold, SharedTraining):
            self.push_screen(CellScreen(self.shown, f"shared training {fold.name}", None, fold.name))
        else:
            at = self._cell_under_cursor()
            self.push_screen(CellScreen(self.shown, f"{at[0]} × {at[1]}" if at else "", at, None))

    def _cell_under_cursor(self) -> tuple[str, str] | None:
        grid = self.screen_stack[0].query_one("#matrix", Grid)
        if self.chosen is None or not self.chosen.recipes or not self.chosen.targets:
            return None
        return self.chosen.recipes[grid.row], self.chosen.targets[grid.column - 1]

    def _fold_under_cursor(self, grid: Grid) -> Fold | None:
        picture = self.shown.picture
        if picture is None or self.chosen is None:
            return None
        if grid.id == "shared":
            return self.chosen.shared[grid.row].entry.fold if self.chosen.shared else None
        at = self._cell_under_cursor()
        return picture.overview.cells.get(at) if at else None

    # --- search

    def action_search(self) -> None:
        if len(self.screen_stack) > 1:
            return
        box = self.query_one("#search", Input)
        box.display = True
        box.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "search":
            self.search = event.value
            self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "search":
            event.input.display = False
            self.query_one("#matrix").focus()

    def action_show_all(self) -> None:
        box = self.screen_stack[0].query_one("#search", Input)
        box.value, box.display, self.search = "", False, ""
        self.screen_stack[0].query_one("#matrix").focus()
        self.draw()

    # --- actions

    def action_act(self, verb: str) -> None:
        """On the stages under the cursor."""
        keys = self._keys_under_cursor()
        if keys:
            self._begin(verb, _action(self.shown.plan, verb, keys))
        else:
            self.say("nothing under the cursor that this could be done to")

    def action_act_on_all(self, verb: str) -> None:
        self._begin(verb, _action(self.shown.plan, verb, None))

    def action_throttle(self) -> None:
        cluster = self.shown.plan.experiment.cluster
        now = f"the file says {cluster.throttle or 'none'}; 0: any number"

        def given(text: str | None) -> None:
            if text is not None:
                self._begin("throttle", acting.throttle(self.shown.plan, int(text) or None))

        self.push_screen(Number("How many elements may run at the same time?", now), given)

    def _keys_under_cursor(self) -> list[str]:
        """Of the stages that the key is about: of a cell those that no other cell needs, but for a retry, which goes up
        to what it needs by itself."""
        plan = self.shown.plan
        if isinstance(self.screen, CellScreen):
            stage = self.screen.stage
            return [stage.key] if stage else []
        grid = self.focused if isinstance(self.focused, Grid) else self.query_one("#matrix", Grid)
        fold = self._fold_under_cursor(grid)
        if fold is None:
            return []
        if isinstance(fold, SharedTraining):
            return [seed.stage for seed in fold.seeds]
        keys: dict[str, None] = {}
        for seed in fold.seeds:
            key: str | None = seed.stage
            while key is not None and len(plan.users[key]) == 1:
                keys[key] = None
                key = plan.stages[key].parent
        finished_keys = self.shown.picture.observation.finished if self.shown.picture else set()
        return [key for key in keys if key not in finished_keys]

    def _begin(self, verb: str, action: Action) -> None:
        """Do it in a thread of its own; it asks before anything is changed."""

        def ask(proposal: Proposal, answer: Callable[[bool], None]) -> None:
            self.post_message(self.Asked(proposal, answer))

        def notice(deed: Deed) -> None:
            with suppress(RuntimeError):  # the screen is gone; `finish` tells it
                self.post_message(self.Said(deed))
            if deed.is_over:
                self.looker.look_now()

        self.deeds = [deed for deed in self.deeds if not deed.is_over]
        self.deeds.append(Deed(verb, action, ask, notice))
        self.say("asking Slurm …")
        self.deeds[-1].start()

    def on_watch_app_asked(self, message: Asked) -> None:
        self.push_screen(Question(message.proposal), lambda is_agreed: message.answer(bool(is_agreed)))

    def on_watch_app_said(self, message: Said) -> None:
        for line, is_error in message.deed.take_lines():
            self.say(line, is_error=is_error)

    def on_watch_app_reported(self, message: Reported) -> None:
        self.say(message.line, is_error=True)

    def say(self, line: str, *, is_error: bool = False) -> None:
        """A line that goes by itself."""
        self.notify(line, severity="error" if is_error else "information", timeout=15 if is_error else 6, markup=False)


def _action(plan: Plan, verb: str, keys: Sequence[str] | None) -> Action:
    if verb == "cancel":
        return acting.cancel(plan, keys)
    if verb == "retry":
        return acting.retry(plan, keys)
    return acting.change(plan, next(name for name in _VERBS if name == verb), keys)


def _update(static: Static, text: str) -> None:
    """Redraw only what changed."""
    if getattr(static, "shown_text", None) != text:
        static.update(Text(text))
        static.shown_text = text  # type: ignore[attr-defined]


def run(plans: Sequence[Plan], say: Callable[[str], None]) -> int:
    """Watch until the person leaves; the exit code. UserError or OSError where such a one ended the app.

    What was agreed to is brought to its end once the screen is gone, told with `say`; nothing else is waited for.
    """
    app = WatchApp(plans)
    app.run()
    app.looker.stop()
    code = finish(app.deeds, say)
    end_questions()
    for experiment in app.experiments:
        if experiment.collector is not None:
            experiment.collector.stop()
    if app.ended_by is not None:
        raise app.ended_by
    return code or app.return_code or 0
