"""Which stages a retry sends: the holes of the causes and stages that were named, and what waited for them."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.plan import Plan, Stage
from launch.submit import retry
from slurm.base import UsageError
from slurm.causes import CAUSES
from training.pretrained import StartModel


@dataclass(frozen=True)
class State:
    state: str
    cause: str | None = None


@dataclass
class Seen:
    states: dict[str, State] = field(default_factory=dict)
    locations: set[str] = field(default_factory=lambda: {"passed"})

    def state(self, stage: Stage) -> State:
        return self.states[stage.key]


def _world(*stages: tuple[str, str | None, str, str | None]) -> tuple[Plan, Any]:
    """Of (key, parent, state, cause)."""
    plan = Plan(None, {"": StartModel("folder:0")}, {})  # type: ignore[arg-type]
    plan.stages = {key: Stage(key, key, "train", "squad", 1, parent, "d") for key, parent, _, _ in stages}
    return plan, Seen({key: State(state, cause) for key, _, state, cause in stages})


GRID = _world(
    ("mnli", None, "failed", "host-oom"),
    ("mnli-squad", "mnli", "held", None),
    ("mnli-squad-xquad", "mnli-squad", "held", None),
    ("squad", None, "finished", None),
    ("xquad", "squad", "failed", "code"),
    ("mlqa", "squad", "held", None),  # by the circuit breaker: its parent is finished
    ("qqp", None, "running", None),
    ("pawsx", "qqp", "queued", None),
    ("new", None, "new", None),
    ("passed", None, "new", None),  # its job ended at another stage
    ("passed-xquad", "passed", "held", None),
    ("odd", None, "failed", None),
)
OOM = {"mnli", "mnli-squad", "mnli-squad-xquad"}
CODE = {"xquad", "mlqa"}
PASSED = {"passed", "passed-xquad"}


@pytest.mark.parametrize(
    ("classes", "stages", "chosen"),
    [
        ([], [], OOM | CODE | PASSED | {"odd"}),
        ([], ["passed"], PASSED),
        (["host-oom"], [], OOM),
        (["oom"], [], OOM),
        (["code"], [], CODE),
        (["unknown"], [], {"odd"}),
        (["code", "unknown"], [], CODE | {"odd"}),
        (["nccl"], [], set()),
        ([], ["xquad"], {"xquad"}),
        (["host-oom"], ["xquad"], set()),
        ([], ["mnli"], OOM),
        ([], ["mnli-squad"], OOM),  # its parent must run first
        ([], ["squad"], set()),
        ([], ["qqp"], set()),
    ],
)
def test_the_holes(classes: list[str], stages: list[str], chosen: set[str]) -> None:
    plan, seen = GRID
    assert retry.select(plan, seen, classes, stages) == chosen


def test_unknown_names_are_refused() -> None:
    plan, seen = GRID
    with pytest.raises(UsageError, match="--class ooom: unknown; it takes oom, host-oom"):
        retry.select(plan, seen, ["ooom"], [])
    with pytest.raises(UsageError, match="no stage 'nowhere'"):
        retry.select(plan, seen, [], ["nowhere"])


STATES = ["new", "queued", "running", "finished", "failed", "held", "cancelled"]
ROW = st.tuples(st.integers(-1, 20), st.sampled_from(STATES), st.sampled_from([None, *CAUSES]))


@given(st.lists(ROW, max_size=20), st.sets(st.sampled_from(CAUSES)))
def test_never_what_is_finished_or_on_its_way(rows: list[tuple[int, str, str | None]], classes: set[str]) -> None:
    made = [
        (str(n), str(parent % n) if n and parent >= 0 else None, state, cause)
        for n, (parent, state, cause) in enumerate(rows)
    ]
    plan, seen = _world(*made)
    chosen = retry.select(plan, seen, classes, [])
    for key, parent, state, cause in made:
        if key in chosen:
            assert state in ("new", "failed", "held", "cancelled")
            assert parent is None or parent in chosen or seen.states[parent].state in ("finished", "running", "queued")
        elif state == "failed":
            assert classes and (cause or "unknown") not in classes
