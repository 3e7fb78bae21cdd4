"""The store: what counts as finished, what a torn record does, and that the first result of a language stays."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from launch.plan import Plan, Stage
from launch.store import Store, artifacts
from launch.store.artifacts import (
    FileFacts,
    TrainResult,
    generation_of,
    publish_language,
    read_language,
    read_languages,
)
from launch.store.attempts import Starter, begin
from slurm.base import UserError, look
from slurm.base.files import make_folder, read_sealed, seal, write_atomic
from tests.at_once import at_once, trials
from tests.launch.workspace import Workspace
from training.spec import DataFile, Split

SPLIT: Split = (DataFile("/somewhere/test-de.tsv", "a" * 64),)
LINES = b'{"id": "1", "prediction": "neutral"}\n'


def _record(score: float = 50.0) -> dict[str, Any]:
    return {"scores": {"accuracy": score}, "examples": 1}


def _files(stage_folder: Path) -> list[str]:
    return sorted(path.name for path in (stage_folder / "languages").rglob("*") if path.is_file())


def _record_file(stage_folder: Path) -> Path:
    (path,) = (stage_folder / "languages").rglob("*.json")
    return path


# --- results of languages


def test_a_published_language_reads_back(tmp_path: Path) -> None:
    assert read_language(tmp_path, "gen", "de", SPLIT) is None
    assert publish_language(tmp_path, "gen", "de", SPLIT, _record(), LINES)
    found = read_language(tmp_path, "gen", "de", SPLIT)
    assert found is not None and found.scores == {"accuracy": 50.0}
    assert (_record_file(tmp_path).parent / found.predictions).read_bytes() == LINES
    for other in (("gen2", "de", SPLIT), ("gen", "en", SPLIT), ("gen", "de", (DataFile("/x", "b" * 64),))):
        assert read_language(tmp_path, *other) is None
    moved = (DataFile("/elsewhere/de.tsv.gz", "a" * 64),)
    assert read_language(tmp_path, "gen", "de", moved) == found


def test_the_first_result_of_a_language_stays_with_its_predictions(tmp_path: Path) -> None:
    assert publish_language(tmp_path, "gen", "de", SPLIT, _record(50.0), LINES)
    assert not publish_language(tmp_path, "gen", "de", SPLIT, _record(60.0), b"other predictions\n")
    found = read_language(tmp_path, "gen", "de", SPLIT)
    assert found is not None and found.scores == {"accuracy": 50.0}
    assert (_record_file(tmp_path).parent / found.predictions).read_bytes() == LINES


@pytest.mark.parametrize("trial", trials(5))
def test_of_many_at_once_one_publishes(tmp_path: Path, trial: int) -> None:
    def work(number: int) -> bool:
        return publish_language(tmp_path, "gen", "de", SPLIT, _record(float(number)), LINES * (number + 1))

    answers = at_once(6, work)
    assert sum(answers) == 1
    found = read_language(tmp_path, "gen", "de", SPLIT)
    assert found is not None and found.scores == {"accuracy": float(answers.index(True))}
    assert found.predictions_size == len(LINES) * (answers.index(True) + 1)


def test_predictions_are_named_by_content(tmp_path: Path) -> None:
    publish_language(tmp_path, "gen", "de", SPLIT, _record(), LINES)
    publish_language(tmp_path, "gen", "de", SPLIT, _record(), LINES)
    publish_language(tmp_path, "gen", "de", SPLIT, _record(), LINES * 2)
    assert len([name for name in _files(tmp_path) if name.endswith(".jsonl")]) == 2


@pytest.mark.parametrize("torn", [b"", b"{", b'{"scores": {}}'])
def test_a_torn_record_is_put_aside_and_replaced(tmp_path: Path, torn: bytes) -> None:
    publish_language(tmp_path, "gen", "de", SPLIT, _record(50.0), LINES)
    path = _record_file(tmp_path)
    path.write_bytes(torn)
    assert read_language(tmp_path, "gen", "de", SPLIT) is None
    assert publish_language(tmp_path, "gen", "de", SPLIT, _record(60.0), LINES)
    found = read_language(tmp_path, "gen", "de", SPLIT)
    assert found is not None and found.scores == {"accuracy": 60.0}
    (quarantined,) = [name for name in _files(tmp_path) if name.endswith(".quarantined")]
    assert (path.parent / quarantined).read_bytes() == torn


@pytest.mark.parametrize("trial", trials(5))
def test_a_torn_record_that_many_put_aside_at_once(tmp_path: Path, trial: int) -> None:
    """One that looked before another had replaced it must not take the new record away."""
    publish_language(tmp_path, "gen", "de", SPLIT, _record(50.0), LINES)
    _record_file(tmp_path).write_bytes(b"{")

    def work(number: int) -> bool:
        return publish_language(tmp_path, "gen", "de", SPLIT, _record(float(number)), LINES)

    answers = at_once(6, work)
    found = read_language(tmp_path, "gen", "de", SPLIT)
    assert found is not None and answers[int(found.scores["accuracy"])]


def test_a_record_without_its_predictions_does_not_count(tmp_path: Path) -> None:
    publish_language(tmp_path, "gen", "de", SPLIT, _record(), LINES)
    (predictions,) = (tmp_path / "languages").rglob("*.jsonl")
    predictions.write_bytes(LINES[:-5])
    assert read_language(tmp_path, "gen", "de", SPLIT) is None
    predictions.unlink()
    assert read_language(tmp_path, "gen", "de", SPLIT) is None
    assert publish_language(tmp_path, "gen", "de", SPLIT, _record(), LINES)
    assert read_language(tmp_path, "gen", "de", SPLIT) is not None


# --- stages


def _finish_train(root: Path, stage: Stage, weights: bytes = b"weights") -> Path:
    """Train a stage, as its job would say; the attempt's folder."""
    folder = Store(root).stage_folder(stage.folder)
    attempt = begin(folder, Starter("1_0", 0, "node", 1, None), lambda job: True)
    (attempt.folder / "encoder").mkdir()
    (attempt.folder / "encoder" / "model.safetensors").write_bytes(weights)
    files = artifacts.list_files(attempt.folder, ("encoder", "heads"))
    digest = files["encoder/model.safetensors"]["sha256"]
    record = {"key": stage.key, "attempt": f"attempts/{attempt.folder.name}", "files": files}
    attempt.publish(record | {"encoder_hash": f"sha256:{digest}", "dev_score": 50.0})
    return attempt.folder


