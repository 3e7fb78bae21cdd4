"""Signals that ask a job to stop: they only set a flag, and the work stops where it is safe to.

USR2 comes before the time limit (and at preemption where the site has switched it on): save and requeue. TERM comes
when Slurm or a person ends the job: save and leave; whether the job comes back is then not ours to say. XCPU comes
where the process has used up its CPU time (`ulimit -t`): save and leave.
"""

import os
import signal
from types import FrameType

from slurm import control, rlimits


class StopFlag:
    """Whether a signal asked this process to stop, and which."""

    def __init__(self) -> None:
        self.received: int | None = None

    def install(self) -> None:
        """Take the signals from here on. Call it before slow imports: until then the job's command ignores USR2."""
        signal.signal(signal.SIGUSR2, self._set)
        signal.signal(signal.SIGTERM, self._set)
        signal.signal(signal.SIGXCPU, self._set)
        rlimits.ask_to_be_warned()

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number

    def is_set(self) -> bool:
        return self.received is not None


def requeue() -> bool:
    """Ask Slurm to queue this element again, before it exits, so that its children keep waiting. Whether it will."""
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{index}" if array else os.environ.get("SLURM_JOB_ID")
    if job is None:
        return False
    return control.requeue(job)
