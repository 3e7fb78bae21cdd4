"""Random sequences of commands and faults against the scripted scheduler: nothing lost, nothing run twice at once.

The jobs are stubs that write real attempts and results; the clock and Slurm are scripted, the files are real.
"""

import atexit
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from launch.plan import Plan
from launch.status import Observation
from launch.store import Store, provenance
from launch.submit import cancel, submit
from slurm.base import UserError
from slurm.base.files import make_folder
from tests.launch.faulty_job import FaultyJob
from tests.launch.workspace import make
from tests.slurm.scripted import Element, Limits, Run, Scheduler

CLUSTER = {"executor": "slurm", "partition": "gpu", "time": "10:00"}
SEND_FAULTS = ["silent-accepted", "silent-lost", "socket-accepted", "socket-lost", "refused"]
WRITES = ("replace", "rename", "link", "symlink", "mkdir")
CLEANING = ("unlink", "rmdir", "utime")


# Thousands of small files: in memory where there is such a folder.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Crash(BaseException):
    """The submitter is killed: nothing of it runs any more, no `finally` either."""


@cache
def _plans() -> tuple[Plan, ...]:
    """The experiment with one seed and with two; the store is another one in each example."""
    folder = Path(tempfile.mkdtemp(prefix="machine-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with mock.patch.dict(os.environ, XDG_CACHE_HOME=str(folder / "cache")):
        workspace = make(folder)
        return tuple(
            workspace.plan(cluster=CLUSTER, seeds=seeds, keep="all", collect=None) for seeds in (["1"], ["1", "2"])
        )


@contextmanager
def crashing(scheduler: Scheduler, writes: int, sent: int = 0) -> Iterator[None]:
    """The process dies before its n-th write after so many calls of sbatch; what it has sent by then stays sent."""
    left = writes
    begun = scheduler.calls["sbatch"]

    def guarded(real: Any, *, counts: bool) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal left
            if scheduler.in_step:
                return real(*args, **more)
            left -= counts and scheduler.calls["sbatch"] - begun >= sent
            if left < 0:
                raise Crash
            return real(*args, **more)

        return call

    with ExitStack() as stack:
        for name in (*WRITES, *CLEANING):
            stack.enter_context(mock.patch.object(os, name, guarded(getattr(os, name), counts=name in WRITES)))
        yield


class Launcher(RuleBasedStateMachine):
    """One person's commands, Slurm's faults, and what must hold after each of them."""

    @initialize(
        slots=st.integers(1, 4),
        array_size=st.sampled_from([2, 3, 1001]),
        submit_limit=st.sampled_from([None, None, 5, 12]),
        preempt=st.sampled_from(["REQUEUE", "CANCEL"]),
        may_requeue=st.booleans(),
        step_seconds=st.sampled_from([10.0, 100.0]),
    )
    def begin(
        self,
        slots: int,
        array_size: int,
        submit_limit: int | None,
        preempt: Any,
        may_requeue: bool,
        step_seconds: float,
    ) -> None:
        self.folder, self.truth = self.make_folder()
        self.job = FaultyJob()
        self.collected = 0  # results that were there when the last job ran last
        limits = Limits(array_size=array_size, submit=submit_limit, slots=slots, preempt=preempt)
        limits.may_requeue, limits.step_seconds = may_requeue, step_seconds
        self.scheduler = self.make_scheduler(limits)
        self.stack = ExitStack()
        self.stack.enter_context(self.scheduler.installed())
        self.stack.enter_context(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(self.folder / "cache")))
        if self.folder == self.truth:
            self.stack.enter_context(mock.patch.object(os, "fsync", lambda descriptor: None))
        self.stack.enter_context(mock.patch.object(provenance, "versions", dict))
        self.stack.enter_context(
            mock.patch.object(provenance, "freeze", lambda root: make_folder(root / "code" / "0123456789abcdef"))
        )
        self.plan = self._plan(0)
        self.seen: dict[Path, bytes] = {}  # results, as they were first published

    def make_folder(self) -> tuple[Path, Path]:
        """A folder as the person sees it, and as it is."""
        folder = Path(tempfile.mkdtemp(prefix="machine-run-", dir=MEMORY))
        return folder, folder

    def make_scheduler(self, limits: Limits) -> Scheduler:
        return Scheduler(self.work, limits)

    def work(self, run: Run) -> Any:
        """What an element does: the last job has no stage, and makes a table."""
        if run.manifest.name != "collect.json":
            return self.job(run)
        self.collected = len(self._results())
        return 0

    def _results(self) -> set[Path]:
        stages = self.truth / "store" / "stages"
        return {*stages.glob("*/result.json"), *stages.glob("*/languages/*/*.json")}

    def remove_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop_faults(self) -> None:
        """At the end of a sequence."""
        self.scheduler.bring_up()
        self.scheduler.dbd_up = True
        self.scheduler.send_faults.clear()
        self.job.bugs.clear()

    def _plan(self, number: int) -> Plan:
        plan = _plans()[number]
        return replace(plan, experiment=replace(plan.experiment, store=self.folder / "store"))

    def teardown(self) -> None:
        if not hasattr(self, "stack"):
            return
        try:
            self.all_is_well()
            self.ends_well()
        finally:
            self.stack.close()
            self.remove_folder()

    # --- a person's commands

    @rule(force=st.booleans())
    def submits(self, force: bool) -> None:
        self._submit(force=force)

    @rule(fault=st.sampled_from(SEND_FAULTS))
    def submits_through_a_fault(self, fault: Any) -> None:
        self.scheduler.send_faults.append(fault)
        self._submit()
        self.scheduler.send_faults.clear()

    @rule(writes=st.integers(0, 60))
    def is_killed_while_it_submits(self, writes: int) -> None:
        self._crash(writes)

    @rule(sent=st.integers(1, 4), writes=st.integers(0, 6))
    def is_killed_after_sending(self, sent: int, writes: int) -> None:
        self._crash(writes, sent)

    def _crash(self, writes: int, sent: int = 0) -> bool:
        """Whether it was killed before it was through."""
        try:
            with crashing(self.scheduler, writes, sent):
                self._submit()
        except Crash:
            self._bury()
            return True
        return False

    def _submit(self, *, force: bool = False) -> None:
        self.types(lambda: submit(self.plan, force=self.plan.stages.keys() if force else ()))

    def types(self, command: Callable[[], object]) -> None:
        """A command at the terminal: an error is one line."""
        try:
            command()
        except UserError as error:
            assert "\n" not in str(error)

    def _bury(self) -> None:
        """The dead submitter's number belongs to no process any more."""
        for path in self.truth.rglob("*"):
            if path.name in ("lock", "asking.json") and path.is_file():
                record = json.loads(path.read_bytes())
                path.write_text(json.dumps(record | {"pid": 2**22 + 1, "start": 1}))

    @rule(number=st.integers(0, 1))
    def edits_the_grid(self, number: int) -> None:
        self.plan = self._plan(number)

    @rule()
    def cancels(self) -> None:
        self.types(lambda: cancel.cancel(self.plan, (), lambda found: True))

    # --- time and faults

    @rule(seconds=st.sampled_from([1.0, 15.0, 70.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.scheduler.advance(seconds)

    @rule(state=st.sampled_from(["down", "stopped", "up"]))
    def slurmctld_changes(self, state: Any) -> None:
        if state == "up":
            self.scheduler.bring_up()
        else:
            self.scheduler.ctld = state

    @rule(up=st.booleans())
    def slurmdbd_changes(self, up: bool) -> None:
        self.scheduler.dbd_up = up

    @precondition(lambda self: hasattr(self, "scheduler") and self.scheduler.running)
    @rule(number=st.integers(0, 3), fault=st.sampled_from(["preempt", "node", "oom", "segfault", "slow", "requeue"]))
    def an_element_is_hit(self, number: int, fault: str) -> None:
        element = self.scheduler.running[number % len(self.scheduler.running)]
        if fault == "preempt":
            self.scheduler.preempt(element)
        elif fault == "node":
            self.scheduler.fail_node(element)
        elif fault == "oom":
            self.scheduler.kill(element, "OUT_OF_MEMORY", 0, 125)
        elif fault == "segfault":
            self.scheduler.kill(element, "FAILED", 0, 11)
        elif fault == "slow":
            element.next_step = self.scheduler.now + 10_000  # the time limit comes first
        else:
            self.scheduler.requeue(element)

    @rule()
    def the_code_has_a_bug(self) -> None:
        self.job.bugs.append("ValueError: 7 is not a label")

    @rule()
    def slurmctld_forgets(self) -> None:
        self.scheduler.purge()

    @rule()
    def accounting_forgets(self) -> None:
        self.scheduler.purge_accounting()

    @rule()
    def ids_begin_again(self) -> None:
        self.scheduler.purge()
        self.scheduler.reuse_ids()

    # --- what must hold

    @invariant()
    def all_is_well(self) -> None:
        if hasattr(self, "scheduler"):
            self._no_stage_twice()
            self._results_stay()
            self._no_wrong_verdict()

    def _live(self) -> Counter[str]:
        """Stages by the number of live elements that would run them, but for those given up that came late."""
        late = {array.id for array in self.scheduler.arrays if array.late and self._is_given_up(array.name)}
        found: Counter[str] = Counter()
        for element in self.scheduler.live:
            if element.array.id not in late:
                found.update(set(_stages(element)))
        return found

    def _no_stage_twice(self) -> None:
        # What a stopped slurmctld carries out late is cancelled by the next submit; until then it costs a slot.
        twice = {key: count for key, count in self._live().items() if count > 1}
        assert not twice, f"stages in several live elements: {twice}"

    def _is_given_up(self, name: str) -> bool:
        number = name.rpartition(".")[2]
        identifier = name.rpartition(".")[0].rpartition("-")[2]
        for folder in (self.truth / "store" / "submissions").glob(f"*-{identifier}"):
            receipt = folder / f"receipt-{number}.json"
            return receipt.exists() and "lost" in json.loads(receipt.read_bytes())
        return False

    def _results_stay(self) -> None:
        found = self._results()
        assert set(self.seen) <= found, "a result is gone"
        for path in found:
            content = path.read_bytes()
            assert self.seen.setdefault(path, content) == content, f"{path} changed"

    def _no_wrong_verdict(self) -> None:
        """What is queued or runs is never called failed, new or cancelled."""
        seen = Observation(self.plan, Store(self.plan.experiment.store), max_age=60.0)
        live = self._live()
        for stage in self.plan.stages.values():
            state = seen.state(stage).state
            if live[stage.key]:
                assert state not in ("failed", "new", "cancelled"), (stage.name, seen.state(stage))

    def ends_well(self) -> None:
        """When the faults stop, submitting again finishes everything: no cleaning by hand. And all that was sent then
        is in a table, though nobody has asked for it."""
        self.stop_faults()
        self.plan = self._plan(1)
        was_sent = False
        for _ in range(12):
            was_sent |= submit(self.plan, force=self.plan.stages.keys()).submission is not None
            self.scheduler.run_all()
            self.scheduler.advance(60)  # accounting may be late for two minutes after it was down
            self.all_is_well()
            seen = Observation(self.plan, Store(self.plan.experiment.store), max_age=0.0)
            if len(seen.finished) == len(self.plan.stages):
                assert not self._live()
                submit(self.plan)  # sends the last job where there was no room for it
                self.scheduler.run_all()
                assert not was_sent or self.collected == len(self._results())
                return
        raise AssertionError({s.name: seen.state(s) for s in self.plan.stages.values() if not seen.is_finished(s)})


def _stages(element: Element) -> list[str]:
    manifest = next((Path(word) for word in element.array.script.split() if "manifest-" in word), None)
    return [] if manifest is None else [entry["key"] for entry in _manifest(manifest)["elements"][str(element.index)]]


@cache
def _manifest(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_bytes())
    return record


Launcher.TestCase.settings = settings(
    max_examples=int(os.environ.get("MACHINE_EXAMPLES", "60")), stateful_step_count=25
)
TestLauncher = pytest.mark.slow(Launcher.TestCase)