def _generation(root: Path, stage: Stage) -> str:
    result = Store(root).train_result(stage)
    assert result is not None
    return generation_of(result.encoder_hash)


def _evaluate(root: Path, made: Plan, stage: Stage, *languages: str, score: float = 50.0) -> None:
    generation = (
        _generation(root, made.stages[stage.parent]) if stage.parent else generation_of(made.start_of(stage).identity)
    )
    splits = made.by_digest[stage.definition].languages
    for code in languages:
        publish_language(Store(root).stage_folder(stage.folder), generation, code, splits[code], _record(score), LINES)


def test_a_train_is_finished_when_its_result_verifies(workspace: Workspace) -> None:
    made = workspace.plan()
    root, stage = made.experiment.store, made.find("squad-s1")
    assert not Store(root).is_finished(made, stage) and not Store(root).exists(stage)
    folder = _finish_train(root, stage)
    assert Store(root).is_finished(made, stage) and Store(root).has_encoder(stage)
    assert not Store(root).is_finished(made, made.find("squad-s2"))
    result = folder.parents[1] / "result.json"
    whole = result.read_bytes()
    result.write_bytes(whole[:-9])
    assert not Store(root).is_finished(made, stage)
    result.write_bytes(whole)
    assert Store(root).is_finished(made, stage)


def test_a_result_of_another_stage_does_not_count(workspace: Workspace) -> None:
    made = workspace.plan()
    root, one, two = made.experiment.store, made.find("squad-s1"), made.find("squad-s2")
    folder = _finish_train(root, one).parents[1]
    os.rename(folder, Store(root).stage_folder(two.folder))
    assert Store(root).train_result(two) is None


