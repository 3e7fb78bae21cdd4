"""When an experiment will be done: by what finished, by the speed of what runs, by Slurm, by the estimate."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from launch.plan import Plan, Stage
from launch.standing.durations import Durations
from launch.standing.progress import Progress
from launch.standing.records import Overview
from launch.standing.when import WhenDone, when_done
from launch.status import StageState
from launch.store import Store
from launch.store.store import Known
from tests.launch.workspace import Workspace

NOW = 1_000_000.0
LOCAL = {"executor": "local", "workers": "2"}


@dataclass
class Look:
    """An observation of which a test says what it sees. What is not named is new."""

    finished: set[str] = field(default_factory=set)
    states: dict[str, StageState] = field(default_factory=dict)
    entries: None = None

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
