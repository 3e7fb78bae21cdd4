"""Words for the person at the terminal: progress, some of many names, sizes, times. Their one place."""

import codecs
import re
import shlex
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

_IN_PLAIN_LETTERS = {"→": "->", "…": "...", "–": "-", "—": "-", "≤": "<=", "≥": ">=", "±": "+-", "×": "x", "·": "-"}
_COMMAND = re.compile(r"`[^`]+`|\bstepstone [a-z][^;,()]*")  # what a person may type
_JOINED = "\ue000"  # for a space at which no line ends


def show_what_can_be_shown() -> None:
    """Where the encoding is not UTF-8, show what it has: our own signs in plain letters, `?` for other letters."""
    codecs.register_error("stepstone", _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a test or a notebook may have put another stream there
            stream.reconfigure(errors="stepstone")


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError), error
    letters = error.object[error.start : error.end]
    return "".join(_IN_PLAIN_LETTERS.get(letter, "?") for letter in letters), error.end


def say(line: str) -> None:
    """Progress and what was done: to stderr, for stdout is for data."""
    print(fitted(line, sys.stderr), file=sys.stderr, flush=True)


def fitted(line: str, stream: TextIO) -> str:
    """A line as a terminal shows it: broken between words, where the terminal would break it anywhere, a command to
    type in the middle too. Elsewhere as it is: one line."""
    if not stream.isatty():
        return line
    return "\n".join(wrapped(line, shutil.get_terminal_size().columns))


def as_typed(path: Path) -> str:
    """A file as a person types it in a shell, here: as it was typed; what lies below the working directory without
    that."""
    if path.is_absolute():
        with suppress(ValueError, OSError):  # elsewhere; or the directory has gone
            path = path.relative_to(Path.cwd())
    return shlex.quote(str(path))


def some(names: Iterable[str], limit: int = 4) -> str:
    """The first of many names, for a line."""
    listed_names = list(names)
    return ", ".join(listed_names[:limit]) + (f", … ({len(listed_names)} in all)" if len(listed_names) > limit else "")


def wrapped(text: str, width: int) -> list[str]:
    """A text as lines that end between words, and never inside a command to type or a path, however long it is."""
    whole_commands = _COMMAND.sub(
        lambda match: match[0].rstrip().replace(" ", _JOINED) + " " * match[0].endswith(" "), text
    )
    lines = textwrap.wrap(whole_commands, max(1, width), break_long_words=False, break_on_hyphens=False) or [""]
    return [line.replace(_JOINED, " ") for line in lines]


def labelled(lines: Sequence[Sequence[str]], width: int) -> list[str]:
    """Rows of labels and a text, in columns two apart; the text, which is last, goes on below itself."""
    columns = [max(map(len, column), default=0) for column in zip(*(line[:-1] for line in lines), strict=True)]
    indent = sum(columns) + 2 * len(columns)
    rows: list[str] = []
    for *labels, text in lines:
        first, *more = wrapped(text, width - indent)
        start = "".join(f"{label:<{length}}  " for label, length in zip(labels, columns, strict=True))
        rows += [(start + first).rstrip(), *(" " * indent + line for line in more)]
    return rows


def clock(seconds: float) -> str:
    """The hour and minute of a Unix time, where the person is."""
    return time.strftime("%H:%M", time.localtime(seconds))


def moment(seconds: float | None) -> str:
    """The day too, and the second; `?` where nobody noted it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "?"


def duration(seconds: float) -> str:
    """Seconds for people: 40 s, 12 min, 3.5 h, 2.1 days."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def brief(seconds: float) -> str:
    """The same where there is little room: 40s, 12m, 3.5h, 2.1d."""
    number, unit = duration(seconds).split()
    return f"{number.removesuffix('.0')}{unit[0]}"


def size(count: int) -> str:
    """Bytes for people, in powers of ten as estimates have them: 17 bytes, 1.5 MB."""
    from rich import filesize  # every command and every job imports this module, few print a size

    return filesize.decimal(count)
