"""Kills a stage at every single change that it makes to its folder: `python -m tests.training.soak` (long)."""

import tempfile
from pathlib import Path

from tests.training.kills import Kills
from tests.training.zygote import Zygote
from training.spec import Zero

_ZERO: tuple[Zero, ...] = ("none", 0, 1, 2, 3)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Zygote() as zygote:
        for zero in _ZERO:
            here = Path(folder) / f"zero-{zero}"
            here.mkdir()
            kills = Kills(here, zygote, zero)
            done = 0
            while kills.check(done + 1):
                done += 1
                print(f"\rzero {zero}: killed at {done} of about {kills.changes} changes", end="", flush=True)
            print(f"\rzero {zero}: killed at each of {done} changes, the result was the same every time")


if __name__ == "__main__":
    main()
