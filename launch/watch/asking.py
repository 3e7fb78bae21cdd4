"""What is laid over the screen: a question with what would be done, a number to type, the help."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from launch.watch.acting import Proposal

_LINES = 200  # of a proposal that are drawn: of ten thousands the screen would stand still
_STYLE = """
{name} {{ align: center middle; }}
{name} > Vertical {{
    width: 76; max-width: 95%; height: auto; max-height: 90%; padding: 0 1;
    border: round $primary; background: $surface;
}}
{name} VerticalScroll {{ height: auto; max-height: 12; }}
{name} Horizontal {{ height: 1; margin-top: 1; }}
{name} Button {{ margin-right: 2; }}
{name} .title {{ text-style: bold; margin-bottom: 1; }}
{name} .hint {{ margin-top: 1; }}
"""


class Question(ModalScreen[bool]):
    """Shows a proposal and asks: y or n."""

    DEFAULT_CSS = _STYLE.format(name="Question")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
        Binding("up,k", "scroll(-1)", show=False),
        Binding("down,j", "scroll(1)", show=False),
    ]

    def __init__(self, proposal: Proposal) -> None:
        super().__init__()
        self.proposal = proposal

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(Text(self.proposal.question), classes="title")
            with VerticalScroll(can_focus=False):
                yield Static(Text("\n".join(_first(self.proposal.lines))), id="lines")
            yield Static(Text(f"the same: {self.proposal.command}", "dim"), classes="hint", id="command")
            with Horizontal():
                yield Button("[b]y[/b]es", id="yes", compact=True)
                yield Button("[b]n[/b]o", id="no", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no").focus()  # who presses Enter without reading does nothing

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")


def _first(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _LINES
    return [*lines[:_LINES], *([f"  … {more:,} more"] if more > 0 else [])]


class Number(ModalScreen[str | None]):
    """Asks for a number of elements."""

    DEFAULT_CSS = _STYLE.format(name="Number")
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "back")]

    def __init__(self, question: str, now: str) -> None:
        super().__init__()
        self._question, self._now = question, now

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(Text(self._question), classes="title")
            yield Input(placeholder=self._now, type="integer", restrict=r"\d*", compact=True)
            yield Static(Text("Enter: what it would do; Escape: back", "dim"), classes="hint")

    def action_leave(self) -> None:
        self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value or None)


HELP = """\
arrows, mouse  another cell; PageUp, PageDown, Home, End
Enter          open it: stages, attempts, logs, curves; Escape: back
Tab            to the shared trainings, and back
/              search: cells in which every word stands (recipe,
               target, state, cause, stage); Escape shows all
[ and ]        another experiment;  g  look again now

c cancel       what is queued or runs, and what waits for it
r retry        what failed, and what waited for it
h hold         keep what waits in Slurm's queue from starting
l release      let it go
u requeue      stop what runs; it goes on from its checkpoint
t throttle     how many elements run at the same time
               Each says what it would do, and asks. They are about
               the cell, in it about the stage; C R H L U are about
               the whole experiment.
q              leave; what was agreed to is done first, jobs go on

Slurm is asked once a minute, however many watchers are open."""


class Help(ModalScreen[None]):
    """What the keys do."""

    DEFAULT_CSS = _STYLE.format(name="Help") + "Help VerticalScroll { max-height: 100%; }"

    def compose(self) -> ComposeResult:
        with Vertical(), VerticalScroll():
            yield Static(Text(HELP))

    def on_key(self, event: events.Key) -> None:
        if event.key in ("escape", "question_mark", "q", "enter", "space"):
            event.stop()
            self.dismiss(None)
