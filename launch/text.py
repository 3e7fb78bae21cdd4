"""Words for the person at the terminal: progress, some of many names, sizes, times. Their one place."""

import codecs
import sys
import time
from collections.abc import Iterable

_IN_PLAIN_LETTERS = {"→": "->", "…": "...", "–": "-", "—": "-", "≤": "<=", "≥": ">=", "±": "+-", "×": "x", "·": "-"}


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
    print(line, file=sys.stderr, flush=True)


def some(names: Iterable[str], limit: int = 4) -> str:
    """The first of many names, for a line."""
    listed_names = list(names)
    return ", ".join(listed_names[:limit]) + (f", … ({len(listed_names)} in all)" if len(listed_names) > limit else "")


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


def size(count: int) -> str:
    """Bytes for people, in powers of ten as estimates have them: 17 bytes, 1.5 MB."""
    from rich import filesize  # every command and every job imports this module, few print a size

    return filesize.decimal(count)
