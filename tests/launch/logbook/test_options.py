"""Options of `stepstone logs` that say different things: refused in one line, which says what to type."""

import pytest
from typer.testing import CliRunner

from launch import submit
from launch.cli.app import app
from launch.plan import Plan
from slurm.base import UsageError
from tests.launch.logbook.printing import location_of
from tests.slurm.scripted import Scheduler

pytestmark = pytest.mark.usefixtures("in_its_folder")


def _refused(plan: Plan, *arguments: str) -> str:
    answer = CliRunner().invoke(app, ["logs", str(plan.experiment.path), *arguments])
    assert isinstance(answer.exception, UsageError) and "\n" not in str(answer.exception)
    return str(answer.exception)


@pytest.mark.parametrize("options", [["--follow"], ["--attempt", "2"]], ids=["follow", "attempt"])
def test_one_job_has_neither_attempts_nor_a_future(plan: Plan, scheduler: Scheduler, options: list[str]) -> None:
    submit.submit(plan)
    location = location_of(plan, "mnli-s1")
    said = _refused(plan, f"{location.job}_{location.index}", *options)
    assert said.startswith(f"logs: {' '.join(options)} goes through all jobs of a stage")
    assert "type: stepstone logs experiment.yaml " in said and said.endswith(" ".join(options))


@pytest.mark.parametrize("options", [["--err"], ["--tail", "3"]], ids=["err", "tail"])
def test_why_prints_what_it_prints(plan: Plan, options: list[str]) -> None:
    said = _refused(plan, "mnli-s1", "--why", *options)
    assert said == f"logs: --why and {options[0]} do not go together; leave out all but one"
