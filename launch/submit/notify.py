"""`notify: {command: …}`: the user's command, run on this side when an experiment is done, failed or held.

For `submit --wait` and `watch`. No shell runs it; it gets a line as its last word and the event in its environment, and
half a minute. Whatever becomes of it is said, and never in the way.
"""

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from launch.experiment.notify import Event
from launch.plan import Plan
from launch.status import Observation

SECONDS = 30.0
_MOST_BYTES = 8192  # of its errors' end that are looked at
_HELD = "held: "  # begins what stages say that equal failures of others hold
Report = Callable[[str], None]


@dataclass
class Notifier:
    """Tells the user's command of what is seen at each look, once each. `report`: what became of it, where that is
    not well."""

    plan: Plan
    report: Report
    _told_events: set[Event] = field(default_factory=set)
    _was_under_way: bool = False

    def look(self, observation: Observation) -> None:
        """For who watches: tells of a breaker that opens and, where something was under way, of the end of all."""
        self.look_for_held(observation)
        is_under_way = any(observation.is_sent(stage) for stage in self.plan.stages.values())
        if is_under_way:
            self._was_under_way = True
            self._told_events -= {"done", "failed"}
        elif self._was_under_way and not _is_between_rounds(observation):
            self.over(observation)

    def look_for_held(self, observation: Observation) -> None:
        """Tell, once, that equal failures hold the rest."""
        reasons = (observation.state(stage).reason or "" for stage in observation.among(["held"]))
        reason = next((reason for reason in reasons if reason.startswith(_HELD)), None)
        if reason is not None:
            self._tell("held", reason)

    def over(self, observation: Observation) -> None:
        """Tell that nothing is queued or running any more: whether all is finished."""
        counts, total = observation.counts(), observation.total
        states = [f"{count} {state}" for state, count in counts.items() if count and state != "finished"]
        line = ", ".join([f"{counts['finished']} of {total} stages finished", *states])
        self._tell("done" if observation.is_complete else "failed", line)

    def _tell(self, event: Event, line: str) -> None:
        if event not in self._told_events:
            self._told_events.add(event)
            run(self.plan, event, line, self.report)


def _is_between_rounds(observation: Observation) -> bool:
    """Whether a race wants seeds that nobody has sent yet: that is no failure, and no end."""
    return bool(observation.racing.pairs) and observation.counts()["new"] > 0


def run(plan: Plan, event: Event, line: str, report: Report = lambda line: None) -> None:
    """Run the experiment's command for an event; nothing where the file names none. Never fails: `report` says what
    went wrong."""
    command = plan.experiment.notify.command
    if not command:
        return
    sentence = f"{plan.experiment.name}: {event}: {line}"
    variables = {
        "STEPSTONE_EVENT": event,
        "STEPSTONE_EXPERIMENT": plan.experiment.name,
        "STEPSTONE_FILE": str(plan.experiment.path),
        "STEPSTONE_LINE": line,
    }
    wrong = _run([*command, sentence], os.environ | variables)
    if wrong:
        report(f"notify: {shlex.join(command)}: {wrong}")


def _run(words: list[str], environment: dict[str, str]) -> str:
    """What went wrong; empty: nothing."""
    try:
        # No pipe: what the command leaves running would hold it open, and its end is not waited for.
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
            try:
                code = process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return f"took more than {SECONDS:.0f} s, and was ended"
            last_line = _last_line(errors) if code else ""
    except (OSError, ValueError) as error:
        return f"cannot be run: {error.strerror if isinstance(error, OSError) else error}"
    if code == 0:
        return ""
    return f"exit code {code}" + (f": {last_line}" if last_line else "")


def _last_line(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _MOST_BYTES))
    lines = file.read(_MOST_BYTES).decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
