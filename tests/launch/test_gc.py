"""What gc takes and what it must not: encoders, checkpoints, dead attempts, code, tokens; and the tombstone."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from launch import gc, submit
from launch import plan as planning
from launch.cli import store as cli_store
from launch.plan import Plan
from launch.preflight import rehearse
from launch.store import Store, provenance, submissions
from launch.store.manifests import StageEntry
from launch.store.store import rehearsal_folder
from launch.store.submissions import IntendedArray, Intent, Receipt
from slurm import local
from slurm.base import UsageError, UserError
from slurm.base.files import make_folder, read_sealed
from tests.launch import stub_job
from tests.launch.faulty_job import FaultyJob
from tests.launch.status.test_finished import LONG_AGO, finish
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Scheduler


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    return workspace.plan(seeds=["1"])


def _found(plan: Plan) -> dict[str, str]:
    store = Store(plan.experiment.store)
    return {str(waste.path.relative_to(store.root)): waste.why for waste in gc.find(plan, store)}


def _old(path: Path) -> Path:
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is made in the test counts as old: change times cannot be set back."""
    monkeypatch.setattr(gc, "_is_old", lambda path, seconds: True)


def test_an_empty_store_has_nothing(plan: Plan) -> None:
    make_folder(plan.experiment.store)
    assert _found(plan) == {}
    assert gc.remove(plan, Store(plan.experiment.store)) == []


def test_encoders_go_when_all_who_take_them_are_finished(plan: Plan) -> None:
    for stage in plan.stages.values():
        finish(plan, stage)
    leaves = {
        f"stages/{stage.folder}/attempts/0001/encoder"
        for stage in plan.stages.values()
        if stage.kind == "train" and not any(plan.stages[key].kind == "train" for key in plan.children[stage.key])
    }
    assert leaves and {path for path in _found(plan) if path.endswith("/encoder")} == leaves


def test_an_encoder_that_is_still_needed_stays(plan: Plan) -> None:
    for stage in plan.stages.values():
        if stage.kind == "train":
            finish(plan, stage)
    needed = {stage.folder for stage in plan.stages.values() if any(k for k in plan.children[stage.key])}
    assert not [path for path in _found(plan) if path.split("/")[1] in needed]


