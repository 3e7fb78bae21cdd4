"""What is remembered of finished stages: it saves reading them, and notices what is taken away."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from launch.plan import Plan, Stage
from launch.results import scores as stage_scores
from launch.results import table
from launch.status import finished
from launch.store import Store, artifacts
from launch.store.artifacts import generation_of
from slurm.base.files import make_folder, seal, write_atomic
from tests.launch.workspace import Workspace

LONG_AGO = 1_600_000_000  # so that folders count as settled


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def plan(workspace: Workspace) -> Plan:
    return workspace.plan(keep="all", seeds=["1"])


def _age(folder: Path) -> None:
    os.utime(folder, (LONG_AGO, LONG_AGO))


def finish(plan: Plan, stage: Stage) -> Path:
    """Publish a stage's result as its job would; the folder whose time counts."""
    kept = Store(plan.experiment.store)
    folder = make_folder(kept.stage_folder(stage.folder))
    if stage.kind == "train":
        digest = hashlib.sha256(stage.key.encode()).hexdigest()
        record: dict[str, Any] = {"key": stage.key, "encoder_hash": f"sha256:{digest}", "dev_score": 50.0}
        attempt = make_folder(folder / "attempts" / "0001" / "encoder")
        write_atomic(attempt / "weights", b"1234")
        files = artifacts.list_files(attempt.parent, ("encoder",))
        write_atomic(folder / "result.json", seal(record | {"attempt": "attempts/0001", "files": files}))
        _age(folder)
        return folder
    parent = plan.stages[stage.parent] if stage.parent else None
    result = kept.train_result(parent) if parent else None
    generation = generation_of(result.encoder_hash if result else plan.start_of(stage).identity)
    for code, split in plan.by_digest[stage.definition].languages.items():
        scores = {plan.by_digest[stage.definition].task.metric: 25.0}
        record = {"language": code, "generation": generation, "scores": scores, "examples": 1, "code": "c"}
        artifacts.publish_language(folder, generation, code, split, record, b"{}\n")
    _age(folder / "languages" / generation)
    return folder / "languages" / generation


def _all(plan: Plan) -> dict[str, Path]:
    return {key: finish(plan, stage) for key, stage in plan.stages.items()}


def _file(plan: Plan) -> Path:
    return plan.experiment.store / "index" / f"{plan.experiment.name}.json"


def test_a_second_look_opens_no_result(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    _all(plan)
    assert finished.finished(plan, Store(plan.experiment.store)) == set(plan.stages)

    def fail(*arguments: object) -> None:
        raise AssertionError("a result was opened")

    monkeypatch.setattr(artifacts, "read_sealed", fail)
    again = Store(plan.experiment.store)
    assert finished.finished(plan, again) == set(plan.stages)
    scores = {stage_scores.score(plan, again, stage) for stage in plan.stages.values()}
    assert scores == {50.0, 25.0} and table.diverged(plan, again) == []


def test_what_is_taken_away_is_noticed(plan: Plan) -> None:
    folders = _all(plan)
    finished.finished(plan, Store(plan.experiment.store))
    for key, folder in folders.items():
        victim = next(path for path in folder.iterdir() if path.suffix == ".json")
        victim.rename(victim.with_suffix(".quarantined"))
        assert key not in finished.finished(plan, Store(plan.experiment.store)), plan.stages[key].name
        victim.with_suffix(".quarantined").rename(victim)
        _age(folder)
    assert finished.finished(plan, Store(plan.experiment.store)) == set(plan.stages)


def test_damage_in_place_is_found_by_verify(plan: Plan) -> None:
    _all(plan)
    finished.finished(plan, Store(plan.experiment.store))
    stage = next(stage for stage in plan.stages.values() if stage.kind == "train")
    path = plan.experiment.store / "stages" / stage.folder / "result.json"
    path.write_bytes(path.read_bytes().replace(b"50.0", b"51.0"))
    assert stage.key in finished.finished(plan, Store(plan.experiment.store))
    assert stage.key not in finished.finished(plan, Store(plan.experiment.store), verify=True)
    assert stage.key not in finished.finished(plan, Store(plan.experiment.store))


def test_an_encoder_made_anew_makes_its_evaluates_count_no_more(plan: Plan) -> None:
    _all(plan)
    finished.finished(plan, Store(plan.experiment.store))
    stage = next(
        s for s in plan.stages.values() if any(plan.stages[k].kind == "evaluate" for k in plan.children[s.key])
    )
    path = plan.experiment.store / "stages" / stage.folder / "result.json"
    record = {"key": stage.key, "encoder_hash": "sha256:" + "0" * 64, "dev_score": 1.0, "files": {}, "attempt": "a"}
    write_atomic(path, seal(record))
    found = finished.finished(plan, Store(plan.experiment.store))
    evaluates = {key for key in plan.children[stage.key] if plan.stages[key].kind == "evaluate"}
    assert stage.key in found and not evaluates & found


def test_other_languages_are_another_question(workspace: Workspace) -> None:
    few = workspace.plan(keep="all", seeds=["1"], languages={"xnli": ["de"]})
    _all(few)
    finished.finished(few, Store(few.experiment.store))
    more = workspace.plan(keep="all", seeds=["1"])
    found = finished.finished(more, Store(more.experiment.store))
    assert not any(more.stages[key].task == "xnli" and more.stages[key].kind == "evaluate" for key in found)


@pytest.mark.parametrize("damage", [b"", b"{}\n{}", b"\xff\xfe", b"[1]\n[2]"])
def test_a_damaged_index_is_made_again(plan: Plan, damage: bytes) -> None:
    _all(plan)
    finished.finished(plan, Store(plan.experiment.store))
    good = _file(plan).read_bytes()
    for content in (damage, good[: len(good) // 2], good.replace(b"50.0", b"99.0")):
        _file(plan).write_bytes(content)
        again = Store(plan.experiment.store)
        assert finished.finished(plan, again) == set(plan.stages)
        assert _file(plan).read_bytes() == good


def test_what_changed_just_now_is_not_remembered(plan: Plan) -> None:
    folders = _all(plan)
    key, folder = next(iter(folders.items()))
    os.utime(folder)
    kept = Store(plan.experiment.store)
    assert key in finished.finished(plan, kept) and key not in kept.index


def test_a_store_that_cannot_be_written_is_read(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    _all(plan)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(finished, "write_atomic", full)
    assert finished.finished(plan, Store(plan.experiment.store)) == set(plan.stages)
    assert not _file(plan).exists()
