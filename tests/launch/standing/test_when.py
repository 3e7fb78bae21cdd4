"""When an experiment will be done: by what finished, by the speed of what runs, by Slurm, by the estimate."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from launch.plan import Plan, Stage
from launch.standing.durations import Durations, Span
from launch.standing.progress import Progress
from launch.standing.records import Overview
from launch.standing.when import WhenDone, when_done
from launch.status import StageState, history, spent
from launch.store import Store
from launch.store.store import Known
from launch.store.times import StageTimes
from tests.launch.usage.attempt_notes import write_attempt
from tests.launch.workspace import Workspace

NOW = 1_000_000.0
LOCAL = {"executor": "local", "workers": "2"}


@dataclass
class Look:
    """An observation of which a test says what it sees. What is not named is new."""

    finished: set[str] = field(default_factory=set)
    states: dict[str, StageState] = field(default_factory=dict)
    entries: None = None
    unneeded: frozenset[str] = frozenset()

    def state(self, stage: Stage) -> StageState:
        return self.states.get(stage.key, StageState("finished" if stage.key in self.finished else "new"))


@dataclass
class Moment:
    """A plan at one moment, as a test sets it."""

    plan: Plan
    look: Look = field(default_factory=Look)
    seconds: dict[str, float] = field(default_factory=dict)  # that finished stages took, by key
    progress: dict[str, Progress] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        store = Store(self.plan.experiment.store)
        store.index = {key: list(Known(0, "g", "", 50.0, [], took, {})) for key, took in self.seconds.items()}  # type: ignore[misc]
        return store

    def finish(self, name: str, seconds: float) -> None:
        key = self.plan.find(name).key
        self.look.finished.add(key)
        self.seconds[key] = seconds

    def run(self, name: str, step: int, total: int, step_seconds: float) -> None:
        stage = self.plan.find(name)
        self.look.states[stage.key] = StageState("running", job="7_0")
        self.progress[stage.key] = Progress(name, step, total, None, step_seconds, NOW, step * step_seconds)

    def when(self, starts: dict[str, float] | None = None) -> WhenDone | None:
        overview = Overview("small", NOW, (), (), {}, (), Counter(), len(self.plan.stages), self.progress)
        look: Any = self.look
        return when_done(self.plan, self.store, look, overview, starts)


@pytest.fixture
def moment(workspace: Workspace) -> Moment:
    return Moment(workspace.plan(cluster=LOCAL))


def test_before_anything_ran_the_estimate_alone(moment: Moment) -> None:
    when = moment.when()
    assert when is not None and when.latest is not None and NOW < when.earliest < when.latest
    assert (when.basis.by_estimate, when.basis.by_like, when.basis.by_speed) == (len(moment.plan.stages), 0, 0)
    assert when.unsent == len(moment.plan.stages) and when.left_out == 0 and when.basis.at_once == 2


def test_nothing_left(moment: Moment) -> None:
    for stage in moment.plan.stages.values():
        moment.finish(stage.name, 10)
    assert moment.when() is None


def test_it_comes_no_later_as_stages_finish_as_fast_as_they_did(moment: Moment) -> None:
    stages = list(moment.plan.stages.values())
    ends = []
    for stage in stages:
        moment.finish(stage.name, 100.0)
        if (when := moment.when()) is not None and when.latest is not None and when.basis.by_estimate == 0:
            ends.append(when.latest)
    assert len(ends) > 2 and ends == sorted(ends, reverse=True)


def test_another_seed_takes_as_long_as_the_first_did(moment: Moment) -> None:
    """And an interval is as wide as like stages differed."""
    moment.finish("mnli-s1", 1000.0)
    other = moment.plan.find("mnli-s2")
    span = Durations(moment.plan, moment.store, {}).of_stage(other)
    assert span.low < 1000 < span.high and span.high / span.low < 1.5
    estimated = Durations(moment.plan, moment.store, {}).of_stage(moment.plan.find("squad-s1"))
    assert estimated.high / estimated.low > span.high / span.low


def test_what_finished_corrects_the_estimate_of_the_rest(moment: Moment) -> None:
    squad = moment.plan.find("squad-s1")
    before = Durations(moment.plan, moment.store, {}).of_stage(squad)
    moment.finish("mnli-s1", 100_000.0)
    after = Durations(moment.plan, moment.store, {}).of_stage(squad)
    assert after.low > before.high


def test_what_runs_is_told_by_its_speed(workspace: Workspace) -> None:
    moment = Moment(workspace.plan(cluster=LOCAL, recipes=["none"], targets=["xnli"], seeds=["1"]))
    moment.run("mnli-s1", 100, 1000, 2.0)
    durations = Durations(moment.plan, moment.store, moment.progress)
    span = durations.left(moment.plan.find("mnli-s1"))
    assert span.low < 1800 < span.high
    when = moment.when()
    assert when is not None and when.basis.by_speed == 1 and when.earliest - NOW > span.low
    moment.run("mnli-s1", 900, 1000, 2.0)
    nearer = moment.when()
    assert nearer is not None and nearer.latest is not None and when.latest is not None and nearer.latest < when.latest


@pytest.mark.parametrize("runs", range(7))
def test_more_may_run_than_the_file_says(moment: Moment, runs: int) -> None:
    """`stepstone throttle` was told another number: it is never done at the latest before it is at the earliest."""
    names = [stage.name for stage in moment.plan.stages.values() if stage.kind == "train"]
    for stage in moment.plan.stages.values():
        moment.look.states[stage.key] = StageState("queued", job="8_0")
    for name in names[:runs]:
        moment.run(name, 10, 10_000, 2.0)
    when = moment.when()
    assert when is not None and when.latest is not None and when.earliest <= when.latest
    at_once, at_least = when.basis.at_once, when.basis.at_least
    assert at_once is not None and at_least is not None and at_once >= max(2, at_least)
    assert at_once == max(2, len([*moment.progress]))


def test_a_jobs_start_is_counted_once(moment: Moment) -> None:
    """What a stage held its processors contains the imports of the job that it was first of."""
    first, other = moment.plan.find("mnli-s1"), moment.plan.find("mnli-s2")
    folder = moment.store.stage_folder(first.folder)
    write_attempt(folder, 1, minutes=1, stage_times=StageTimes(imports=40.0, train=60.0))
    seconds = spent.of_stage(history.notes_of(folder), [])
    store = moment.store
    store.index = {first.key: list(Known(0, "g", "", 50.0, [], sum(seconds.values()), seconds))}  # type: ignore[dict-item]
    assert sum(seconds.values()) == 100
    progress = {other.key: Progress(other.name, 0, 0, seconds=10.0)}
    durations = Durations(moment.plan, store, progress)
    span, left = durations.of_stage(other), durations.left(other)
    assert durations.start == Span(40.0, 40.0) and span.low * span.high == pytest.approx(60**2)
    assert left == Span(span.low - 10, span.high - 10)


def test_of_what_runs_unread_as_much_is_done_as_of_the_rest(moment: Moment, monkeypatch: pytest.MonkeyPatch) -> None:
    moment.finish("mnli-s1", 1000.0)
    read, unread = moment.plan.find("squad-s1"), moment.plan.find("mnli-s2")
    moment.run(unread.name, 0, 0, 0.0)
    moment.progress.clear()
    moment.run(read.name, 750, 1000, 2.0)
    whole = Durations(moment.plan, moment.store, moment.progress).of_stage(unread)
    durations = Durations(moment.plan, moment.store, moment.progress, unread={unread.key})
    assert durations.left(unread) == Span(whole.low / 4, whole.high / 4)
    every_one_read = moment.when()
    monkeypatch.setattr("launch.standing.when.MOST_READ", 0)
    one_read = moment.when()
    assert every_one_read is not None and one_read is not None and one_read.earliest < every_one_read.earliest


def test_what_failed_does_not_go_on_by_itself(moment: Moment) -> None:
    moment.look.states[moment.plan.find("squad-s1").key] = StageState("failed", cause="code")
    when = moment.when()
    under = [stage for stage in moment.plan.stages.values() if stage.name.startswith("squad") and "s1" in stage.name]
    assert when is not None and when.left_out == len(under)
    for stage in moment.plan.stages.values():
        moment.look.states[stage.key] = StageState("held")
    assert moment.when() is None


def test_without_a_throttle_nobody_knows_how_long_what_waits_will_wait(workspace: Workspace) -> None:
    """But where Slurm says when it means to start it."""
    cluster = {"executor": "slurm", "partition": "gpu"}
    moment = Moment(workspace.plan(cluster=cluster, recipes=["none"], targets=["xnli"], seeds=["1"]))
    for stage in moment.plan.stages.values():
        moment.look.states[stage.key] = StageState("queued", job="7_0")
    when = moment.when()
    assert when is not None and when.latest is None and when.basis.at_once is None
    foretold = moment.when({"7_0": NOW + 5000})
    assert foretold is not None and foretold.latest is not None and foretold.latest > NOW + 5000
    assert foretold.basis.by_slurm == 1 and foretold.earliest == when.earliest
