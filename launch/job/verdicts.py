"""What a stage failed of, in the words and causes that people, the policy and Slurm's requeue go by."""

import os
import signal
import time

from launch.store.manifests import StageEntry
from slurm import causes, rlimits
from slurm.base import UserError
from slurm.causes import Cause, Verdict

_NEAR_SECONDS = 600  # USR2 with more time left than this is no warning of the time limit


class StageFailed(Exception):
    """A stage did not get its result. `ends_element`: nothing else of the element can go on in this job."""

    def __init__(self, message: str, cause: Cause, *, ends_element: bool, stopped: bool = False) -> None:
        super().__init__(message)
        self.cause = cause
        self.ends_element = ends_element
        self.stopped = stopped  # by a signal, between two steps


def parent_missing(entry: StageEntry, trouble: str) -> UserError:
    """The error of a stage that cannot start, as `slurm.causes` reads it."""
    return UserError(f"parent-missing: {entry.parent} {trouble}; `stepstone submit FILE` sends what is missing")


def error_verdict(error: Exception) -> Verdict:
    """The cause of what was raised; what we did not foresee is the code's."""
    is_foreseen = isinstance(error, UserError)
    message = str(error) if is_foreseen else " ".join(f"{type(error).__name__}: {error}".split("\n")[:1])
    verdict = rlimits.blamed(causes.classify(None, message, ""), rlimits.met())
    return verdict if is_foreseen or verdict.cause != "unknown" else Verdict("code", verdict.evidence)


def stop_verdict(signal_number: int | None) -> Verdict:
    """USR2 warns of the time limit, and at some sites of preemption; TERM is preemption, or a person; XCPU a limit."""
    if signal_number == signal.SIGXCPU:
        return rlimits.cpu_time_came()
    end = os.environ.get("SLURM_JOB_END_TIME", "")  # only newer versions of Slurm say it
    early = end.isdigit() and int(end) - time.time() > _NEAR_SECONDS
    if signal_number == signal.SIGTERM or early:
        return Verdict("preempted", "stopped by a signal from Slurm or a person; resumes from its checkpoint")
    return Verdict("time", "stopped by the signal before the time limit; resumes from its checkpoint")
