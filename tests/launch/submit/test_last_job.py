"""The last job of an experiment makes its table: always sent, always one, first to go, and in nobody's way."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from launch import experiment, report, submit
from launch import plan as planning
from launch.cli.app import app
from launch.collecting import collecting
from launch.draft import request
from launch.plan import Plan
from launch.show import collected
from launch.store import Submission, collects, provenance, submissions
from launch.submit import cancel, follow, last_job, outcome
from slurm.base import UserError
from tests.launch import stub_job
from tests.launch.submit import killed
from tests.launch.workspace import Workspace, look_at
from tests.slurm.scripted import Array, Limits, Run, Scheduler

CLUSTER = {"executor": "slurm", "partition": "gpu", "mem": "8G", "gpus-per-node": "1", "time": "10:00"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    with Scheduler(_work).installed() as ready:
        yield ready


def _work(run: Run) -> Any:
    """What an element does; the last job, what its process does."""
    if run.manifest.name != "collect.json":
        return stub_job.work(run)
    asked_for = collects.request_in(Submission(run.manifest.parent))
    assert asked_for is not None
    return int(bool(collecting.collect(asked_for, f"job {run.element.array.id}").error))


def _plan(workspace: Workspace, **changes: Any) -> Plan:
    return workspace.plan(**({"cluster": CLUSTER, "seeds": ["1"], "collect": {"report": "false"}} | changes))


def _last_jobs(scheduler: Scheduler) -> list[Array]:
    return [array for array in scheduler.arrays if "launch.collecting" in array.script]


def _waiting(scheduler: Scheduler) -> list[Array]:
    return [array for array in _last_jobs(scheduler) if any(element.live for element in array.elements)]


def _results(plan: Plan) -> Path:
    return collects.results_folder(plan.experiment.store, plan.experiment.name)


def test_the_table_is_there_when_all_is_over(workspace: Workspace, scheduler: Scheduler) -> None:
    plan, lines = _plan(workspace), list[str]()
    submit.submit(plan, lines.append)
    (last,) = _last_jobs(scheduler)
    stage_arrays = [array for array in scheduler.arrays if array is not last]
    assert last.flags["dependency"] == f"afterany:{':'.join(str(array.id) for array in stage_arrays)}"
    flags = {name: last.flags.get(name) for name in ("partition", "time", "mem", "ntasks", "gpus-per-node")}
    assert flags == {"partition": "gpu", "time": "10:00", "mem": "2G", "ntasks": "1", "gpus-per-node": None}
    assert f"collect: job {last.id}, when the last of these has ended; the table: {_results(plan)}" in lines
    assert not _results(plan).exists()
    scheduler.run_all()
    assert {"results.parquet", "table.md"} < {path.name for path in _results(plan).iterdir()}
    note = collects.last_note(plan.experiment.store, plan.experiment.name)
    assert note is not None and (note.by, note.error) == (f"job {last.id}", "")
    assert note.finished == note.stages == len(plan.stages)
    assert look_at(plan).counts()["finished"] == len(plan.stages)
    (line,) = collected.lines(plan, submissions.read_all(plan.experiment.store))
    assert line.startswith(f"results: {_results(plan)} ({note.stages} of {note.stages} stages, ")


def test_one_job_collects_and_causes_the_mail(workspace: Workspace, scheduler: Scheduler) -> None:
    submit.submit(_plan(workspace, notify={"mail": "me@example.org", "partition": "debug"}))
    (last,) = _last_jobs(scheduler)
    assert (last.flags["mail-type"], last.flags["mail-user"]) == ("END,FAIL", "me@example.org")
    assert last.flags["partition"] == "debug"
    assert sum("mail-type" in array.flags for array in scheduler.arrays) == 1


def test_what_it_asks_for_is_the_files_to_say(workspace: Workspace, scheduler: Scheduler) -> None:
    wishes = {"partition": "debug", "time": "1:00:00", "mem": "8G"}
    submit.submit(_plan(workspace, collect=wishes, notify={"mail": "true", "partition": "gpu"}))
    (last,) = _last_jobs(scheduler)
    assert {name: last.flags[name] for name in wishes} == wishes
    submit.submit(_plan(workspace, cluster={"executor": "slurm", "partition": "gpu"}, name="without", store="./other"))
    last = _last_jobs(scheduler)[-1]
    assert "mem" not in last.flags and last.flags["time"] == "30"  # the file asks for no memory: the site keeps none


def test_it_is_sent_again_with_something_new_and_with_an_edit(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    submit.submit(plan)
    submit.submit(plan)
    assert len(_last_jobs(scheduler)) == 1
    more = _plan(workspace, seeds=["1", "2"])
    submit.submit(more)
    assert len(_last_jobs(scheduler)) == 2 and len(_waiting(scheduler)) == 1
    fewer = _plan(workspace, seeds=["1", "2"], recipes=["none"])
    assert submit.submit(fewer).submission is None  # nothing to send, and another table
    assert len(_last_jobs(scheduler)) == 3
    (last,) = _waiting(scheduler)
    scheduler.run_all()
    note = collects.last_note(plan.experiment.store, plan.experiment.name)
    assert note is not None and (note.by, note.stages) == (f"job {last.id}", len(fewer.stages))
    submit.submit(fewer)
    assert len(_last_jobs(scheduler)) == 3


def test_the_table_answers_what_was_asked_when_it_was_sent(workspace: Workspace, scheduler: Scheduler) -> None:
    """The file was edited, then removed, before the job came to run; its paths are relative to where it was."""
    plan = _plan(workspace)
    submit.submit(plan)
    workspace.file(cluster=CLUSTER, recipes=["squad"], seeds=["7"])
    plan.experiment.path.unlink()
    scheduler.run_all()
    note = collects.last_note(plan.experiment.store, plan.experiment.name)
    assert note is not None and not note.error and note.finished == note.stages == len(plan.stages)


def test_it_waits_for_stages_that_another_experiment_sent(workspace: Workspace, scheduler: Scheduler) -> None:
    """And for no others of theirs."""
    submit.submit(_plan(workspace, seeds=["1", "2"]))
    plan = _plan(workspace, name="part")
    assert submit.submit(plan).submission is None
    last = _last_jobs(scheduler)[-1]
    waited_for = last.flags["dependency"].removeprefix("afterany:").split(":")
    assert all("_" in element for element in waited_for)
    assert 0 < len(waited_for) < sum(len(a.elements) for a in scheduler.arrays if a not in _last_jobs(scheduler))
    submit.submit(plan)
    assert len(_last_jobs(scheduler)) == 2
    scheduler.run_all()
    note = collects.last_note(plan.experiment.store, "part")
    assert note is not None and note.finished == note.stages == len(plan.stages)


def test_data_that_changed_since_is_said_and_the_table_before_stays(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    submit.submit(plan)
    scheduler.run_all()
    before = (_results(plan) / "table.md").read_bytes()
    submit.submit(_plan(workspace, seeds=["1", "2"]))
    (workspace.root / "data" / "mnli.tsv").write_text("A.\tB.\tneutral\n" * 4)
    scheduler.run_all()
    assert (_results(plan) / "table.md").read_bytes() == before
    _, line = collected.lines(plan, submissions.read_all(plan.experiment.store))
    assert "data or model of small are not what they were when it was sent" in line and "failed" in line
    assert look_at(plan).counts()["failed"] == 0


def test_a_part_that_failed_is_no_reason_for_no_table(workspace: Workspace) -> None:
    def work(run: Run) -> Any:
        return _work(run) if run.manifest.name == "collect.json" else stub_job.failing(("squad-s1",))(run)

    with Scheduler(work).installed() as scheduler:
        plan = _plan(workspace)
        submit.submit(plan)
        scheduler.run_all()
        note = collects.last_note(plan.experiment.store, plan.experiment.name)
        assert note is not None and 0 < note.finished < note.stages
        assert (_results(plan) / "table.md").exists()


def test_what_is_set_aside_by_hand_is_told_until_it_counts_again(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    submit.submit(plan)
    scheduler.run_all()
    record = next((plan.experiment.store / "stages").glob("*/languages/*/de-*.json"))
    content, file = record.read_bytes(), str(plan.experiment.path)

    def lines_after_collecting(damaged_content: bytes) -> list[str]:
        record.write_bytes(damaged_content)
        CliRunner().invoke(app, ["collect", file], catch_exceptions=False)
        return collected.lines(plan, submissions.read_all(plan.experiment.store))[1:]

    (line,) = lines_after_collecting(content[:-9])
    assert line.startswith("collect (by stepstone collect, ") and "1 results do not count" in line
    assert lines_after_collecting(content) == []
    lines_after_collecting(content[:-9])
    observation = look_at(plan)
    (stage,) = observation.among(["failed"])
    assert "its result did not verify, and was set aside" in observation.state(stage).reason
    submit.submit(plan)
    scheduler.run_all()
    assert look_at(plan).counts()["finished"] == len(plan.stages)
    assert len(collected.lines(plan, submissions.read_all(plan.experiment.store))) == 1


def test_an_error_of_its_own_is_a_line_of_status_and_fails_nothing(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _plan(workspace)

    def broken(of_plan: Plan) -> Any:
        raise ValueError("a bug")

    monkeypatch.setattr(collecting, "write", broken)
    submit.submit(plan)
    scheduler.run_all()
    (line,) = collected.lines(plan, submissions.read_all(plan.experiment.store))
    assert line.startswith("collect failed (by job ") and "ValueError: a bug" in line
    assert look_at(plan).counts()["finished"] == len(plan.stages)
    answer = CliRunner().invoke(app, ["status", str(plan.experiment.path)])
    assert answer.exit_code == 0 and "collect failed (by job" in answer.output
    record = json.loads(CliRunner().invoke(app, ["status", str(plan.experiment.path), "--json"]).output)
    assert record["results"]["collect"]["error"] == "ValueError: a bug"


@pytest.mark.parametrize("failures", [1, 2])
def test_without_room_for_its_note_it_is_not_at_work_for_ever(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    plan, write = _plan(workspace), collects.write_atomic
    submit.submit(plan)
    scheduler.run_all()
    asked_for, refused_paths = collects.request_of(plan), list[Path]()

    def full(path: Path, content: bytes) -> None:
        if b'"ended":null' not in content and len(refused_paths) < failures:
            refused_paths.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)

    monkeypatch.setattr(collects, "write_atomic", full)
    note = collecting.collect(asked_for, "job 7")
    left_note = collects.last_note(plan.experiment.store, plan.experiment.name)
    assert len(refused_paths) == failures
    if failures == 1:
        assert note == left_note and note.error == ""
    else:
        assert left_note is None and "collected.json: No space left on device; make room" in note.error


@pytest.mark.parametrize("trouble", [None, UserError("no room"), KeyError("x"), OSError(28, "No space left", "/x")])
def test_the_report_comes_with_the_table_and_after_it(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, trouble: Exception | None
) -> None:
    """Whatever is wrong with it, the table is there."""
    plan, reported_plans = _plan(workspace, collect=None), list[Plan]()

    def write(of_plan: Plan) -> None:
        assert (_results(plan) / "table.md").exists()
        reported_plans.append(of_plan)
        if trouble is not None:
            raise trouble

    monkeypatch.setattr(report, "write", write)
    submit.submit(plan)
    scheduler.run_all()
    assert [of_plan.experiment.name for of_plan in reported_plans] == ["small"]
    first, *more = collected.lines(plan, submissions.read_all(plan.experiment.store))
    assert f"({len(plan.stages)} of {len(plan.stages)} stages" in first
    assert len(more) == (trouble is not None)
    assert all("failed" in line and ": the table is there, and no report: " in line for line in more)


def test_a_damaged_result_is_named_in_its_log_and_counted_by_status(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(run: Run) -> Any:
        if run.manifest.name == "collect.json":
            path = sorted((workspace.root / "store" / "stages").glob("*/languages/*/*.json"))[0]
            path.write_bytes(path.read_bytes().replace(b"50.0", b"60.0"))
        return _work(run)

    with Scheduler(work).installed() as scheduler:
        plan = _plan(workspace)
        submit.submit(plan)
        scheduler.run_all()
    assert "does not count: " in capsys.readouterr().out
    _, line = collected.lines(plan, submissions.read_all(plan.experiment.store))
    assert line.startswith("collect (by job ") and "1 results do not count, as they did not verify" in line


def test_who_types_collect_has_what_was_wrong_behind_them(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _plan(workspace)
    with monkeypatch.context() as patched:
        patched.setattr(collecting, "write", lambda of_plan: 1 / 0)
        submit.submit(plan)
        scheduler.run_all()
    assert len(collected.lines(plan, submissions.read_all(plan.experiment.store))) == 1
    assert CliRunner().invoke(app, ["collect", str(plan.experiment.path)]).exit_code == 0
    (line,) = collected.lines(plan, submissions.read_all(plan.experiment.store))
    assert line.startswith("results: ")


def test_another_file_of_that_name_is_told_before_its_job_runs(workspace: Workspace, scheduler: Scheduler) -> None:
    plan, lines = _plan(workspace), list[str]()
    submit.submit(plan)
    scheduler.run_all()
    content = (_results(plan) / "results.parquet").read_bytes()
    plan.experiment.path.rename(workspace.root / "first.yaml")
    collecting.collect(collects.request_of(planning.make(experiment.load(workspace.root / "first.yaml"))), "by hand")
    submit.submit(_plan(workspace, recipes=["none", "squad", "qqp"]), lines.append)
    (line,) = [line for line in lines if "will make no table" in line]
    assert "first.yaml, which has the same `name:`" in line
    scheduler.run_all()
    assert (_results(plan) / "results.parquet").read_bytes() == content
    (line,) = [line for line in collected.lines(plan, []) if line.startswith("collect failed")]
    assert "first.yaml" in line


def test_it_is_the_first_that_there_is_no_room_for(workspace: Workspace) -> None:
    """It takes no place of an element's, neither when it is sent nor when it waits already."""
    with Scheduler(_work, Limits(submit=4)).installed() as scheduler:
        small = _plan(workspace, recipes=["none"])
        submit.submit(small)
        elements = sum(len(array.elements) for array in scheduler.arrays)
        assert len(_waiting(scheduler)) == 1 and elements < 4
        lines = list[str]()
        large = _plan(workspace, seeds=["1", "2", "3"])
        submitted = submit.submit(large, lines.append)
        assert submitted.held and not _waiting(scheduler) and len(scheduler.live) == 4
        (line,) = [line for line in lines if line.startswith("collect: ")]
        assert "no job for it while elements are held back, which need the room; `submit --wait` collects" in line
        folders = len(submissions.read_all(large.experiment.store))
        submit.submit(large)
        assert len(submissions.read_all(large.experiment.store)) == folders  # none is tried in vain
        while submit.submit(large).held:
            scheduler.run_all()
        scheduler.run_all()
        submit.submit(large)
        assert (_results(large) / "table.md").exists()


