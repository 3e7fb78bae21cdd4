"""Where a stage stands: never a wrong verdict, whatever Slurm has forgotten, says, or does not say."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launch import submit
from launch.plan import Plan
from launch.status import Observation
from launch.store import Store, provenance
from launch.submit import cancel, follow
from slurm import local, snapshot
from slurm.base import UserError
from slurm.base.files import make_folder, seal, write_once
from slurm.snapshot import Snapshot
from tests.launch import stub_job
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Element, Scheduler


@pytest.fixture(autouse=True)
def _quick(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler(stub_job.slow(5)).installed() as made:
        yield made


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    return workspace.plan(cluster={"executor": "slurm", "partition": "gpu", "mem": "8G"}, seeds=["1"])


def look(plan: Plan, max_age: float = 0) -> Observation:
    return Observation(plan, Store(plan.experiment.store), max_age)


def states(plan: Plan, max_age: float = 0) -> dict[str, int]:
    seen = look(plan, max_age)
    return dict(Counter(seen.state(stage).state for stage in plan.stages.values()))


# --- Slurm is silent


def test_unknown_since_while_slurmctld_is_down(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(5)
    before = states(plan)
    assert before["running"]
    asked = scheduler.now
    scheduler.ctld = "down"
    scheduler.advance(600)
    seen = look(plan)
    for stage in plan.stages.values():
        state = seen.state(stage)
        assert state.state in ("unknown", "finished"), state
        if state.state == "unknown":
            assert (state.reason or "").startswith("Slurm does not answer since ")
            assert state.since is not None and state.since <= asked
    with pytest.raises(UserError, match="does not answer"):
        submit.submit(plan)
    with pytest.raises(UserError, match="nothing was cancelled"):
        cancel.cancel(plan, [], lambda found: True)
    scheduler.bring_up()
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


@pytest.mark.parametrize("missing", ["dbd", "accounting", "sacct"])
def test_without_accounting_the_disk_and_the_queue_are_enough(plan: Plan, scheduler: Scheduler, missing: str) -> None:
    scheduler.work = stub_job.failing(("squad-s1",), "the loss is not finite", "not-finite")
    submit.submit(plan)
    scheduler.dbd_up = missing != "dbd"
    scheduler.has_accounting = missing != "accounting"
    scheduler.missing = {missing}
    scheduler.run_all()
    seen = look(plan)
    assert seen.state(plan.find("squad-s1")).cause == "not-finite"
    assert seen.state(plan.find("squad.mnli-s1")).state == "held"
    assert seen.state(plan.find("mnli-s1")).state == "finished"


def _killed_while_accounting_is_down(plan: Plan, scheduler: Scheduler) -> None:
    """The first training, for want of memory; its log says nothing of it."""
    submit.submit(plan)
    scheduler.advance(5)
    scheduler.dbd_up = False
    scheduler.kill(_at_work_on("mnli-s1", plan, scheduler), "OUT_OF_MEMORY", 0, 125)


def _at_work_on(stage: str, plan: Plan, scheduler: Scheduler) -> Element:
    return next(element for element in scheduler.running if stage in _stages(plan, element))


def _stages(plan: Plan, element: Element) -> list[str]:
    seen = look(plan)
    return [stage.name for stage in plan.stages.values() if seen.state(stage).job == element.id]


def test_how_an_element_ended_is_unknown_until_accounting_says_it(plan: Plan, scheduler: Scheduler) -> None:
    _killed_while_accounting_is_down(plan, scheduler)
    mnli, asked = plan.find("mnli-s1"), scheduler.now
    for _ in range(3):
        state = look(plan).state(mnli)
        assert state.state == "unknown" and state.since == asked
        assert (state.reason or "").startswith("accounting does not answer since ")
        assert look(plan).failures(mnli) == []
        before = len(scheduler.arrays)
        submit.submit(plan)
        assert len(scheduler.arrays) == before
        scheduler.advance(100)
    assert not list(plan.experiment.store.glob("stages/*/failures"))
    before = len(scheduler.arrays)
    scheduler.dbd_up = True
    state = look(plan).state(mnli)
    assert (state.state, state.cause) == ("failed", "host-oom")
    submit.submit(plan)
    assert {array.flags["mem"] for array in scheduler.arrays[before:] if "mem" in array.flags} == {"12288M"}
    scheduler.work = stub_job.work
    scheduler.run_all()
    submit.submit(plan)
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}


def test_what_the_log_proves_needs_no_accounting(plan: Plan, scheduler: Scheduler) -> None:
    _killed_while_accounting_is_down(plan, scheduler)
    job = look(plan).state(plan.find("mnli-s1")).job
    (logs,) = plan.experiment.store.glob("submissions/*/logs/0")
    (logs / f"{job}_0_log.err").write_text("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.0\n")
    state = look(plan).state(plan.find("mnli-s1"))
    assert (state.state, state.cause) == ("failed", "host-oom")


def test_what_ended_unknown_can_be_given_up(plan: Plan, scheduler: Scheduler) -> None:
    """Where accounting stays away, or a person knows better."""
    _killed_while_accounting_is_down(plan, scheduler)
    found = cancel.cancel(plan, ["mnli-s1"], lambda found: True)
    assert found is not None and plan.find("mnli-s1").key in found.stages
    assert look(plan).state(plan.find("mnli-s1")).state == "cancelled"
    submit.submit(plan)
    assert look(plan).state(plan.find("mnli-s1")).state == "queued"


def test_accounting_that_is_late_is_waited_for(plan: Plan, scheduler: Scheduler) -> None:
    _killed_while_accounting_is_down(plan, scheduler)
    look(plan)
    records, scheduler.records, scheduler.dbd_up = scheduler.records, [], True
    state = look(plan).state(plan.find("mnli-s1"))
    assert state.state == "unknown" and "accounting is late" in (state.reason or "")
    scheduler.advance(130)
    state = look(plan).state(plan.find("mnli-s1"))
    assert (state.state, state.cause) == ("failed", "unknown")  # it never heard of it
    scheduler.records = records
    assert look(plan).state(plan.find("mnli-s1")).cause == "host-oom"


@pytest.mark.slow
def test_an_hour_of_waiting_asks_accounting_once_for_what_failed(plan: Plan, scheduler: Scheduler) -> None:
    scheduler.work = stub_job.failing(("squad-s1",), "the loss is not finite", "not-finite")
    submit.submit(plan)
    for element in scheduler.live:
        element.eligible += 3600 if "mnli-s1" in _stages(plan, element) else 0
    before = dict(scheduler.calls)
    assert not follow.follow(plan, lambda line: None)
    assert scheduler.calls["sacct"] - before.get("sacct", 0) <= 2
    assert scheduler.calls["squeue"] - before["squeue"] <= 65


def test_many_looks_ask_accounting_at_most_once_a_minute(plan: Plan, scheduler: Scheduler) -> None:
    """Also for what it has no record of."""
    scheduler.work = lambda run: 1
    submit.submit(plan)
    scheduler.run_all()
    scheduler.purge_accounting()
    before = scheduler.calls["sacct"]
    for look_number in range(24):
        had_fair_time = look_number >= 7  # a minute, and up to one more until it is asked again
        assert not had_fair_time or "unknown" not in states(plan, max_age=60)
        states(plan, max_age=60)
        scheduler.advance(10)
    assert scheduler.calls["sacct"] - before <= 4


def test_a_job_that_ended_at_once_is_unknown_until_accounting_has_it(plan: Plan, scheduler: Scheduler) -> None:
    """Its container was refused, say: no attempt, no log, and the record comes seconds after it left the queue."""
    scheduler.accounting_delay = 20
    submit.submit(plan)
    (element, *_) = scheduler.live
    scheduler._start(element)
    scheduler.kill(element, "FAILED", 127, 0)
    (stage, *_) = [stage for stage in plan.stages.values() if look(plan).state(stage).job == element.id]
    for _ in range(3):
        state = look(plan).state(stage)
        assert state.state == "unknown" and (state.reason or "").startswith("ended; accounting is late since ")
        assert look(plan).failures(stage) == []
        before = len(scheduler.arrays)
        submit.submit(plan)
        assert len(scheduler.arrays) == before
        scheduler.advance(6)
    scheduler.advance(6)
    state = look(plan).state(stage)
    assert (state.state, state.cause) == ("failed", "not-started")


def test_a_job_that_accounting_never_hears_of_has_failed_after_a_minute(plan: Plan, scheduler: Scheduler) -> None:
    """Though it waited in the queue for hours: what counts is when it was last seen there."""
    submit.submit(plan)
    scheduler.accounting_delay = 1e9
    (element, *_) = scheduler.live
    for waiting in scheduler.live:
        waiting.eligible = scheduler.now + 36000
    for _ in range(4):
        scheduler.advance(1800)
        assert states(plan) == {"queued": len(plan.stages)}
    scheduler._start(element)
    scheduler.kill(element, "FAILED", 1, 0)
    (stage, *_) = [stage for stage in plan.stages.values() if look(plan).state(stage).job == element.id]
    assert look(plan).state(stage).state == "unknown"
    scheduler.advance(61)
    assert (look(plan).state(stage).state, look(plan).state(stage).cause) == ("failed", "unknown")


@pytest.mark.parametrize("missing", ["accounting", "sacct"])
def test_without_accounting_a_job_that_ended_at_once_has_failed_at_once(
    plan: Plan, scheduler: Scheduler, missing: str
) -> None:
    scheduler.has_accounting, scheduler.missing = missing != "accounting", {missing}
    scheduler.work = lambda run: 1
    submit.submit(plan)
    scheduler.advance(1)
    assert "unknown" not in states(plan) and states(plan)["failed"]


def test_an_element_that_slurm_started_again_has_a_newer_end(plan: Plan, scheduler: Scheduler) -> None:
    """By a person, while nobody looked."""
    submit.submit(plan)
    scheduler.advance(5)
    element = _at_work_on("mnli-s1", plan, scheduler)
    scheduler.kill(element, "NODE_FAIL")
    mnli = plan.find("mnli-s1")
    assert look(plan).state(mnli).cause == "node"
    scheduler.requeue(element)
    scheduler.advance(150)
    assert element.started is not None
    scheduler.kill(element, "OUT_OF_MEMORY")
    assert look(plan, max_age=60).state(mnli).cause == "host-oom"


def test_why_an_element_waits_is_told_unless_it_is_its_turn_that_it_waits_for(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    assert {look(plan).state(stage).reason for stage in plan.stages.values()} == {None}
    for element in scheduler.live:
        element.held = True
    scheduler.advance(1)
    seen = look(plan)
    found = {(seen.state(stage).state, seen.state(stage).reason) for stage in plan.stages.values()}
    assert ("queued", "Slurm says JobHeldUser") in found


def test_a_job_that_ended_before_an_attempt_is_known_without_accounting(plan: Plan, scheduler: Scheduler) -> None:
    """An earlier attempt's end is not taken for its own; and however often it happens, each time counts."""
    scheduler.has_accounting = False
    scheduler.work = stub_job.failing(("mnli-s1",), "No space left on device", "disk")
    mnli = plan.find("mnli-s1")
    submit.submit(plan)
    scheduler.run_all()
    scheduler.work = lambda run: 1
    for count in (1, 2, 3):
        submit.submit(plan, only={mnli.key})
        scheduler.run_all()
        seen = look(plan)
        assert (seen.state(mnli).state, seen.state(mnli).cause) == ("failed", "unknown")
        assert [failure.cause for failure in seen.failures(mnli)] == ["disk"] + ["unknown"] * count
    assert submit.submit(plan, only={mnli.key}).submission is None


