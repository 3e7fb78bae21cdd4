"""How `--help` lists commands: each with its whole first sentence, at any width."""

from typing import TYPE_CHECKING

from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

_WHOLE = 10_000  # letters: click cuts a summary at the terminal's width, in the middle of a sentence


class Group(TyperGroup):
    """Commands whose summaries are wrapped, where click would cut them with `...`."""

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        listed_commands = [(name, command) for name in self.list_commands(ctx) if (command := self.commands[name])]
        rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in listed_commands if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