def test_where_it_alone_does_not_fit_that_is_said(workspace: Workspace) -> None:
    plan, lines = _plan(workspace, recipes=["none"]), list[str]()
    with Scheduler(_work).installed():
        elements = submit.submit(_plan(workspace, recipes=["none"], name="other", store="./other")).elements
    with Scheduler(_work, Limits(submit=elements)).installed() as scheduler:
        assert submit.submit(plan, lines.append).elements == elements
        (line,) = [line for line in lines if line.startswith("collect: ")]
        assert "there is no room for its job beside the stages" in line and "stepstone collect" in line
        scheduler.run_all()
        submit.submit(plan)  # which is owed
        scheduler.run_all()
        assert (_results(plan) / "table.md").exists()


def test_it_is_cancelled_with_the_rest(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    submit.submit(plan)
    cancel.cancel(plan, ["squad-s1"], lambda proposal: True)
    assert len(_waiting(scheduler)) == 1
    cancel.cancel(plan, [], lambda proposal: True)
    assert not _waiting(scheduler)
    submit.submit(plan)
    assert len(_waiting(scheduler)) == 1


def test_it_is_cancelled_when_it_alone_is_left(workspace: Workspace, scheduler: Scheduler) -> None:
    plan, lines = _plan(workspace), list[str]()
    submit.submit(plan)
    cancel.cancel(plan, [stage.name for stage in plan.stages.values()], lambda proposal: True)
    assert len(_waiting(scheduler)) == 1
    cancel.cancel(plan, [], lambda proposal: True, lines.append)
    assert not _waiting(scheduler) and "the last job was waiting" in lines[-1]
    lines.clear()
    cancel.cancel(plan, [], lambda proposal: True, lines.append)
    assert lines == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_submitter_neither_loses_nor_doubles_it(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Between the last array and the last job, before or after Slurm took it."""
    plan = _plan(workspace)
    killed.while_sending(plan, moment, lambda asked: "launch.collecting" in asked.command, monkeypatch)
    submit.submit(plan)
    submit.submit(plan)
    assert len(_last_jobs(scheduler)) == len(_waiting(scheduler)) == 1
    scheduler.run_all()
    assert (_results(plan) / "table.md").exists()


def test_one_that_waits_goes_where_the_file_wants_none_any_more(workspace: Workspace, scheduler: Scheduler) -> None:
    submit.submit(_plan(workspace))
    plan = _plan(workspace, collect={"job": "false"})
    submit.submit(plan)
    assert not _waiting(scheduler)
    submit.submit(_plan(workspace, collect={"job": "false"}, seeds=["1", "2"]))
    assert len(_last_jobs(scheduler)) == 1


def test_a_mails_job_of_an_earlier_version_gives_way_to_one_that_collects(
    workspace: Workspace, scheduler: Scheduler
) -> None:
    mail = {"mail": "true"}
    submit.submit(_plan(workspace, notify=mail, collect={"job": "false"}))
    (mails_job,) = [array for array in scheduler.arrays if "mail-type" in array.flags]
    plan = _plan(workspace, notify=mail)
    submit.submit(plan)
    assert not any(element.live for element in mails_job.elements)
    (last,) = _waiting(scheduler)
    assert last.flags["mail-type"] == "END,FAIL"


def test_it_runs_the_code_of_its_own_submission(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last arrays' may be of a version that does not know how to collect."""
    submit.submit(_plan(workspace))
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "newer")
    submit.submit(_plan(workspace, recipes=["none"]))  # nothing but another table
    (last,) = _waiting(scheduler)
    assert "code/newer" in last.script
    newest = submissions.read_all(workspace.root / "store")[-1]
    assert newest.is_last_job and newest.intent.code == "newer"


def test_script_shows_it(workspace: Workspace, scheduler: Scheduler) -> None:
    from launch.draft import decide

    plan = _plan(workspace)
    draft = decide(plan, look_at(plan), 100)
    *_, last = request.scripts(draft)
    assert "launch.collecting slurm" in last and "afterany:JOBID_OF_ARRAY_0" in last and "code/CODE" in last


@pytest.mark.slow
def test_what_waits_collects_at_the_end(workspace: Workspace, scheduler: Scheduler) -> None:
    """In a process of its own, which has its own clock and no scheduler."""
    plan, lines = _plan(workspace, collect={"job": "false", "report": "false"}), list[str]()
    submit.submit(plan)
    scheduler.run_all()
    assert follow.follow(plan, lines.append)
    assert lines[-1] == f"collected: {_results(plan)}", lines
    note = collects.last_note(plan.experiment.store, plan.experiment.name)
    assert note is not None and note.by == "submit --wait" and note.finished == len(plan.stages)
    assert not [line for line in outcome.lines(submit.submit(plan)) if "collect" in line]


def test_make_room_says_whether_it_made_some(workspace: Workspace, scheduler: Scheduler) -> None:
    plan = _plan(workspace)
    assert not last_job.make_room(plan, lambda line: None)
    submit.submit(plan)
    assert last_job.make_room(plan, lambda line: None)
    assert not last_job.make_room(plan, lambda line: None)