def test_an_answer_from_before_a_submission_tells_nothing_about_it(plan: Plan, scheduler: Scheduler) -> None:
    states(plan)
    submit.submit(plan)
    assert states(plan, max_age=60).keys() <= {"queued", "running"}


def test_many_looks_ask_once_a_minute(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    states(plan, max_age=60)
    before = scheduler.calls["squeue"]
    for _ in range(10):
        scheduler.advance(5)
        states(plan, max_age=60)
    assert scheduler.calls["squeue"] - before <= 1


# --- local workers


def test_what_ends_before_an_attempt_on_local_workers_uses_up_its_tries(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = workspace.plan(recipes=["none"], targets=["tatoeba"], seeds=["1"])
    (stage,) = plan.stages.values()

    def ends_at_once(folder: Path, *more: object) -> list[int]:
        make_folder(folder / "ends")
        (folder / "ends" / "0.json").write_text('{"exit": 1}')
        (folder / "workers.json").write_text('{"host": "here", "workers": []}')
        return []

    monkeypatch.setattr(local, "start", ends_at_once)
    for count in (1, 2, 3):
        assert submit.submit(plan).stages == 1
        assert look(plan).state(stage).state == "failed" and len(look(plan).failures(stage)) == count
    assert submit.submit(plan).submission is None


# --- Slurm has forgotten, or speaks of another


def test_a_stage_that_was_stopped_and_then_found_the_rest_held_is_held(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(5)
    element = scheduler.running[0]
    (submission,) = (plan.experiment.store / "submissions").glob("2*")
    words = {"line": "held: 3 stages failed alike: KeyError: 'x'", "evidence": "KeyError: 'x'"}
    write_once(submission / "held.json", seal(words))
    scheduler.kill(element, "FAILED", 1, 0)
    scheduler.advance(200)
    seen = look(plan)
    (stopped,) = (s for s in plan.stages.values() if seen.state(s).job == element.id and s.kind == "train")
    assert seen.state(stopped).state == "held" and "failed alike" in str(seen.state(stopped).reason)


def test_only_the_owner_knows_what_is_queued(plan: Plan, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm may hide others' jobs: they must not look as if they were over."""
    submit.submit(plan)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    seen = look(plan)
    assert {seen.state(stage).state for stage in plan.stages.values()} == {"unknown"}
    assert "owner of the store" in str(seen.state(next(iter(plan.stages.values()))).reason)


def test_an_id_that_is_used_again_is_another_job(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    for element in scheduler.live:
        if element.started is not None:
            scheduler.kill(element, "NODE_FAIL")
    scheduler.run_all()
    before = states(plan)
    scheduler.advance(1000)
    scheduler.purge()
    scheduler.reuse_ids()
    scheduler.add_others(3)
    assert states(plan) == before and "running" not in before and "queued" not in before


def test_purged_records_make_no_success(plan: Plan, scheduler: Scheduler) -> None:
    scheduler.work = lambda run: 1
    submit.submit(plan)
    scheduler.run_all()
    scheduler.advance(1000)
    scheduler.purge()
    scheduler.purge_accounting()
    seen = look(plan)
    assert seen.state(plan.find("mnli-s1")).state == "failed"
    assert "finished" not in states(plan)


def test_truncated_indices_are_no_absence(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.truncates_ids = True
    assert not states(plan).keys() & {"failed", "held", "finished"}


def test_a_result_that_comes_between_the_looks_counts(
    plan: Plan, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is read, the last element ends, and then the queue is asked."""
    submit.submit(plan)
    monkeypatch.setattr(snapshot, "look", _after(scheduler, snapshot.look))
    assert states(plan) == {"finished": len(plan.stages)}


def _after(scheduler: Scheduler, look_at: Callable[[float], Snapshot]) -> Callable[[float], Snapshot]:
    def ended_first(max_age: float) -> Snapshot:
        scheduler.run_all()
        return look_at(max_age)

    return ended_first


def test_cancelled_by_hand_is_no_success_and_goes_again(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(5)
    for element in scheduler.live:
        scheduler.cancel(element, 1001)
    found = look(plan).state(plan.find("mnli-s1"))
    assert found.state == "failed" and found.cause == "cancelled"
    submit.submit(plan)
    scheduler.run_all()
    assert states(plan) == {"finished": len(plan.stages)}
