"""`stepstone usage` on a store: what it prints, its JSON, what it asks accounting, and the file that it changes."""

import json
import os
import shutil
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from launch.cli.app import app
from launch.plan import Plan
from launch.store import Store, submissions
from launch.store import usage as stage_usage
from launch.store.submissions import IntendedArray, Intent, Receipt, Submission
from launch.store.times import StageTimes
from launch.store.usage import GpuUse, Usage
from slurm.base.files import make_folder, seal
from slurm.commands import Output, Silent
from tests.launch.usage.attempt_notes import BEGAN, write_attempt
from tests.launch.workspace import Workspace
from tests.slurm.answers import Answers, install

pytestmark = pytest.mark.usefixtures("in_its_folder")

CLUSTER = {"executor": "slurm", "gpus-per-node": "a100:2", "time": "12:00:00", "mem": "64G", "cpus-per-task": "8"}
USAGE = Usage(6600.0, 9000.0, 3 << 30, 2 << 30, gpus=(GpuUse(35.0, 90.0, 20 << 30, 80 << 30),) * 2, samples=100)


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    """Every training of six has finished, each as an element of its own, in 1:50 with a minute of imports; an evaluate
    in its element takes no time."""
    plan = workspace.plan(cluster=CLUSTER, recipes=["none", "squad"], targets=["xnli"], seeds=["1", "2"])
    store = Store(plan.experiment.store)
    trains = [stage for stage in plan.stages.values() if stage.kind == "train"]
    for index, stage in enumerate(trains):
        folder = store.stage_folder(stage.folder)
        stage_times = StageTimes(imports=60.0, train=6000.0)
        write_attempt(folder, 1, minutes=109, stage_times=stage_times, starter={"job": f"7_{index}"},
                      stage_usage=stage_usage.record(USAGE))  # fmt: skip
        record = {"schema": 1, "key": stage.key, "attempt": "attempts/0001", "encoder_hash": f"sha256:{stage.key}",
                  "dev_score": 50.0, "files": {}}  # fmt: skip
        (folder / "result.json").write_bytes(seal(record))
        os.utime(folder, (BEGAN, BEGAN))
        for child in plan.children[stage.key]:
            if plan.stages[child].kind == "evaluate":
                folder = store.stage_folder(plan.stages[child].folder)
                write_attempt(folder, 1, minutes=0, starter={"job": f"7_{index}"})
    submission = Submission(make_folder(store.root / "submissions" / "20261126-000000.000000-abcdef01"))
    elements = {index: [stage.key] for index, stage in enumerate(trains)}
    submissions.write_intent(
        submission, Intent("abcdef01", "small", "slurm", arrays=(IntendedArray("name-0", elements),))
    )
    submission.write_receipt(0, Receipt(job="7"))
    return plan


def _sacct(plan: Plan) -> str:
    count = sum(stage.kind == "train" for stage in plan.stages.values())
    return "".join(
        f"7_{index}|COMPLETED|6600|720|cpu=8,gres/gpu=2,mem=64G,node=1|00:00||||36000|2026-11-21T09:00:00|name-0\n"
        f"7_{index}.0|COMPLETED|6600||cpu=8,mem=64G,node=1|02:30:00|4G|1|mem=4G||2026-11-21T09:00:00|env\n"
        for index in range(count)
    )


def _type(plan: Plan, *arguments: str, code: int = 0, **more: Any) -> Any:
    done = CliRunner().invoke(app, ["usage", str(plan.experiment.path), *arguments], **more)
    assert done.exit_code == code, (done.output, done.exception)
    return done


