"""A scheduler in memory as a test double for Slurm: with a clock, limits and faults that tests set.

    scheduler = Scheduler(work)            # work: what an element does; one step per `yield`, its exit code returned
    with scheduler.installed():            # slurm.commands, time.time and time.sleep are its own from here on
        submit(plan); scheduler.advance(600); scheduler.ctld = "down"; ...

Its commands are in tests/slurm/scripted_commands.py; they fail the test on a command, flag or format they do not know.
What it does not imitate: priorities, resources, several clusters, the seconds that a real slurmctld is behind.
"""

import os
import pwd
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal
from unittest import mock

from slurm import commands
from tests.slurm.scripted_jobs import Array, Element, Limits, Run
from tests.slurm.scripted_words import flags_of, indices_of, seconds_of

__all__ = ["Array", "Element", "Limits", "Run", "Scheduler", "Work"]

Work = Callable[[Run], Generator[None, None, int] | int]
Control = Literal["up", "down", "stopped"]  # stopped: takes requests in, and carries them out once it is up again
# What becomes of the next sbatch: the first word is what the caller sees, the second what really happens.
SendFault = Literal["silent-accepted", "silent-lost", "socket-accepted", "socket-lost", "refused"]
NEVER = "DependencyNeverSatisfied"
MIN_JOB_AGE = 300.0  # seconds that slurmctld remembers an ended job


def _nothing(run: Run) -> int:
    return 0


