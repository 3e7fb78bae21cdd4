"""How long rank 0 works at what stands beside a training in its result, while the other ranks wait: measures of its
tasks before it, English dev of earlier steps after it."""

import time
from collections.abc import Callable

SECONDS = 900.0  # half of what a rank waits for another


def limit(should_stop: Callable[[], bool]) -> Callable[[], None]:
    """What to call now and then: from now on for so long. It raises InterruptedError where the job is to stop, and
    TimeoutError once the time is over."""
    started_at = time.monotonic()

    def check() -> None:
        if should_stop():
            raise InterruptedError("the job is to stop")
        if time.monotonic() - started_at > SECONDS:
            raise TimeoutError(f"{SECONDS:.0f} s were not enough")

    return check
