"""What elements took and needed: over all their starts, however those ended, and of whole elements alone."""

from pathlib import Path

import pytest

from launch.plan import Plan
from launch.store import Store, submissions
from launch.store.submissions import IntendedArray, Intent, Submission
from launch.usage import measured
from launch.usage.accounting import Accounts
from launch.usage.measured import ElementUse
from slurm.base.files import make_folder
from slurm.jobusage import JobUsage
from tests.launch.usage.attempt_notes import write_attempt
from tests.launch.workspace import Workspace, look_at
from tests.slurm.answers import install

HOUR = 3600.0


@pytest.fixture
def plan(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Plan:
    install(monkeypatch, squeue="", sacct="")
    cluster = {"executor": "slurm", "time": "24:00:00"}
    return workspace.plan(cluster=cluster, recipes=["none"], targets=["xnli"], seeds=["1", "2", "3", "4"])


def _folders(plan: Plan, kind: str) -> list[Path]:
    store = Store(plan.experiment.store)
    return [store.stage_folder(stage.folder) for stage in plan.stages.values() if stage.kind == kind]


def _use(plan: Plan, *jobs: JobUsage) -> ElementUse:
    return measured.measure(plan, look_at(plan), Accounts(jobs)).elements


@pytest.mark.parametrize(
    ("again_from", "hours"),
    [(60, 7.0), (50, 6.0), (0, 6.0)],  # of sixty steps in six hours; never below the longest start
)
def test_what_a_cut_start_did_is_needed_too(plan: Plan, again_from: int, hours: float) -> None:
    for index, folder in enumerate(_folders(plan, "train")[:3]):
        name = {"job": f"7_{index}", "name": "a"}
        write_attempt(folder, 1, minutes=360, cause="preempted", steps=(0, 60), starter=name)
        write_attempt(folder, 2, minutes=60, steps=(again_from, 70), starter=name | {"restart": 1})
    elements = _use(plan)
    assert (elements.seen, elements.longest) == (3, hours * HOUR)


def test_nor_is_it_forgotten_where_another_job_went_on(plan: Plan) -> None:
    folder = _folders(plan, "train")[0]
    write_attempt(folder, 1, minutes=360, cause="code", steps=(0, 60), starter={"job": "7_0"})
    write_attempt(folder, 2, minutes=60, steps=(60, 70), starter={"job": "8_0"})
    elements = _use(plan)
    assert (elements.longest, elements.usual) == (7 * HOUR, 7 * HOUR)


def test_starts_that_did_not_end_well_count(plan: Plan) -> None:
    write_attempt(_folders(plan, "train")[0], 1, minutes=300, cause=None)
    assert (_use(plan).seen, _use(plan).longest) == (0, 5 * HOUR)
    cut = JobUsage("7", 0, "a", "2026-11-21T09:00:00", "PREEMPTED", elapsed=6 * 3600)
    assert _use(plan, cut).longest == 6 * HOUR


def test_of_very_many_stages_whole_elements_are_read(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four trainings, and the evaluates of three of them, each in its training's element."""
    store = Store(plan.experiment.store)
    elements: dict[int, list[str]] = {}
    for index, train in enumerate(stage for stage in plan.stages.values() if stage.kind == "train"):
        elements[index] = [train.key, *(plan.children[train.key] if index else ())]
        for key in elements[index]:
            write_attempt(store.stage_folder(plan.stages[key].folder), 1, minutes=60, starter={"job": f"7_{index}"})
    monkeypatch.setattr(measured, "_READ", 2)
    assert measured.measure(plan, look_at(plan), Accounts()).unseen == ()  # each an element of its own
    submission = Submission(make_folder(store.root / "submissions" / "20261126-000000.000000-abcdef01"))
    arrays = (IntendedArray("name-0", elements),)
    submissions.write_intent(submission, Intent("abcdef01", "small", "slurm", arrays=arrays))
    observation = look_at(plan)
    stages = [stage for stage in plan.stages.values() if store.exists(stage)]
    kept = {stage.key for stage in measured._spread(observation, stages)}
    assert len(stages) > len(kept)
    assert all(not kept & set(keys) or kept >= set(keys) for keys in elements.values())
    assert _use(plan).seen == 3
