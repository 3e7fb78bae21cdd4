"""Reading a stage's logs while they are written: across requeues and later attempts, to its end."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from launch import submit
from launch.logbook import following
from launch.plan import Plan
from launch.status import StageState
from tests.launch import stub_job
from tests.launch.logbook.printing import location_of, log_of, start
from tests.slurm.scripted import Scheduler

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "STATE_SECONDS", 0.0)


class Reader:
    """Who follows, and what it was handed."""

    def __init__(self, plan: Plan, happenings: Iterable[Callable[[], object]]) -> None:
        self.plan = plan
        self.lines: list[str] = []
        self.files: list[Path] = []
        self.remarks: list[str] = []
        self._happenings = iter(happenings)

    def follow(self, name: str, last: int | None = None) -> StageState:
        return following.follow(
            self.plan, self.plan.find(name), self._write, self.remarks.append, last=last, wait=self._wait
        )

    def _write(self, path: Path, lines: Sequence[str]) -> None:
        self.files.append(path)
        self.lines += [line.rstrip("\n") for line in lines if not line.startswith("--- ")]

    def _wait(self, seconds: float) -> None:
        happening = next(self._happenings, None)
        if happening is not None:
            happening()


def _append(path: Path, text: str) -> Callable[[], object]:
    def append() -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)

    return append


def test_from_before_the_first_line_to_the_result(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    log = log_of(plan, "mnli-s1")
    reader = Reader(
        plan,
        [
            lambda: scheduler.advance(1),
            lambda: start(plan, "mnli-s1", "step 1\n"),
            _append(log, "step"),
            _append(log, " 2\n"),
            scheduler.run_all,
        ],
    )
    assert reader.follow("mnli-s1").state == "finished"
    assert reader.lines == ["step 1", "step 2"] and set(reader.files) == {log}
    location = location_of(plan, "mnli-s1")
    assert reader.remarks[0] == f"mnli-s1 is queued as job {location.job}_{location.index}"


def test_of_what_is_there_only_the_last_lines(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    start(plan, "mnli-s1", "of the first start\n")
    start(plan, "mnli-s1", "".join(f"line {n}\n" for n in range(9)), restart=1)
    scheduler.run_all()
    for last, lines in ((2, ["line 7", "line 8"]), (0, []), (None, [f"line {n}" for n in range(9)])):
        reader = Reader(plan, [])
        reader.follow("mnli-s1", last)
        assert reader.lines == lines


def test_a_requeued_job_and_a_file_that_begins_anew(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    scheduler.advance(1)
    log = log_of(plan, "mnli-s1")
    start(plan, "mnli-s1", "step 1 of many, many steps\n")
    element = next(e for e in scheduler.running)

    reader = Reader(
        plan,
        [
            lambda: scheduler.preempt(element),
            lambda: start(plan, "mnli-s1", "goes on\n", restart=1),
            lambda: log.write_text("cut\n"),
            scheduler.run_all,
        ],
    )
    assert reader.follow("mnli-s1").state == "finished"
    assert reader.lines == ["step 1 of many, many steps", "goes on", "cut"]
    assert f"{log} begins anew" in reader.remarks


def test_a_failed_stage_ends_it_and_one_that_is_sent_again_does_not(plan: Plan, scheduler: Scheduler) -> None:
    scheduler.work = stub_job.failing(("mnli-s1",))
    submit.submit(plan)
    start(plan, "mnli-s1", "breaks")
    scheduler.run_all()
    reader = Reader(plan, [])
    state = reader.follow("mnli-s1")
    assert (state.state, state.cause, reader.lines) == ("failed", "code", ["breaks"])

    scheduler.work = stub_job.work
    key = plan.find("mnli-s1").key
    submit.submit(plan, only={key}, force={key})
    reader = Reader(plan, [lambda: start(plan, "mnli-s1", "another attempt\n"), scheduler.run_all])
    assert reader.follow("mnli-s1").state == "finished"
    assert reader.lines == ["another attempt"]


def test_what_was_never_sent_is_over_at_once(plan: Plan, scheduler: Scheduler) -> None:
    assert Reader(plan, []).follow("mnli-s1").state == "new"


def test_the_stores_trouble_is_waited_for(plan: Plan, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    submit.submit(plan)
    start(plan, "mnli-s1", "step 1\n")
    troubles: Iterator[int] = iter([1, 2])
    parts_of = following.parts.parts_of

    def troubled(path: Path) -> object:
        if next(troubles, None):
            raise OSError(5, "Input/output error", str(path))
        return parts_of(path)

    monkeypatch.setattr(following.parts, "parts_of", troubled)
    reader = Reader(plan, [lambda: None, lambda: None, scheduler.run_all])
    assert reader.follow("mnli-s1").state == "finished"
    assert reader.lines == ["step 1"]
    assert len([remark for remark in reader.remarks if "Input/output error" in remark]) == 1


def test_an_hour_of_following_asks_slurm_once_a_minute(plan: Plan, scheduler: Scheduler) -> None:
    scheduler.work = stub_job.slow(360)
    submit.submit(plan)
    scheduler.advance(1)
    before, began = scheduler.calls["squeue"], scheduler.now
    state = following.follow(
        plan, plan.find("mnli-s1"), lambda path, lines: None, print, wait=lambda _: scheduler.advance(15.0)
    )
    minutes = (scheduler.now - began) / 60
    assert state.state == "finished" and minutes > 50
    assert scheduler.calls["squeue"] - before <= minutes + 1