@pytest.fixture
def slurm(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """An empty queue, and accounting."""
    return install(monkeypatch, squeue="", sacct=_sacct(plan))


def test_what_a_person_sees(plan: Plan, slurm: Answers) -> None:
    said = _type(plan).stdout
    assert all(len(line) <= 80 for line in said.splitlines())
    for line in (
        "GPU-hours by recipe   all  useful  idle  running  wasted",
        "none                  7.3     7.3  0.07        0       0",
        "elements: 6 ended well, 01:50:00 of 12:00:00 the longest, 4.0G of 64.0G of",
        "  memory of a node, 1.4 of 16 cores busy in the busiest stage",
        "accounting: 6 that completed, 17.0% of their CPUs' time, 6.2% of the memory at",
        '  time: "02:30:00"',
        "      12:00:00 asked, 01:50:00 the longest of 6 elements: jobs start sooner",
        "  mem: 5G",
        '  gpus-per-node: "a100:1"',
        "to change the file: stepstone usage experiment.yaml --apply",
    ):
        assert line in said.splitlines(), said
    assert "\x1b" not in said


def test_nothing_is_advised_for_what_was_not_seen(plan: Plan, slurm: Answers) -> None:
    for stage in plan.stages.values():
        if stage.kind == "evaluate":
            shutil.rmtree(Store(plan.experiment.store).stage_folder(stage.folder))
    said = _type(plan).stdout
    assert "  not seen yet, and not in it: evaluate xnli" in said.splitlines()
    assert "  time:" not in said and "  mem:" not in said and '  gpus-per-node: "a100:1"' in said
    assert "  cpus-per-task:" not in said


def test_what_programs_read(plan: Plan, slurm: Answers) -> None:
    record = json.loads(_type(plan, "--json").stdout)
    assert (record["schema"], record["hours"]["unit"], record["hours"]["per_element"]) == (1, "GPU-hours", 2)
    assert record["hours"]["total"]["total"] == pytest.approx(6 * 2 * 110 / 60)
    assert record["hours"]["total"]["idle"] == pytest.approx(6 * 2 / 60)
    (squad,) = (kind for kind in record["kinds"] if kind["kind"] == "train squad")
    assert (squad["seen"], squad["memory"], squad["busy"]) == (2, 3 << 30, 35.0)
    assert record["accounting"]["words"] is None and len(record["accounting"]["jobs"]) == 6
    assert record["accounting"]["jobs"][0]["cpu_efficiency"] == pytest.approx(9000 / (6600 * 8))
    assert [entry["yaml"] for entry in record["advice"]] == [
        'time: "02:30:00"',
        "mem: 5G",
        "cpus-per-task: 2",
        'gpus-per-node: "a100:1"',
    ]


def test_accounting_is_asked_once(plan: Plan, slurm: Answers) -> None:
    first = _type(plan).stdout
    asked = [command for command in slurm.asked if command[0] == "sacct"]
    assert len(asked) == 1 and asked[0][asked[0].index("--jobs") + 1] == "7_0,7_1,7_2,7_3,7_4,7_5"
    assert _type(plan).stdout == first
    assert [command for command in slurm.asked if command[0] == "sacct"] == asked


def test_another_job_with_the_same_id_is_none_of_ours(plan: Plan, slurm: Answers) -> None:
    slurm.by_start["sacct"] = _sacct(plan).replace("name-0", "others")
    record = json.loads(_type(plan, "--json").stdout)
    assert record["accounting"]["jobs"] == []
    slurm.by_start["sacct"] = _sacct(plan)  # late: asked for again after an hour
    assert json.loads(_type(plan, "--json").stdout)["accounting"]["jobs"] == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Output(1, "", "Slurm accounting storage is disabled"), "this cluster keeps no accounts"),
        (Silent("late"), "sacct does not answer now"),
        (Output(1, "", "sacct: error: not you"), "sacct refuses (sacct: error: not you)"),
    ],
)
def test_without_accounting_the_jobs_own_samples_say_it(
    plan: Plan, slurm: Answers, answer: Output | Exception, words: str
) -> None:
    slurm.by_start["sacct"] = answer
    said = " ".join(_type(plan).stdout.split())
    assert f"{words}; all numbers are the jobs' own notes and samples" in said
    assert "3.0G of 64.0G of memory of a node" in said and "mem: 4G" in said
    slurm.by_start["sacct"] = _sacct(plan)  # and it comes back
    assert len(json.loads(_type(plan, "--json").stdout)["accounting"]["jobs"]) == 6


def test_the_file_is_changed_only_when_told(plan: Plan, slurm: Answers) -> None:
    path = plan.experiment.path
    before = path.read_bytes()
    asks = _type(plan, "--apply", code=1)
    assert "stepstone usage experiment.yaml --apply --yes" in str(asks.exception) and path.read_bytes() == before
    assert '+  "time": "02:30:00",' in asks.stdout
    _type(plan, "--apply", "--yes")
    assert json.loads(path.read_bytes()) == json.loads(before) | {
        "cluster": CLUSTER | {"time": "02:30:00", "mem": "5G", "cpus-per-task": "2", "gpus-per-node": "a100:1"}
    }
    assert "nothing to change" in _type(plan, "--apply", "--yes").stderr  # it fits what was used now
    assert "--apply" in str(_type(plan, "--yes", code=1).exception)


class Terminal:
    """`sys` with a person at it."""

    stdin = SimpleNamespace(isatty=lambda: True)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def test_at_a_terminal_it_asks(plan: Plan, slurm: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.cli.usage.sys", Terminal())
    before = plan.experiment.path.read_bytes()
    refused = _type(plan, "--apply", input="n\n")
    assert "change it? [y/N]" in refused.stdout and plan.experiment.path.read_bytes() == before
    _type(plan, "--apply", input="y\n")
    assert plan.experiment.path.read_bytes() != before


def test_what_the_file_does_not_say_is_a_line_to_paste(
    plan: Plan, slurm: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit is the shell's."""
    path, content = plan.experiment.path, json.loads(plan.experiment.path.read_bytes())
    del content["cluster"]["time"]
    path.write_bytes(json.dumps(content, indent=1).encode())
    monkeypatch.setenv("SBATCH_TIMELIMIT", "12:00:00")
    said = _type(plan, "--apply", "--yes")
    assert 'not in experiment.yaml; write by hand: cluster: {time: "02:30:00"}' in said.stderr
    assert json.loads(path.read_bytes())["cluster"] == content["cluster"] | {
        "mem": "5G", "cpus-per-task": "2", "gpus-per-node": "a100:1",
    }  # fmt: skip


def test_a_store_of_before_has_what_there_is(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = workspace.plan(cluster={"executor": "local"}, seeds=["1"])
    install(monkeypatch)
    said = _type(plan).stdout
    assert "core-hours by recipe" in said and "elements: none has ended well yet" in said
