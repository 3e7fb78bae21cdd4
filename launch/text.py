"""Words for the person at the terminal."""

import sys
import time
from collections.abc import Iterable


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