@pytest.mark.usefixtures("old")
def test_after_a_race_what_only_unwanted_seeds_need_goes(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of a late seed, as another experiment left it, whose evaluate no pair wants any more."""
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    cluster = {"executor": "slurm", "partition": "gpu"}
    plan = workspace.plan(cluster=cluster, targets=["xnli"], seeds={"min": "2", "max": "6", "until": "0.5"})
    late = plan.stages[plan.paths["squad", "xnli", 6]]
    assert late.parent is not None
    encoder = f"stages/{plan.stages[late.parent].folder}/attempts/0001/encoder"
    finish(plan, plan.stages[late.parent])
    make_folder(plan.experiment.store / "cache" / "tokens" / "k1")
    with Scheduler(stub_job.scoring(_far_better)).installed() as scheduler:
        assert encoder not in _found(plan)  # it may come to be wanted
        while submit.submit(plan).stages:
            scheduler.run_all()
        waste = _found(plan)
    assert encoder in waste and waste["cache/tokens/k1"].endswith("every stage is finished")


def _far_better(entry: StageEntry) -> float:
    """Of squad, a little more with each seed, so that two of them decide it."""
    seed = int(entry.folder.rpartition("-s")[2].partition("-")[0])
    return 60 + (20 + 0.01 * seed) * ("squad" in entry.folder)


def test_keep_all_keeps_all(workspace: Workspace) -> None:
    plan = workspace.plan(keep="all")
    for stage in plan.stages.values():
        finish(plan, stage)
    assert _found(plan) == {}


def test_checkpoints_and_dead_attempts_of_finished_stages_go_and_their_history_stays(workspace: Workspace) -> None:
    plan = workspace.plan(keep="all")
    done, other = [stage for stage in plan.stages.values() if stage.kind == "train"][:2]
    finish(plan, done)
    stages = plan.experiment.store / "stages"
    for stage in (done, other):
        for number in ("0001", "0002"):
            attempt = make_folder(stages / stage.folder / "attempts" / number)
            make_folder(attempt / "checkpoints" / "step-2")
            for name in ("starter.json", "end.json", "heartbeat.json", "fenced", "big.bin", "usage.jsonl",
                         "usage-4.jsonl"):  # fmt: skip
                (attempt / name).write_text("{}")
            (attempt / "log.jsonl").write_text("{}\n" * (20_000 if number == "0002" else 1))
    found = _found(plan)
    mine = f"stages/{done.folder}/attempts"
    assert set(found) == {f"{mine}/0001/checkpoints", f"{mine}/0002/checkpoints", f"{mine}/0002/big.bin",
                          f"{mine}/0002/log.jsonl"}  # fmt: skip
    log = stages / done.folder / "attempts" / "0002" / "log.jsonl"
    gc.remove(plan, Store(plan.experiment.store))
    left = sorted(os.listdir(plan.experiment.store / mine / "0002"))
    assert left == [
        "end.json", "fenced", "heartbeat.json", "log.jsonl", "starter.json", "usage-4.jsonl", "usage.jsonl",
    ]  # fmt: skip
    assert log.stat().st_size < 20_000
    assert (stages / done.folder / "result.json").exists() and _found(plan) == {}


@pytest.mark.usefixtures("old")
def test_the_code_of_the_last_job_stays(plan: Plan) -> None:
    """It waits for all others, and another experiment may have sent since."""
    root = plan.experiment.store
    for code, experiment in (("aaaa", "small"), ("bbbb", "small"), ("cccc", "another")):
        make_folder(root / "code" / code)
        submission, identifier = submissions.new_folder(root)
        array = IntendedArray(f"{experiment}-{identifier}.0", {0: []})
        submissions.write_intent(submission, Intent(identifier, experiment, "slurm", code=code, arrays=(array,)))
        submission.write_receipt(0, Receipt(refused="no"))
    assert set(_found(plan)) == {"code/aaaa"}


@pytest.mark.usefixtures("old")
def test_code_tokens_and_what_was_interrupted(plan: Plan) -> None:
    root = plan.experiment.store
    make_folder(root / "code" / "aaaa")
    make_folder(root / "code" / "bbbb")
    make_folder(root / "cache" / "tokens" / "k1")
    make_folder(root / "stages" / "x" / "attempts" / ".tmp-1")
    make_folder(root / "code" / ".gone-1")
    make_folder(root / "stages" / "x" / "attempts" / "0001" / ".dropped-1")
    (make_folder(root / "results" / "small") / ".predictions.parquet.1.tmp").write_bytes(b"half of it")
    (make_folder(root / "results" / "small" / "history") / ".2026-11-20.parquet.1.tmp").write_bytes(b"half of it")
    sent, identifier = submissions.new_folder(root)
    intent = Intent(id=identifier, experiment="another", executor="slurm", code="bbbb")
    submissions.write_intent(sent, intent)
    left = {"stages/x/attempts/.tmp-1", "stages/x/attempts/0001/.dropped-1", "code/.gone-1"}
    left |= {"results/small/.predictions.parquet.1.tmp", "results/small/history/.2026-11-20.parquet.1.tmp"}
    assert set(_found(plan)) == {"code/aaaa", "cache/tokens/k1", *left}
    gc.remove(plan, Store(root))
    assert os.listdir(root / "code") == ["bbbb"] and _found(plan) == {}


@pytest.mark.usefixtures("old")
def test_contributions_go_with_their_scores(plan: Plan) -> None:
    """Of a stage that is gone, and of an encoder that was trained anew; another experiment's stay with its stages."""
    root = plan.experiment.store
    folder = make_folder(root / "cache" / "contributions")
    make_folder(root / "stages" / "none-xnli-s1-aaaa" / "languages" / "new")
    kept, gone = "aaaa-new-map@20.arrays", ("aaaa-old-f1.arrays", "bbbb-new-f1_dev.arrays", ".c.tmp")
    for name in (kept, *gone, "README"):
        (folder / name).write_text("")
    assert set(_found(plan)) == {f"cache/contributions/{name}" for name in gone}
    gc.remove(plan, Store(root))
    assert sorted(os.listdir(folder)) == ["README", kept]


def test_what_is_young_stays(plan: Plan) -> None:
    make_folder(plan.experiment.store / "code" / "aaaa")
    make_folder(plan.experiment.store / "cache" / "tokens" / "k1")
    make_folder(plan.experiment.store / "stages" / "x" / "attempts" / ".tmp-1")
    make_folder(plan.experiment.store / "stages" / "x" / "attempts" / "0001" / ".dropped-1")  # its job looks who waits
    assert _found(plan) == {}


def test_the_tombstone_says_what_went_and_why(plan: Plan) -> None:
    for stage in plan.stages.values():
        finish(plan, stage)
    removed = gc.remove(plan, Store(plan.experiment.store))
    (tombstone,) = (plan.experiment.store / "gc").iterdir()
    record = read_sealed(tombstone)
    assert record is not None
    assert {item["path"] for item in record["removed"]} == {
        str(item.path.relative_to(plan.experiment.store)) for item in removed
    }
    assert all(item["why"] and item["bytes"] > 0 for item in record["removed"])


def test_nothing_is_removed_while_slurm_does_not_say_what_runs(workspace: Workspace) -> None:
    plan = workspace.plan(cluster={"executor": "slurm"})
    stage = next(stage for stage in plan.stages.values() if stage.kind == "train")
    sent, identifier = submissions.new_folder(plan.experiment.store)
    array = IntendedArray(f"small-{identifier}.0", {0: [stage.key]})
    intent = Intent(identifier, "small", "slurm", since="2020-01-01T00:00:00", code="c", arrays=(array,))
    submissions.write_intent(sent, intent)
    sent.write_receipt(0, Receipt(job="1"))
    with Scheduler().installed() as scheduler:
        scheduler.ctld = "down"
        with pytest.raises(UserError, match="nothing was removed"):
            gc.find(plan, Store(plan.experiment.store))


SLURM = {"executor": "slurm", "partition": "gpu"}


def _as(plan: Plan, name: str) -> Plan:
    """The same by an experiment of another name."""
    return planning.make(replace(plan.experiment, name=name))


@pytest.fixture
def unfrozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")


@pytest.mark.usefixtures("unfrozen")
def test_a_rehearsal_goes_when_it_is_over(workspace: Workspace) -> None:
    """While nothing of the experiment itself is open, and after its file was edited."""
    plan, edited = workspace.plan(cluster=SLURM), workspace.plan(cluster=SLURM, targets=["xnli"])
    with Scheduler(stub_job.slow(5)).installed() as scheduler:
        submit.submit(rehearse.make(plan, local=False))
        scheduler.advance(5)
        assert scheduler.live and _found(plan) == {} == _found(edited)
        scheduler.ctld = "down"
        with pytest.raises(UserError, match="nothing was removed"):
            gc.find(plan, Store(plan.experiment.store))
        scheduler.bring_up()
        scheduler.run_all()
        assert _found(plan) == {"rehearsal/small": "store of a rehearsal that is over"} == _found(edited)
        assert _found(_as(plan, "other")) == {}  # it may still want its logs


def test_a_rehearsal_by_local_workers(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, identifier = submissions.new_folder(rehearsal_folder(plan.experiment.store, plan.experiment.name))
    array = IntendedArray(f"small-{identifier}.0", {0: ["a"], 1: ["b"]})
    submissions.write_intent(sent, Intent(identifier, "small", "local", arrays=(array,)))
    for states, goes in ((["ended 0", "running"], False), (["queued", "gone"], False), (["ended 1", "gone"], True)):
        monkeypatch.setattr(local, "element_state", lambda folder, number, now=states: now[number])
        assert bool(_found(plan)) == goes, states


@pytest.mark.usefixtures("unfrozen")
@pytest.mark.parametrize("name", ["other", "small"])
def test_what_others_stages_start_from_stays(workspace: Workspace, name: str) -> None:
    """Another experiment, or the file before an edit, sent a child of what this one had made and needs no more."""
    grid: dict[str, Any] = {"recipes": ["none"], "seeds": ["1"], "cluster": SLURM}
    mine = workspace.plan(targets=["xquad"], **grid)
    other = _as(workspace.plan(targets=["xquad", "mlqa"], **grid), name)
    (train,) = (stage for stage in mine.stages.values() if stage.kind == "train")
    with Scheduler(FaultyJob()).installed() as scheduler:
        submit.submit(mine)
        scheduler.run_all()
        encoder = f"stages/{train.folder}/attempts/0001/encoder"
        assert encoder in _found(mine)
        scheduler.work = stub_job.slow(1000)
        submit.submit(other)
        scheduler.advance(5)
        assert scheduler.live and encoder not in _found(mine)
        # The same where both have the child in their plans.
        assert encoder not in _found(_as(other, "small"))


@pytest.mark.usefixtures("unfrozen")
@pytest.mark.parametrize("name", ["other", "small"])
def test_more_languages_of_a_finished_stage_need_its_encoder(workspace: Workspace, name: str) -> None:
    grid: dict[str, Any] = {"recipes": ["none"], "seeds": ["1"], "targets": ["xquad"], "cluster": SLURM}
    few, more = (workspace.plan(languages={"xquad": codes}, **grid) for codes in (["de"], ["de", "en"]))
    for stage in few.stages.values():
        finish(few, stage)
    with Scheduler(stub_job.slow(1000)).installed() as scheduler:
        assert any("encoder" in path for path in _found(few))
        submit.submit(_as(more, name))
        scheduler.advance(5)
        assert scheduler.running and _found(few) == {}


@pytest.mark.usefixtures("unfrozen", "old")
def test_encoded_examples_stay_while_anything_runs_from_the_store(workspace: Workspace) -> None:
    mine = workspace.plan(seeds=["1"], cluster=SLURM)
    for stage in mine.stages.values():
        finish(mine, stage)
    other = _as(workspace.plan(seeds=["2"], recipes=["none"], cluster=SLURM), "other")
    make_folder(mine.experiment.store / "cache" / "tokens" / "k1")
    with Scheduler(stub_job.slow(50)).installed() as scheduler:
        submit.submit(other)
        assert "cache/tokens/k1" not in _found(mine)  # queued
        scheduler.advance(5)
        assert scheduler.running and "cache/tokens/k1" not in _found(mine)
        scheduler.run_all()
        assert "cache/tokens/k1" in _found(mine)


def _command(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(cli_store.gc)
    return CliRunner().invoke(app, list(arguments))


def test_the_command_shows_first_and_removes_only_when_told(workspace: Workspace) -> None:
    plan = workspace.plan(seeds=["1"])
    for stage in plan.stages.values():
        finish(plan, stage)
    file = str(workspace.file(seeds=["1"]))
    shown = _command(file)
    assert isinstance(shown.exception, UsageError) and "--yes" in str(shown.exception)
    assert "encoder that no stage needs" in shown.output and not (plan.experiment.store / "gc").exists()
    told = json.loads(_command(file, "--json").stdout)
    assert told["removed"] is False and told["bytes"] > 0
    assert json.loads(_command(file, "--json", "--yes").stdout)["removed"] is True
    assert json.loads(_command(file, "--json").stdout)["waste"] == []