class Scheduler:
    """slurmctld, slurmdbd and the nodes. Time passes only in `advance` (and in time.sleep, where installed)."""

    def __init__(self, work: Work = _nothing, limits: Limits | None = None, now: float | None = None) -> None:
        self.work, self.limits = work, limits or Limits()
        self.now = time.time() if now is None else now
        self.user, self.uid = pwd.getpwuid(os.getuid()).pw_name, os.getuid()
        self.ctld: Control = "up"
        self.dbd_up = True
        self.has_accounting = True
        self.accounting_delay = 0.0  # seconds until accounting has the record of what ended
        self.truncates_ids = False
        self.cuts_states = False  # a site's own sacct has narrow columns: OUT_OF_ME+
        self.steps: dict[str, tuple[str, str]] = {}  # by element: how its srun step ended, where otherwise than it did
        self.missing: set[str] = set()  # commands that this machine does not have
        self.errors: dict[str, str] = {}  # with which words a command fails, as "scontrol" or "scontrol update" does
        self.unknown_options: dict[str, set[str]] = {}  # that a site's own command does not take
        self.banner = ""  # what a site prints before every answer, on stdout and stderr
        self.send_faults: deque[SendFault] = deque()
        self.refusal = "Unspecified error"  # sbatch's words for the fault "refused"
        self.arrays: list[Array] = []  # what slurmctld remembers
        self.records: list[Element] = []  # accounting: how starts ended
        self.calls: Counter[str] = Counter()
        self.asleep: Callable[[], None] = lambda: None  # called at the end of every time.sleep: what happens meanwhile
        self.umasks: list[int] = []  # of every sbatch
        self.variables: list[Mapping[str, str]] = []  # that every sbatch was given
        self._running: list[Element] = []
        self._backlog: list[str] = []  # scripts that a stopped slurmctld has not read yet
        self._next_id = 1
        self._in_step: Element | None = None

    @contextmanager
    def installed(self) -> Iterator["Scheduler"]:
        """Slurm's commands, the time of day and sleeping are this scheduler's."""
        from tests.slurm.scripted_commands import answer

        with (
            mock.patch.object(commands, "runner", lambda *asked: answer(self, *asked)),
            mock.patch.object(time, "time", lambda: self.now),
            mock.patch.object(time, "sleep", self._sleep),
        ):
            yield self

    def _sleep(self, seconds: float) -> None:
        self.advance(seconds)
        self.asleep()

    # --- what a test sees and does

    @property
    def elements(self) -> list[Element]:
        """Everything that slurmctld remembers, ended ones included."""
        return [element for array in self.arrays for element in array.elements]

    @property
    def live(self) -> list[Element]:
        """Pending and running."""
        return [element for element in self.elements if element.live]

    @property
    def running(self) -> list[Element]:
        return list(self._running)

    def bring_up(self) -> None:
        """slurmctld answers again; what it had taken in while stopped is carried out."""
        self.ctld = "up"
        waiting, self._backlog = self._backlog, []
        for script in waiting:
            self.accept(script).late = True
        self._schedule()

    def advance(self, seconds: float) -> None:
        """Let time pass: elements start, do their steps, are warned before their time limit, and end."""
        end = self.now + seconds
        self._schedule()
        while (moment := self._next_event()) <= end:
            self.now = max(self.now, moment)
            for element in [e for e in self.running if self._due(e) <= self.now]:
                self._happen(element)
            self._schedule()
        self.now = end

    def run_all(self, seconds: float = 10_000.0) -> None:
        """Let time pass until nothing can start or run any more, or so much of it has passed."""
        end = self.now + seconds
        self._schedule()
        while (moment := self._next_event()) <= end:
            self.advance(max(moment - self.now, 0.0))

    def preempt(self, element: Element) -> None:
        """Take its node away at once (GraceTime 0)."""
        self._lose(element, "PREEMPTED", may_return=self.limits.preempt == "REQUEUE")

    def fail_node(self, element: Element) -> None:
        """Its node is gone."""
        self._lose(element, "NODE_FAIL", may_return=True)

    def kill(self, element: Element, state: str = "FAILED", exit_code: int = 0, signal: int = 9) -> None:
        """End a running element from outside, as the OOM killer does ("OUT_OF_MEMORY")."""
        self._close(element)
        self.end(element, state, exit_code, signal)

    def purge(self, age: float = MIN_JOB_AGE) -> None:
        """slurmctld forgets arrays that ended so long ago; their records stay."""
        self.arrays = [a for a in self.arrays if any(e.ended is None or self.now - e.ended < age for e in a.elements)]

    def purge_accounting(self) -> None:
        """Accounting forgets everything that has ended."""
        self.records.clear()

    def reuse_ids(self) -> None:
        """Job ids begin at 1 again, as after MaxJobId; what slurmctld still remembers keeps its number."""
        self._next_id = 1

    def add_others(self, count: int, user: str | None = None, **flags: str) -> Array:
        """Pending jobs that are not ours, on hold: they count against limits. flags: such as qos="long"."""
        told = {"job-name": "other", "array": f"0-{count - 1}"} | flags
        array = self.accept("".join(f"#SBATCH --{name}={value}\n" for name, value in told.items()), user=user)
        for element in array.elements:
            element.held = True
        return array

    @property
    def in_step(self) -> bool:
        """Whether an element's own work is being done just now."""
        return self._in_step is not None

    # --- what the commands do

    def accept(self, script: str, user: str | None = None) -> Array:
        """Take a job in, whatever the limits say."""
        flags = flags_of(script)
        indices, throttle = indices_of(flags["array"]) if "array" in flags else ([None], None)
        array = Array(self._new_id(), flags, script, throttle, self.now, user or self.user)
        array.account = flags.get("account", self.limits.accounts[0])
        array.qos = flags.get("qos", self.limits.qos[0])
        array.partitions = tuple(flags.get("partition", next(iter(self.limits.partitions))).split(","))
        for index in indices:
            own = array.id if index == indices[-1] else self._new_id()
            element = Element(array, index, own, self.now, self.now)
            element.parents = self._parents_of(flags.get("dependency"), index)
            element.held = "hold" in flags
            array.elements.append(element)
        self.arrays.append(array)
        return array

    def take_in(self, script: str) -> None:
        """What a stopped slurmctld finds when it goes on."""
        self._backlog.append(script)

    def cancel(self, element: Element, by: int | None) -> None:
        """A pending element goes without a record, as in Slurm 22.05; a running one ends as `CANCELLED by`."""
        if element.started is None:
            element.state, element.ended = "CANCELLED", self.now
            return
        self._close(element)
        element.cancelled_by = by
        self.end(element, "CANCELLED", 0, 15)

    def requeue(self, element: Element) -> None:
        """Start an element again that runs or has ended; one that asks for itself is let to the end of its step."""
        if element.ended is not None:
            element.ended = None
            self._wait_again(element)
            return
        element.requeue_asked = True
        if self._in_step is not element:
            self._close(element)
            self._return(element, "REQUEUED")

    def end(self, element: Element, state: str, exit_code: int = 0, signal: int = 0) -> None:
        self._leave(element)
        element.state, element.exit_code, element.signal = state, exit_code, signal
        element.ended, element.shown, element.work = self.now, None, None
        self.records.append(replace(element))

    # --- inside

    def _leave(self, element: Element) -> None:
        if element.started is not None and element.ended is None:
            element.array.running -= 1
            self._running.remove(element)

    def _parents_of(self, text: str | None, index: int | None) -> list[tuple[Element, bool]]:
        """The elements that one waits for. Slurm drops what names a job that it has forgotten."""
        found = []
        for part in text.split(",") if text else []:
            kind, *targets = part.split(":")
            assert kind in ("afterok", "afterany", "aftercorr"), f"the scripted scheduler does not know {text}"
            for target in targets:
                job, _, wanted = target.partition("_")
                chosen = str(index) if kind == "aftercorr" else wanted
                parents = [e for e in self.elements if str(e.array.id) == job and chosen in ("", str(e.index))]
                found += [(parent, kind != "afterany") for parent in parents]
        return found

    def _new_id(self) -> int:
        taken = {number for e in self.elements for number in (e.array.id, e.own_id)}
        while self._next_id in taken:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _next_event(self) -> float:
        starts = [e.eligible for e in self.live if self._may_start(e)] if self.ctld == "up" and self._free else []
        return min([self._due(e) for e in self.running] + [max(s, self.now) for s in starts], default=float("inf"))

    @property
    def _free(self) -> bool:
        return len(self._running) < self.limits.slots

    def _may_start(self, element: Element) -> bool:
        throttled = element.array.throttle is not None and element.array.running >= element.array.throttle
        return element.started is None and not element.held and not throttled and self._parents(element) == "met"

    def _parents(self, element: Element) -> Literal["met", "wait", "never"]:
        if any(
            parent.ended is not None and strict and parent.state != "COMPLETED" for parent, strict in element.parents
        ):
            return "never"
        return "wait" if any(parent.ended is None for parent, _ in element.parents) else "met"

    def _schedule(self) -> None:
        if self.ctld != "up":
            return
        for element in self.live:
            if element.started is not None:
                continue
            element.reason = self._reason(element)
            if element.reason == NEVER and element.array.flags.get("kill-on-invalid-dep") == "yes":
                self.end(element, "CANCELLED")
            elif element.reason == "Resources" and self._free:
                self._start(element)

    def _reason(self, element: Element) -> str:
        parents = self._parents(element)
        if parents == "never":
            return NEVER
        if element.held:  # said before what it waits for (22.05)
            return "JobHeldUser"
        if parents != "met":
            return "Dependency"
        if element.eligible > self.now:
            return "BeginTime"
        return "Resources" if self._may_start(element) else "JobArrayTaskLimit"

    def _start(self, element: Element) -> None:
        element.state, element.reason, element.started = "RUNNING", "None", self.now
        left_out = element.array.flags.get("exclude", "").split(",")
        nodes = [node for node in self.limits.node_names if node not in left_out]
        element.node = nodes[element.own_id % len(nodes)]
        element.signalled = element.requeue_asked = False
        element.next_step = self.now  # its first step comes at once: from then on it has begun
        element.work = None
        element.array.running += 1
        self._running.append(element)

    def _limit(self, element: Element) -> float | None:
        asked = element.array.flags.get("time")
        return seconds_of(asked) if asked else self.limits.partitions.get(element.array.partitions[0])

    def _due(self, element: Element) -> float:
        """When the next thing happens to a running element."""
        assert element.started is not None
        limit = self._limit(element)
        if limit is None:
            return element.next_step
        warned = element.started + limit if element.signalled else element.started + limit - self._warning(element)
        return min(element.next_step, max(warned, element.started))

    def _warning(self, element: Element) -> float:
        return float(element.array.flags.get("signal", "USR2@0").partition("@")[2])

    def _happen(self, element: Element) -> None:
        limit, started = self._limit(element), element.started
        assert started is not None
        if limit is not None and self.now >= started + limit:
            self._close(element)
            self.end(element, "TIMEOUT", 0, 0)
        elif limit is not None and not element.signalled and self.now >= started + limit - self._warning(element):
            element.signalled = True
        else:
            self.step(element)

    def step(self, element: Element) -> None:
        """Let a running element do its next step now."""
        before, self._in_step = self._in_step, element
        run = Run(element)
        try:
            with mock.patch.dict(os.environ, run.environment):
                code = self._next(element, run)
        finally:
            self._in_step = before
        if element.ended is not None:
            return  # it was cancelled by its own work
        if element.requeue_asked:
            self._close(element)
            self._return(element, "REQUEUED")
        elif code is None:
            element.next_step = self.now + self.limits.step_seconds
        else:
            self.end(element, "COMPLETED" if code == 0 else "FAILED", code)

    def _next(self, element: Element, run: Run) -> int | None:
        if element.work is None:
            made = self.work(run)
            if isinstance(made, int):
                return made
            element.work = made
        try:
            next(element.work)
        except StopIteration as stopped:
            return int(stopped.value or 0)
        return None

    def _close(self, element: Element) -> None:
        if element.work is not None and self._in_step is not element:
            element.work.close()
        element.work = None

    def _lose(self, element: Element, state: str, *, may_return: bool) -> None:
        self._close(element)
        if may_return and element.array.flags.get("requeue") == "":
            self._return(element, state)
        else:
            self.end(element, state, 0 if state == "PREEMPTED" else 1)

    def _return(self, element: Element, state: str) -> None:
        """Pending again under the same number, some time later."""
        self._leave(element)
        past = replace(element, state=state, ended=self.now, work=None)
        self.records.append(past)
        self._wait_again(element)

    def _wait_again(self, element: Element) -> None:
        element.state, element.reason, element.started, element.node = "PENDING", "BeginTime", None, ""
        element.requeue_asked, element.shown = False, None
        element.restarts += 1
        element.submitted = self.now
        element.eligible = self.now + self.limits.requeue_wait
