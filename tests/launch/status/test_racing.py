"""Racing: seeds go to pairs that are undecided, to no others, and whoever looks comes to the same."""

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from eval.statistics.sequential import Looks, Rule
from launch import submit
from launch.draft import budget
from launch.plan import Plan
from launch.show import status as status_shown
from launch.status import racing
from launch.status.racing import Outcome, Progress
from launch.store import Store, provenance
from launch.store.manifests import StageEntry
from launch.submit import follow
from launch.submit.beside import Collector
from launch.submit.notify import Notifier
from tests.launch import stub_job
from tests.launch.workspace import Workspace, look_at
from tests.slurm.scripted import Scheduler

RULE = Rule(Looks(2, 6), 0.5)
_POINTS = st.floats(-5, 5, allow_nan=False).map(lambda points: round(points, 2))
_ENDS = st.one_of(_POINTS.map(Outcome), st.just(Outcome(is_void=True)))
RACE = {"min": "2", "max": "6", "until": "0.5"}


def _play(ends: list[Outcome]) -> list[Progress]:
    """What a pair goes through when each wanted seed ends as it is told, all that are wanted at a time."""
    outcomes = [Outcome()] * len(ends)
    steps = [racing.progress(outcomes, RULE)]
    while not steps[-1].is_over:
        outcomes = [
            end if place in steps[-1].wanted else old
            for place, (end, old) in enumerate(zip(ends, outcomes, strict=True))
        ]
        steps.append(racing.progress(outcomes, RULE))
        assert len(steps) < 20
    return steps


@given(st.lists(_ENDS, min_size=6, max_size=6))
def test_a_race_ends_and_asks_for_no_more_than_it_must(ends: list[Outcome]) -> None:
    steps = _play(ends)
    for before, after in pairwise(steps):
        assert {place for place in before.wanted if not ends[place].is_void} <= set(after.wanted)
        assert len(after.wanted) <= max(RULE.looks.first, after.compared + 1)
    end = steps[-1]
    assert set(end.wanted) <= set(range(6)) and len(end.wanted) == end.compared
    assert not any(ends[place].is_void for place in end.wanted)
    if end.look is None or end.look.conclusion is None:
        assert len(end.wanted) + end.void == 6 or (end.void == 4 and not end.wanted)  # all that there were


@given(st.lists(_ENDS, min_size=6, max_size=6))
def test_a_decision_stays_whatever_comes_later(ends: list[Outcome]) -> None:
    """Also where other experiments in the store finish seeds that this one never asked for."""
    end = _play(ends)[-1]
    assert racing.progress(ends, RULE).look == end.look
    assert racing.progress(ends, RULE).wanted == end.wanted


@given(st.lists(_ENDS, min_size=6, max_size=6), st.lists(st.integers(0, 5), max_size=6))
def test_the_order_in_which_seeds_end_has_no_say(ends: list[Outcome], order: list[int]) -> None:
    """A seed that ends early waits for those before it: at no moment more is wanted than in the end."""
    end = _play(ends)[-1]
    outcomes = [Outcome()] * 6
    for place in order:
        outcomes[place] = ends[place]
        now = racing.progress(outcomes, RULE)
        if end.wanted:  # else it is given up once the last of the first ones is known
            assert set(now.wanted) <= set(end.wanted) | {place for place in range(6) if ends[place].is_void}
        assert not now.is_over or now.look == end.look


def _accuracy(entry: StageEntry) -> float:
    """squad: 5 points better, and sure; qqp: none, and sure; hellaswag: nobody can tell."""
    seed = int(entry.folder.rpartition("-s")[2].partition("-")[0])
    random = np.random.default_rng([seed, len(entry.folder)])
    effect, deviation = (5.0, 0.2) if "squad" in entry.folder else (0.0, 0.1) if "qqp" in entry.folder else (0.0, 4.0)
    if "squad" not in entry.folder and "qqp" not in entry.folder and "hellaswag" not in entry.folder:
        deviation = 0.1
    return round(60 + effect + deviation * float(random.standard_normal()), 3)


