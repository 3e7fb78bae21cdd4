"""`stepstone logs`: which stage is meant, which starts of its jobs are printed, and what is said where none is."""

import pytest
from click.testing import Result
from typer.testing import CliRunner

from launch import submit
from launch.cli.app import app
from launch.plan import Plan
from slurm.base import UsageError, UserError
from tests.launch import stub_job
from tests.launch.logbook.printing import location_of, log_of, start
from tests.slurm.scripted import Scheduler

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("in_its_folder")]


def _logs(plan: Plan, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["logs", str(plan.experiment.path), *arguments])


def _printed(plan: Plan, *arguments: str) -> str:
    answer = _logs(plan, *arguments)
    assert answer.exit_code == 0, answer.output
    return "".join(line for line in answer.stdout.splitlines(keepends=True) if not line.startswith("--- "))


def _refused(plan: Plan, *arguments: str) -> str:
    answer = _logs(plan, *arguments)
    assert isinstance(answer.exception, UserError)
    return str(answer.exception)


def _send_again(plan: Plan, name: str) -> None:
    key = plan.find(name).key
    submit.submit(plan, only={key}, force={key})


@pytest.fixture
def failed(plan: Plan, scheduler: Scheduler) -> Plan:
    """Sent twice: the first job was requeued once and failed, the second failed too."""
    scheduler.work = stub_job.failing(("mnli-s1",))
    submit.submit(plan)
    start(plan, "mnli-s1", "first job, first start\n")
    start(plan, "mnli-s1", "first job, second start\n", restart=1)
    start(plan, "mnli-s1", "an error of it\n", restart=1, suffix="err")
    scheduler.run_all()
    _send_again(plan, "mnli-s1")
    start(plan, "mnli-s1", "second job\nlast line\n")
    start(plan, "mnli-s1", "another error\n", suffix="err")
    scheduler.run_all()
    return plan


def test_of_the_last_start_unless_asked_for_more(failed: Plan) -> None:
    assert _printed(failed, "mnli-s1") == "second job\nlast line\nanother error\n"
    assert _printed(failed, "mnli-s1", "--err") == "another error\n"
    assert _printed(failed, "mnli-s1", "--tail", "1") == "last line\nanother error\n"
    assert _printed(failed, "mnli-s1", "--attempt", "1") == "first job, first start\n"
    assert _printed(failed, "mnli-s1", "--attempt", "2") == "second job\nlast line\nanother error\n"
    assert _printed(failed, "mnli-s1", "--all", "--tail", "1") == (
        "first job, first start\nfirst job, second start\nan error of it\nlast line\nanother error\n"
    )


def test_without_a_stage_the_last_that_failed(failed: Plan) -> None:
    answer = _logs(failed)
    assert "mnli-s1, which failed last (" in answer.stderr and "second job" in answer.stdout


def test_without_a_failure_the_last_that_ran(plan: Plan, scheduler: Scheduler) -> None:
    assert "nothing was ever sent; `stepstone submit experiment.yaml`" in _refused(plan)
    submit.submit(plan)
    assert "no stage has begun yet" in _refused(plan)
    scheduler.advance(1)
    start(plan, "mnli-s1", "at work\n")
    answer = _logs(plan)
    assert "which runs (since" in answer.stderr
    scheduler.run_all()
    assert "which ran last (since" in _logs(plan).stderr


def test_by_its_key_or_its_job(failed: Plan) -> None:
    printed = _printed(failed, "mnli-s1")
    location = location_of(failed, "mnli-s1")
    assert _printed(failed, failed.find("mnli-s1").key[:9]) == printed
    assert _printed(failed, f"{location.job}_{location.index}") == printed
    assert _printed(failed, str(location.job)) == printed  # of one element
    first_job = log_of(failed, "mnli-s1").parents[3]  # of all submissions
    names = [path.name for path in first_job.glob("*/logs/*/*_log.err")]
    (earlier,) = {name.rpartition("_0_log")[0] for name in names} - {f"{location.job}_{location.index}"}
    assert _printed(failed, earlier) == "first job, second start\nan error of it\n"
    assert f"job {earlier.partition('_')[0]} is an array of 3 elements; name one: " in _refused(
        failed, earlier.partition("_")[0]
    )
    assert "no job 999_1 in this experiment" in _refused(failed, "999_1")
    assert "did you mean mnli-s1" in _refused(failed, "mnil-s1")


def test_of_a_stage_in_a_job_of_several(plan: Plan, scheduler: Scheduler) -> None:
    submit.submit(plan)
    start(plan, "mnli-s1", "training\n")
    at = location_of(plan, "mnli-s1--xnli")
    assert at == location_of(plan, "mnli-s1")
    with log_of(plan, "mnli-s1").open("a", encoding="utf-8") as file:
        file.write(f"--- stage {plan.find('mnli-s1--xnli').folder}\nde 50.0\n")
    assert _printed(plan, "mnli-s1--xnli") == "de 50.0\n"
    assert _printed(plan, "mnli-s1") == "training\n"


def test_of_an_attempt_that_is_not_there(failed: Plan) -> None:
    with pytest.raises(UsageError, match="mnli-s1 has no attempt 7; it has 1, 2"):
        raise _logs(failed, "mnli-s1", "--attempt", "7").exception or AssertionError
    assert "squad-s1 has no attempt 9" in _refused(failed, "squad-s1", "--attempt", "9")


def test_of_one_that_has_printed_nothing_since(failed: Plan) -> None:
    _send_again(failed, "mnli-s1")
    assert _refused(failed, "mnli-s1").endswith("; --all prints what came before")


@pytest.mark.parametrize(
    "arguments", [["--why", "-f"], ["--all", "--follow"], ["--attempt", "1", "--all"]], ids=" ".join
)
def test_options_that_say_different_things(plan: Plan, arguments: list[str]) -> None:
    assert "do not go together" in _refused(plan, *arguments)


def test_follow_ends_with_the_stage(failed: Plan) -> None:
    answer = _logs(failed, "mnli-s1", "-f", "--tail", "1")
    assert answer.exit_code == 1 and "last line" in answer.stdout
    assert "mnli-s1 is failed: it broke" in answer.stderr
    scheduler_has = _logs(failed, "squad-s1", "--follow")
    assert (scheduler_has.exit_code, "squad-s1 is finished" in scheduler_has.stderr) == (0, True)


def test_ctrl_c_leaves_quietly(failed: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    from launch.logbook import following

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "follow", interrupt)
    answer = _logs(failed, "mnli-s1", "-f")
    assert (answer.exit_code, answer.output) == (130, "")


def test_files_are_printed_without_asking_slurm(failed: Plan, scheduler: Scheduler) -> None:
    before = scheduler.calls.copy()
    scheduler.advance(600)  # what was answered last is too old
    location = location_of(failed, "mnli-s1")
    for arguments in (["mnli-s1"], [f"{location.job}_{location.index}"], ["mnli-s1", "--all"], ["mnli-s1", "--err"]):
        assert "error" in _printed(failed, *arguments)
    assert scheduler.calls == before
