"""What local workers fork in tests: an element runs the line of Python in $DO."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def prepare(elements: Sequence[Mapping[str, str]]) -> None:
    """Nothing is imported late."""


def main() -> None:
    """The element that the environment names."""
    exec(os.environ["DO"], {"os": os, "sys": sys, "time": time, "Path": Path})