def test_an_encoder_is_whole_by_size_and_verifies_by_content(workspace: Workspace) -> None:
    made = workspace.plan()
    root, stage = made.experiment.store, made.find("squad-s1")
    weights = _finish_train(root, stage) / "encoder" / "model.safetensors"
    result = Store(root).train_result(stage)
    assert result is not None
    folder = Store(root).stage_folder(stage.folder)
    assert artifacts.encoder_verifies(folder, result)
    weights.write_bytes(b"WEIGHTS")
    assert Store(root).has_encoder(stage) and not artifacts.encoder_verifies(folder, result)
    weights.write_bytes(b"weight")
    assert not Store(root).has_encoder(stage)
    weights.unlink()
    assert not Store(root).has_encoder(stage)
    assert Store(root).is_finished(made, stage)  # its result stays; whether the encoder is needed again, the plan says


def test_an_evaluate_is_finished_when_every_language_asked_for_is(workspace: Workspace) -> None:
    made = workspace.plan(recipes=["none"], targets=["tatoeba"])
    root, stage = made.experiment.store, made.find("start--tatoeba")
    assert list(made.targets["tatoeba"].languages) == ["de", "sw"]
    _evaluate(root, made, stage, "de")
    assert not Store(root).is_finished(made, stage)
    fewer = workspace.plan(recipes=["none"], targets=["tatoeba"], languages={"default": ["de"]})
    assert Store(root).is_finished(fewer, fewer.find("start--tatoeba"))
    _evaluate(root, made, stage, "sw")
    assert Store(root).is_finished(made, stage)


