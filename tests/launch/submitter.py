"""A submitter as a process, with the stub for jobs; it may kill itself before its n-th write: `python -m … JSON`."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from launch import experiment, plan
from launch.draft import request
from launch.submit import submit
from tests.launch.test_faults import _with_stub

WRITES = ("replace", "rename", "link", "symlink", "mkdir")


def main(told: dict[str, Any]) -> None:
    request.request = _with_stub(request.request)
    made = plan.make(experiment.load(Path(told["file"])))
    if told["die_at"] is not None:
        _die_at(told["die_at"])
    submit(made)


def _die_at(write: int) -> None:
    left = write

    def guarded(real: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **more)

        return call

    for name in WRITES:
        setattr(os, name, guarded(getattr(os, name)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
