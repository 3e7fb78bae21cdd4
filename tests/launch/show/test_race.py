"""What `plan` and `status` say of a race, and what it is expected to cost."""

import io
import json
from itertools import pairwise

import pytest
from rich.console import Console

from launch.draft import decide
from launch.estimate import race as race_cost
from launch.estimate.cost import Estimates
from launch.experiment import Race
from launch.plan import Plan
from launch.show import plan as plan_shown
from launch.show import race as race_shown
from launch.show import status as status_shown
from launch.status import Observation
from launch.status.racing import PairRace
from launch.store import Store
from tests.launch.workspace import Workspace, look_at

RACE = {"min": "2", "max": "5", "until": "0.5"}


@pytest.fixture
def raced(workspace: Workspace) -> Plan:
    return workspace.plan(recipes=["none", "squad", "qqp"], targets=["xnli"], seeds=RACE)


def _plan_text(plan: Plan, observation: Observation) -> str:
    text = io.StringIO()
    plan_shown.plan_text(decide(plan, observation, 1000), observation, [], Console(file=text, width=80))
    return text.getvalue()


def test_a_plan_says_what_is_wanted_now_and_what_it_may_cost(raced: Plan) -> None:
    text = " ".join(_plan_text(raced, look_at(raced)).split())
    assert "3 recipes x 1 targets x 2 to 5 seeds" in text
    assert "16 new; 24 more are for seeds that no pair wants now" in text and "to send 16 stages" in text
    assert "race 2 to 5 seeds a pair, until a difference is shown, or one within ±0.5 points" in text
    assert "at least" in text and race_cost.ASSUMPTION in text


def test_what_is_shared_is_told_for_the_least_and_the_most_seeds(workspace: Workspace) -> None:
    least, most = (workspace.plan(seeds=[str(seed) for seed in range(1, count + 1)]) for count in (2, 5))
    trainings = [sum(stage.kind == "train" for stage in plan.stages.values()) for plan in (least, most)]
    plan = workspace.plan(seeds=RACE)
    assert (
        f"sharing {trainings[0]} to {trainings[1]} trainings instead of {least.trainings_from_scratch} to"
        f" {most.trainings_from_scratch} (every pair from scratch)"
    ) in " ".join(_plan_text(plan, look_at(plan)).split())


def test_a_list_of_seeds_says_nothing_of_a_race(workspace: Workspace) -> None:
    plan = workspace.plan()
    observation = look_at(plan)
    text = _plan_text(plan, observation)
    assert "race" not in text and "no pair wants" not in text and "x 2 seeds" in text
    assert "race" not in plan_shown.plan_json(decide(plan, observation, 1000), observation, [])
    assert "race" not in status_shown.record(plan, Store(plan.experiment.store), observation)


def test_the_least_the_most_and_the_expected_hours(raced: Plan, workspace: Workspace) -> None:
    hours = race_cost.hours(raced, Estimates(raced))
    listed = workspace.plan(recipes=["none", "squad", "qqp"], targets=["xnli"], seeds=["1", "2"])
    estimates = Estimates(listed)
    assert hours.least == pytest.approx(estimates.of_plan(listed.stages.keys()).gpu_hours)
    assert hours.most == pytest.approx(hours.least * 5 / 2)
    assert hours.least < hours.expected < hours.most


def test_later_seeds_are_less_likely() -> None:
    chances = race_cost.chances(Race.model_validate({"min": "2", "max": "8", "until": "0.5"}))
    assert chances[:2] == [1, 1] and len(chances) == 8
    assert all(later <= earlier for earlier, later in pairwise(chances)) and chances[-1] < 0.6


def test_status_says_how_each_pair_stands(raced: Plan) -> None:
    observation = look_at(raced)
    assert race_shown.lines(observation, 80)[-1] == "  qqp / xnli: racing, 0 of 2 to 5 seeds"
    record = json.loads(json.dumps(race_shown.record(observation)))
    assert record["pairs"][0] == {
        "recipe": "squad", "target": "xnli", "state": "racing", "conclusion": None, "seeds": [1, 2], "compared": 0,
        "void": 0, "difference": None, "interval": None, "at_most": None,
    }  # fmt: skip


def test_the_words_of_a_pair_whose_first_seeds_tell_nothing() -> None:
    race = Race.model_validate(RACE)
    pair = PairRace("squad", "xnli", (), (1, 2, 3, 4), 0, None, True)
    assert pair.words(race) == "given up, 0 of 2 to 5 seeds, without 4 that failed or diverged"