def test_of_languages_that_are_not_there_no_file_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at an experiment would ask a file server for each of them."""
    asked: list[str] = []
    read_bytes = look.read_bytes
    monkeypatch.setattr(look, "read_bytes", lambda path: (asked.append(path.name), read_bytes(path))[1])
    languages = {"de": SPLIT, "en": SPLIT, "hi": SPLIT}
    assert read_languages(tmp_path, "gen", languages) == {}
    publish_language(tmp_path, "gen", "de", SPLIT, _record(), LINES)
    del asked[:]
    results = read_languages(tmp_path, "gen", languages)
    assert results == {"de": read_language(tmp_path, "gen", "de", SPLIT)}
    assert {name[:3] for name in asked} == {"de-"}


def test_a_language_whose_data_changed_is_to_be_evaluated_again(workspace: Workspace) -> None:
    def made() -> Plan:
        return workspace.plan(recipes=["none"], targets=["tatoeba"])

    before = made()
    root, stage = before.experiment.store, before.find("start--tatoeba")
    _evaluate(root, before, stage, "de", "sw")
    file = workspace.root / "data" / "tatoeba.swh"
    content = file.read_text()
    file.write_text("Moja.\nMbili.\n")
    after = made()
    assert after.find("start--tatoeba").key == stage.key
    assert set(Store(root).language_results(after, stage)) == {"de"}
    file.write_text(content)
    assert Store(root).is_finished(made(), stage)


def test_results_of_an_earlier_training_do_not_count(workspace: Workspace) -> None:
    made = workspace.plan(recipes=["squad"], targets=["tatoeba"], seeds=["1"])
    root, train, evaluate = made.experiment.store, made.find("squad-s1"), made.find("squad-s1--tatoeba")
    _finish_train(root, train)
    _evaluate(root, made, evaluate, "de", "sw", score=50.0)
    assert Store(root).is_finished(made, evaluate)
    result = Store(root).stage_folder(train.folder) / "result.json"
    first = result.read_bytes()
    _finish_train(root, train, b"other weights")
    assert Store(root).language_results(made, evaluate) == {}
    _evaluate(root, made, evaluate, "de", score=60.0)
    assert [found.scores["accuracy"] for found in Store(root).language_results(made, evaluate).values()] == [60.0]
    result.write_bytes(first)  # the first encoder is the one that counts again
    assert Store(root).is_finished(made, evaluate)


def test_where_the_parents_result_is_lost_the_fullest_generation_is_shown(workspace: Workspace) -> None:
    made = workspace.plan(recipes=["squad"], targets=["tatoeba"], seeds=["1"])
    root, train, evaluate = made.experiment.store, made.find("squad-s1"), made.find("squad-s1--tatoeba")
    _finish_train(root, train)
    _evaluate(root, made, evaluate, "de", score=50.0)
    _finish_train(root, train, b"other weights")
    _evaluate(root, made, evaluate, "de", "sw", score=60.0)
    (Store(root).stage_folder(train.folder) / "result.json").unlink()
    found = Store(root).language_results(made, evaluate)
    assert {code: result.scores["accuracy"] for code, result in found.items()} == {"de": 60.0, "sw": 60.0}


def test_a_store_that_is_not_there_or_is_a_file(workspace: Workspace) -> None:
    for place in ("./nowhere", "./model/config.json"):
        made = workspace.plan(store=place)
        assert not any(Store(made.experiment.store).is_finished(made, stage) for stage in made.stages.values())


def test_the_identity_of_a_stage_is_written_once(workspace: Workspace) -> None:
    made = workspace.plan()
    stage = made.find("squad-s1")
    path = Store(made.experiment.store).stage_folder(stage.folder) / "identity.json"
    Store(made.experiment.store).write_identity(stage, {"key": stage.key})
    Store(made.experiment.store).write_identity(stage, {"key": "later"})
    assert json.loads(path.read_bytes()) == {"key": stage.key}


@pytest.mark.parametrize(
    ("identity", "generation"),
    [
        ("sha256:" + "ab" * 32, "ab" * 8),
        ("folder:" + "cd" * 32, "cd" * 8),
        ("hub:someone/model@" + "ef" * 20, "ef" * 8),
        ("ab" * 32, "ab" * 8),
    ],
)
def test_a_generation_is_the_beginning_of_a_hash(identity: str, generation: str) -> None:
    assert generation_of(identity) == generation


def test_a_sealed_record_of_a_stranger_is_not_a_language(tmp_path: Path) -> None:
    publish_language(tmp_path, "gen", "de", SPLIT, _record(), LINES)
    _record_file(tmp_path).write_bytes(seal({"scores": {}, "predictions": "gone", "predictions_size": 3}))
    assert read_language(tmp_path, "gen", "de", SPLIT) is None


def test_an_encoder_that_another_job_puts_aside_meanwhile_does_not_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomic(make_folder(tmp_path / "a" / "encoder") / "weights", b"x")
    files = artifacts.list_files(tmp_path / "a", ("encoder",))
    facts = {name: FileFacts(**entry) for name, entry in files.items()}
    result = TrainResult("sha256:0", 50.0, attempt="a", files=facts)
    assert artifacts.encoder_verifies(tmp_path, result)
    whole = artifacts.encoder_is_whole

    def and_then_gone(folder: Path, result: dict[str, Any]) -> bool:
        found = whole(folder, result)
        artifacts.put_encoder_aside(folder, result)
        return found

    monkeypatch.setattr(artifacts, "encoder_is_whole", and_then_gone)
    assert not artifacts.encoder_verifies(tmp_path, result)
    assert len(list((tmp_path / "a").glob("encoder.*.quarantined"))) == 1


@pytest.mark.parametrize("schema", [2, "next"])
def test_a_result_of_another_version_is_an_error_of_one_line(workspace: Workspace, schema: object) -> None:
    plan = workspace.plan()
    root, stage = plan.experiment.store, plan.find("squad-s1")
    path = _finish_train(root, stage).parents[1] / "result.json"
    record = read_sealed(path)
    assert record is not None and record.pop("sha256", None) is None
    path.write_bytes(seal(record | {"schema": schema}))
    with pytest.raises(UserError) as caught:
        Store(root).train_result(stage)
    words = f"{path}: written by another version of stepstone (schema {schema!r}, not 1); update this one"
    assert str(caught.value).startswith(words) and "\n" not in str(caught.value)
