"""Words for the person at the terminal."""

import sys


def say(line: str) -> None:
    """Progress and what was done: to stderr, for stdout is for data."""
    print(line, file=sys.stderr, flush=True)