@pytest.fixture
def plan(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    cluster = {"executor": "slurm", "partition": "gpu"}
    return workspace.plan(cluster=cluster, recipes=["none", "squad", "qqp", "hellaswag"], targets=["xnli"], seeds=RACE)


def _seeds(plan: Plan) -> dict[str, int]:
    return {recipe: len(pair.wanted) for (recipe, _), pair in look_at(plan).racing.pairs.items()}


def test_submit_sends_seeds_until_all_is_decided(plan: Plan) -> None:
    sent: list[int] = []
    with Scheduler(stub_job.scoring(_accuracy)).installed() as scheduler:
        while (outcome := submit.submit(plan)).stages:
            assert submit.submit(plan).stages == 0  # of a second submitter at the same time
            sent.append(outcome.stages)
            scheduler.run_all()
        assert len(sent) > 1
    observation = look_at(plan)
    pairs = observation.racing.pairs
    assert all(pair.is_over for pair in pairs.values())
    conclusions = {recipe: pair.look.conclusion for (recipe, _), pair in pairs.items() if pair.look is not None}
    assert conclusions == {"squad": "different", "qqp": "equal", "hellaswag": "open"}
    seeds = _seeds(plan)
    assert 2 <= seeds["squad"] < 6 and max(seeds.values()) <= 6
    # none has every seed that a pair has, and nothing has more than it wanted.
    finished = {(recipe, seed) for (recipe, _, seed), key in plan.paths.items() if key in observation.finished}
    assert {seed for recipe, seed in finished if recipe == "none"} == set(range(1, max(seeds.values()) + 1))
    assert all(sum(name == recipe for name, _ in finished) == count for recipe, count in seeds.items())
    trained = {stage.name for stage in plan.stages.values() if stage.key in observation.finished}
    assert f"squad-s{seeds['squad']}" in trained and f"squad-s{seeds['squad'] + 1}" not in trained
    assert len(observation.finished) == observation.total < len(plan.stages)
    late = plan.stages[plan.paths["squad", "xnli", 6]]
    assert observation.state(late).state == "new"
    assert "decided after" in (observation.state(late).reason or "")


def test_a_seed_that_failed_for_good_is_replaced_by_the_next(plan: Plan) -> None:
    with Scheduler(stub_job.failing(("squad.mnli-s2",), cause="not-finite")).installed() as scheduler:
        submit.submit(plan)
        scheduler.run_all()
        pair = look_at(plan).racing.pairs["squad", "xnli"]
        assert pair.void == 1 and pair.wanted == (1, 3) and pair.compared == 1
        assert "without 1 that failed" in pair.words(plan.experiment.race)
        outcome = submit.submit(plan)
        keys = {key for array in outcome.draft.arrays for e in array.elements.values() for key in e.stages}
        names = {plan.stages[key].name for key in keys}
        assert "squad.mnli-s3" in names and not any("s2" in name for name in names)


def test_a_pair_given_up_before_anything_of_it_was_sent_has_its_cell(plan: Plan, workspace: Workspace) -> None:
    """Another experiment in the store has shown that a training of the recipe fails with every seed."""
    cluster = {"executor": "slurm", "partition": "gpu"}
    other = workspace.plan(
        name="other", cluster=cluster, recipes=["none", "squad"], targets=["panx"], seeds=["1", "2", "3", "4"]
    )
    names = tuple(f"squad-s{seed}" for seed in (1, 2, 3, 4))
    with Scheduler(stub_job.failing(names, cause="not-finite")).installed() as scheduler:
        submit.submit(other)
        scheduler.run_all()
        alone = workspace.plan(cluster=cluster, recipes=["none", "squad"], targets=["xnli"], seeds=RACE)
        observation, store, text = look_at(alone), Store(alone.experiment.store), io.StringIO()
        assert observation.racing.pairs["squad", "xnli"].is_over
        status_shown.print_all(alone, store, observation, Console(file=text, width=80))
    assert "failed not-finite" in " ".join(text.getvalue().split())
    assert "given up, 0 of 2 to 6 seeds, without 4" in " ".join(text.getvalue().split())


def test_watching_a_race_goes_on_to_its_end_without_waiting_for_room(plan: Plan) -> None:
    """`submit --wait`: each next seed goes out as soon as the last one is there, not once a minute."""
    lines: list[str] = []
    with Scheduler(stub_job.scoring(_accuracy)).installed() as scheduler:
        submit.submit(plan)
        begun, scheduler.asleep = scheduler.now, scheduler.run_all
        assert follow.follow(plan, lines.append)
        assert scheduler.now - begun < 60
    assert all(pair.is_over for pair in look_at(plan).racing.pairs.values())
    total = look_at(plan).total
    assert f"{total} of {total} stages finished" in lines[-1]


def test_the_budget_ends_a_race_with_one_line(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    with Scheduler(stub_job.scoring(_accuracy)).installed() as scheduler:
        submit.submit(plan)
        monkeypatch.setattr(budget, "check", _refuse)
        scheduler.asleep = scheduler.run_all
        assert not follow.follow(plan, lines.append)
    assert lines.count("budget: nothing is left") == 1
    pairs = look_at(plan).racing.pairs
    assert all(len(pair.wanted) <= 3 for pair in pairs.values()) and not all(pair.is_over for pair in pairs.values())


def test_a_race_asks_again_for_the_budget_while_something_runs(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs has its estimate reserved, and may take less."""
    lines: list[str] = []
    follower = follow._Follower(
        plan, lines.append, None, Notifier(plan, lines.append), Collector(plan, "submit --wait", lines.append)
    )
    with Scheduler(stub_job.scoring(_accuracy)).installed() as scheduler:
        submit.submit(plan)
        monkeypatch.setattr(follow, "_send", _refuse)
        follower._send(set(), look_at(plan))
        assert not follower.is_spent and not lines
        scheduler.run_all()
        follower._send(set(), look_at(plan))
    assert follower.is_spent and lines == ["budget: nothing is left"]


def _refuse(*arguments: object) -> None:
    raise budget.BudgetExceededError("budget: nothing is left")


def test_a_race_has_the_keys_of_an_experiment_with_all_its_seeds(workspace: Workspace) -> None:
    raced, listed = workspace.plan(seeds=RACE), workspace.plan(seeds=["1", "2", "3", "4", "5", "6"])
    assert raced.stages == listed.stages and raced.paths == listed.paths
    assert not look_at(listed).unneeded and look_at(listed).total == len(listed.stages)
