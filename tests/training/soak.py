"""Kills a stage at every single change that it makes to its folder: `python -m tests.training.soak` (long).

In parts: `--zero 2 --first 200 --last 299` goes on where a run was broken off, `--step 10` takes every tenth change.
"""

import argparse
import tempfile
import time
from pathlib import Path

from tests.training.kills import Kills
from tests.training.zygote import Zygote
from training.spec import Zero

_STAGES: tuple[Zero, ...] = ("none", 0, 1, 2, 3)
_SECONDS_BETWEEN_LINES = 30.0


def soak(kills: Kills, zero: Zero, points: range) -> None:
    """Kill at each of these changes, or up to the last that there is. AssertionError names the change that told."""
    begun = printed = time.monotonic()
    count = 0
    for point in points:
        if not kills.check(point):
            break
        count += 1
        if time.monotonic() - printed > _SECONDS_BETWEEN_LINES:
            printed = time.monotonic()
            print(f"zero {zero}: killed at change {point} of about {kills.changes}, {count} in all", flush=True)
    else:
        print(f"zero {zero}: not beyond change {points[-1]}", flush=True)
    seconds = time.monotonic() - begun
    print(f"zero {zero}: killed at {count} changes in {seconds:.0f} s, the result was the same every time", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.training.soak")
    parser.add_argument("--zero", choices=[str(zero) for zero in _STAGES], help="one ZeRO stage alone")
    parser.add_argument("--first", type=int, default=1, help="the change to begin with")
    parser.add_argument("--last", type=int, default=1_000_000, help="the change to end with")
    parser.add_argument("--step", type=int, default=1, help="from one change to the next")
    arguments = parser.parse_args()
    points = range(arguments.first, arguments.last + 1, arguments.step)
    with tempfile.TemporaryDirectory() as folder, Zygote() as zygote:
        for zero in _STAGES:
            if arguments.zero in (None, str(zero)):
                here = Path(folder) / f"zero-{zero}"
                here.mkdir()
                soak(Kills(here, zygote, zero), zero, points)


if __name__ == "__main__":
    main()
