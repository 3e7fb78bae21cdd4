"""Words for the person at the terminal."""

import sys
import time
from collections.abc import Iterable


def say(line: str) -> None:
    """Progress and what was done: to stderr, for stdout is for data."""
    print(line, file=sys.stderr, flush=True)


def some(names: Iterable[str], most: int = 4) -> str:
    """The first of many names, for a line."""
    found = list(names)
    return ", ".join(found[:most]) + (f", … ({len(found)} in all)" if len(found) > most else "")


def clock(seconds: float) -> str:
    """The hour and minute of a Unix time, where the person is."""
    return time.strftime("%H:%M", time.localtime(seconds))
