"""The lines under the matrix: what is wrong, how many stages stand where, hours, when it is done, what to type next."""

import time
from collections import defaultdict
from dataclasses import dataclass

from launch.draft.budget import Budget
from launch.plan import Stage
from launch.show.lines import hanging
from launch.standing.records import Overview
from launch.standing.when import Basis, WhenDone
from launch.status import Observation, State
from launch.status.rules import UNDER_WAY
from launch.text import as_typed, brief, clock, some
from launch.usage.hours import Account
from slurm.causes import alike

_NEEDING: tuple[State, ...] = ("failed", "held", "cancelled", "unknown", "queued")  # whose reasons are told
_GROUPS = 6  # reasons that are told
_HARDLY = 0.005  # hours: half a minute, which is not worth a word


def reasons(observation: Observation, width: int) -> list[str]:
    """Why what does not go on does not: stages with like reasons together, failures first. What is held counts under
    what it is held by in the end; that Slurm is silent is said elsewhere."""
    groups: dict[tuple[State, str], list[str]] = defaultdict(list)
    words: dict[tuple[State, str], str] = {}
    for state in _NEEDING:
        if state == "unknown" and observation.entries is None:
            continue
        for stage in observation.among([state]):
            standing = observation.state(_first_held(observation, stage))
            if standing.reason is not None:
                cause = "" if standing.cause in (None, "unknown") else f"{standing.cause}: "
                group = (state, cause + alike(standing.reason))
                words.setdefault(group, f"{cause}{standing.plain_reason}")
                groups[group].append(stage.name)
    lines: list[str] = []
    for (state, like), names in list(groups.items())[:_GROUPS]:
        subject = names[0] if len(names) == 1 else f"{len(names)} stages ({some(names, 2)})"
        lines += hanging(f"{state}: {subject}: {words[state, like]}", width)
    if len(groups) > _GROUPS:
        lines.append(f"… and {len(groups) - _GROUPS} more (--stages says of every stage why)")
    return lines


def _first_held(observation: Observation, stage: Stage) -> Stage:
    """The topmost of the held stages above one."""
    while observation.state(stage).state == "held" and stage.parent is not None:
        parent = observation.plan.stages[stage.parent]
        if observation.state(parent).state != "held":
            break
        stage = parent
    return stage


def silence(overview: Overview) -> str | None:
    """That Slurm says nothing, since when, and what the rest is told by."""
    if overview.silence is None:
        return None
    since = overview.silence.since
    ago = "" if since is None else f", {brief(max(0.0, overview.taken - since))} after it was heard last"
    return f"{overview.silence.words}; below is what the files in the store say{ago}"


def hours_line(account: Account, gpu_hours: Budget) -> str:
    """Hours used, on their way, and wasted with what they were wasted on; of a budget, what is left."""
    parts = [f"{_hours(account.total.total)} used"]
    if account.unit == "GPU-hours":
        parts.append(f"{_hours(gpu_hours.reserved)} reserved")
    wasted_on = [f"{_hours(value)} {outcome}" for outcome, value in account.total.wasted_on.items() if value >= _HARDLY]
    parts.append(f"{_hours(account.total.wasted)} wasted" + (f" ({', '.join(wasted_on[:3])})" if wasted_on else ""))
    if gpu_hours.left is not None and gpu_hours.total is not None:
        parts.append(f"{_hours(gpu_hours.left)} of {gpu_hours.total:g} left")
    return f"{account.unit}: {', '.join(parts)}"


def _hours(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 0.95 or abs(value) < _HARDLY else f"{value:.2g}"


def when_lines(when: WhenDone | None, now: float) -> list[str]:
    """The interval, and what it rests on. `now`: Unix time."""
    if when is None:
        return []
    if when.latest is None:
        interval = f"{_moment(when.earliest, now)} at the earliest; how long what is queued will wait is not known"
    else:
        spans = f"in {brief(when.earliest - now)} to {brief(when.latest - now)}"
        interval = f"{_moment(when.earliest, now)} to {_moment(when.latest, now)} ({spans})"
    beside = []
    if when.unsent:
        beside.append(f"if {'all new stages' if when.unsent > 1 else 'the new stage'} were sent now")
    if when.left_out:
        beside.append(f"without {when.left_out} that failed or wait for what failed")
    return [f"done: {', '.join([interval, *beside])}", f"  by {_basis(when.basis)}"]


def _basis(basis: Basis) -> str:
    correction = f", corrected by {basis.finished} finished" if basis.finished else ", which nothing has corrected yet"
    parts = [
        f"the measured speed of {basis.by_speed} that run" if basis.by_speed else "",
        f"what like stages took ({basis.by_like})" if basis.by_like else "",
        f"the estimate ({basis.by_estimate}{correction})" if basis.by_estimate else "",
        f"Slurm's forecast for {basis.by_slurm} of the jobs" if basis.by_slurm else "",
    ]
    return ", ".join(part for part in parts if part) + _room(basis)


def _room(basis: Basis) -> str:
    if basis.at_once is None:
        return "" if basis.at_least is None else f"; {basis.at_least} or more jobs at a time"
    least = "" if basis.at_least in (None, basis.at_once) else f"{basis.at_least} to "
    return f"; {least}{basis.at_once} jobs at a time"


def _moment(seconds: float, now: float) -> str:
    """The hour; the day too, where it is another one."""
    then, today = time.localtime(seconds), time.localtime(now)
    if then[:3] == today[:3]:
        return clock(seconds)
    return time.strftime("%a %H:%M" if seconds - now < 6 * 86_400 else "%Y-%m-%d", then)


@dataclass(frozen=True)
class NextStep:
    """What to type, and what for. A command is its words, as a shell takes them."""

    why: str
    command: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.why}: {' '.join(self.command)}"

    def lines(self, width: int) -> list[str]:
        """A command is never broken within a word: where it is too long, as a shell takes it."""
        if len(str(self)) <= width:
            return [str(self)]
        lines, current = [f"{self.why}:"], ""
        for word in self.command:
            if current and len(current) + len(word) + 3 > width:  # with the blank and the sign that it goes on
                lines.append(f"{current} \\")
                current = ""
            current = f"{current} {word}" if current else f"{'  ' if len(lines) == 1 else '    '}{word}"
        return [*lines, current]


def next_steps(observation: Observation) -> list[NextStep]:
    """What to type next, the most useful last."""
    plan, counts = observation.plan, observation.counts()
    file = as_typed(plan.experiment.path)
    if observation.is_complete and not any(counts[state] for state in UNDER_WAY):  # a race's failures were replaced
        return [NextStep("all finished; the table", ("stepstone", "collect", file))]
    if counts["failed"]:
        first_failure = observation.among(["failed"])[0]
        why = NextStep("why", ("stepstone", "logs", file, plan.word(first_failure), "--why"))
        return [why, NextStep("again", ("stepstone", "retry", file))]
    if counts["cancelled"]:
        return [NextStep("to send what was cancelled again", ("stepstone", "submit", file))]
    if counts["new"]:
        return [NextStep("to send what is new", ("stepstone", "submit", file))]
    if counts["unknown"]:
        return [NextStep("to see what is wrong with Slurm", ("stepstone", "doctor", file))]
    return [NextStep("to follow it", ("stepstone", "watch", file))]
