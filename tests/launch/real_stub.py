"""What an element does in fault tests on a real Slurm: `faulty_job` at its own pace, as a process, without torch.

Beside the store, `stub.json` says {"seconds": of each step, "deaf": the task that hears no signal and never ends}.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from slurm.signals import StopFlag
from tests.launch.faulty_job import FaultyJob


@dataclass(frozen=True)
class RealRun:
    """The face of the scripted scheduler's Run that the job uses."""

    manifest: Path
    index: int
    stop: StopFlag

    @property
    def signalled(self) -> bool:
        return self.stop.is_set()


def main() -> None:
    stop = StopFlag()
    stop.install()
    manifest, index = Path(sys.argv[1]), int(os.environ["SLURM_ARRAY_TASK_ID"])
    pace = Path(json.loads(manifest.read_bytes())["store"]).parent / "stub.json"
    steps = FaultyJob()(RealRun(manifest, index, stop))  # type: ignore[arg-type]
    while True:
        try:
            next(steps)
        except StopIteration as end:
            sys.exit(end.value)
        told = json.loads(pace.read_bytes())
        if told.get("deaf"):
            while True:
                time.sleep(1)
        time.sleep(told["seconds"])


if __name__ == "__main__":
    main()
