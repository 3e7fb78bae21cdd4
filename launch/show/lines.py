"""Lines for people that have their width already: printed as they are, wrapped between words."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from launch.text import wrapped


def print_lines(console: Console, lines: Iterable[str | Text], style: str = "") -> None:
    """Neither wrapped nor cut, nor read as rich's markup."""
    for line in lines:
        console.print(
            line,
            style=style,
            markup=False,
            highlight=False,
            no_wrap=True,
            overflow="ignore",
            crop=False,
            soft_wrap=True,
        )


def hanging(text: str, width: int) -> list[str]:
    """A text wrapped between words; what follows is indented two further than it."""
    margin = len(text) - len(text.lstrip())
    first, *more = wrapped(text.lstrip(), width - margin - 2)
    return [" " * margin + first, *(" " * (margin + 2) + line for line in more)]
