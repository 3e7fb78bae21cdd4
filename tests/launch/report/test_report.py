"""A report gathered from a store: finished, partial, diverged, of nothing; curves; the command."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval.report.content import CURVE_POINTS, Content
from eval.tables.sheet import Column, Entry, Sheet
from launch import submit
from launch.cli.app import app
from launch.plan import Plan, Stage
from launch.report import gather, writing
from launch.show import totals
from launch.status import Observation
from launch.store import Store, provenance
from launch.store.artifacts import generation_of, publish_language
from slurm.base import UsageError
from slurm.base.files import make_folder, seal, write_atomic
from tests.launch import stub_job
from tests.launch.workspace import Workspace
from tests.slurm.scripted import Scheduler

pytestmark = pytest.mark.usefixtures("in_its_folder")


def _plan(workspace: Workspace, **changes: Any) -> Plan:
    return workspace.plan(**{"recipes": ["none", "squad"], "targets": ["xnli"], "seeds": ["1", "2"]} | changes)


def _publish(plan: Plan, *, seeds: tuple[int, ...] = (1, 2), at_chance: tuple[str, ...] = ()) -> None:
    """Results of the stages of some seeds, as jobs leave them: a recipe gains ten points, a seed one."""
    for stage in plan.stages.values():
        if stage.seed not in (None, *seeds):
            continue
        folder = make_folder(plan.experiment.store / "stages" / stage.folder)
        if stage.kind == "train":
            _publish_training(stage, folder, [stage.task] if stage.name in at_chance else [])
        else:
            for language, split in plan.by_digest[stage.definition].languages.items():
                publish_language(
                    folder, generation_of("g" * 64), language, split, _language_record(stage), _predictions(stage)
                )


def _publish_training(stage: Stage, folder: Path, at_chance: list[str]) -> None:
    attempt = make_folder(folder / "attempts" / "0001")
    lines = [json.dumps({"step": step, "epoch": 0, "loss": 2.0 - step / 100}) for step in range(100)]
    (attempt / "log.jsonl").write_text("\n".join([*lines, '{"epoch": 0, "dev_score": 50.0}']) + "\n")
    record = {
        "key": stage.key, "dev_score": 50.0, "encoder_hash": "g" * 64, "at_chance": at_chance, "code": "c1",
        "attempt": "attempts/0001", "steps": 100, "dev_scores": [40.0, 50.0], "selected_epoch": 1,
        "versions": {"torch": "2.13"}, "device_name": "cpu",
    }  # fmt: skip
    write_atomic(folder / "result.json", seal(record))


def _right(stage: Stage) -> int:
    return 50 + 10 * stage.name.startswith("squad") + (stage.seed or 0)


def _language_record(stage: Stage) -> dict[str, Any]:
    return {
        "scores": {"accuracy": float(_right(stage))}, "examples": 100, "generation": generation_of("g" * 64),
        "code": "c1", "versions": {"torch": "2.13"}, "device_name": "cpu",
    }  # fmt: skip


def _predictions(stage: Stage) -> bytes:
    rows = [
        {"id": str(n), "prediction": "neutral" if n < _right(stage) else "entailment", "gold": "neutral"}
        for n in range(100)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _content(plan: Plan) -> Content:
    store = Store(plan.experiment.store)
    observation = Observation(plan, store, 0)
    return gather.content(plan, store, observation, draws=200)


def test_a_finished_experiment(workspace: Workspace) -> None:
    plan = _plan(workspace)
    _publish(plan)
    content = _content(plan)
    assert not content.is_partial and not content.missing and not content.diverged
    entry = content.matrix.entry("squad", "xnli")
    assert (entry.value, entry.score, entry.seeds, content.matrix.examples) == (10.0, 61.5, 2, (300,))
    of_languages = content.targets[0].languages
    assert of_languages.columns == ("mean", "de", "en", "zh") and of_languages.examples == (300, 100, 100, 100)
    families = content.targets[0].groups["family"]
    assert dict(zip(families.columns, families.examples, strict=True))["IE: Germanic"] == 200
    assert {(point.recipe, point.dev, point.transfer, point.english) for point in content.transfer} == {
        ("none", 50.0, 51.0, 51.0), ("none", 50.0, 52.0, 52.0),
        ("squad", 50.0, 61.0, 61.0), ("squad", 50.0, 62.0, 62.0),
    }  # fmt: skip


def test_every_number_has_its_stage_data_and_code(workspace: Workspace) -> None:
    plan = _plan(workspace)
    _publish(plan)
    content = _content(plan)
    stages = plan.stages
    for row in content.provenance:
        assert stages[row.stage].name == row.name and row.code == ("c1",)
        assert [stages[key].kind for key in row.trainings] == ["train"] * len(row.trainings)
        assert len(row.trainings) == (2 if row.recipe == "squad" else 1)
    assert {(source.task, source.use) for source in content.data} == {
        ("mnli", "train"), ("mnli", "dev"), ("squad", "train"), ("squad", "dev"), ("xnli", "test"),
    }  # fmt: skip
    assert all(source.identity for source in content.data)
    assert content.environment.versions == (("torch", (("2.13", 12 + 6),)),)
    assert str(workspace.root) not in repr(content)  # it travels


def test_a_partial_one_has_means_of_what_is_finished(workspace: Workspace) -> None:
    plan = _plan(workspace, seeds=["1", "2", "3"])
    _publish(plan)
    content = _content(plan)
    assert content.is_partial and content.counts["new"] == 5
    entry = content.matrix.entry("squad", "xnli")
    assert (entry.value, entry.seeds, entry.missing) == (10.0, 2, 3)
    assert {(run.recipe, run.seed, run.state) for run in content.missing} == {("none", 3, "new"), ("squad", 3, "new")}
    assert content.missing[0].languages == ("de", "en", "zh")


def test_the_cost_of_a_race_is_of_the_runs_that_it_wants(workspace: Workspace) -> None:
    plan = _plan(workspace, seeds={"min": "2", "max": "9", "until": "0.5"})
    _publish(plan)
    costs = _content(plan).costs  # two seeds are there, and one more is wanted: mnli, squad, squad > mnli of each
    assert (costs.trainings, costs.from_scratch) == (9, 9)
    listed = _plan(workspace, recipes=["none", "squad"], targets=["xnli", "tatoeba"])
    assert _content(listed).costs.from_scratch == listed.trainings_from_scratch


def test_a_race_that_is_over_is_whole_without_a_seed_that_failed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "freeze", lambda root: root / "code" / "c0de")
    cluster = {"executor": "slurm", "partition": "gpu"}
    plan = _plan(workspace, cluster=cluster, seeds={"min": "2", "max": "3", "until": "0.5"})
    with Scheduler(stub_job.failing(("squad.mnli-s2",), cause="not-finite")).installed() as scheduler:
        submit.submit(plan)
        scheduler.run_all()
        assert _content(plan).is_partial
        assert "retry" in str(totals.next_steps(Observation(plan, Store(plan.experiment.store), 0))[-1])
        submit.submit(plan)
        scheduler.run_all()
        content = _content(plan)
        steps = totals.next_steps(Observation(plan, Store(plan.experiment.store), 0))
    assert [step.why for step in steps] == ["all finished; the table"]  # a retry would change what was decided
    assert content.counts["failed"] == 1 and not content.missing
    (pair,) = content.raced.pairs if content.raced else ()
    assert (pair.recipe, pair.target, pair.seeds, pair.void_seeds) == ("squad", "xnli", (1, 3), (2,))
    assert pair.words.startswith("open after 2 seeds, without 1 that failed or diverged")
    assert not content.is_partial


def test_what_diverged_is_named_and_left_out(workspace: Workspace) -> None:
    plan = _plan(workspace)
    _publish(plan, at_chance=("squad-s1",))
    content = _content(plan)
    assert [(training.name, training.runs) for training in content.diverged] == [("squad-s1", 1)]
    entry = content.matrix.entry("squad", "xnli")
    assert (entry.seeds, entry.diverged, entry.score) == (2, 1, 62.0)
    assert [point.diverged for point in content.transfer if point.recipe == "squad"] == [True, False]
    assert "stepstone logs experiment.yaml" in repr(content.notes)
    assert str(workspace.root) not in repr(content)


def test_a_result_that_does_not_verify_is_named(workspace: Workspace) -> None:
    plan = _plan(workspace)
    _publish(plan)
    stage = plan.stages[plan.paths["squad", "xnli", 1]]
    record = next((plan.experiment.store / "stages" / stage.folder).glob("languages/*/de-*.json"))
    record.write_bytes(record.read_bytes()[:-9])
    content = _content(plan)
    (result,) = content.not_counted
    assert (result.name, result.stage) == (f"{stage.name} de", stage.key) and "checksum" in result.why
    assert str(workspace.root) not in repr(content)
    text = writing.write(plan).read_text()
    assert "Results that do not count" in text and "stepstone collect experiment.yaml" in text


def test_nothing_has_begun(workspace: Workspace) -> None:
    plan = _plan(workspace)
    content = _content(plan)
    assert content.finished == 0 and len(content.missing) == 4
    assert content.matrix.entry("squad", "xnli").note == "6 missing"
    assert str(workspace.root) not in repr(content)
    path = writing.write(plan)
    assert "There is no answer yet" in path.read_text()


def test_averages_that_no_recipe_has_are_left_out() -> None:
    score, gap = Entry("score", 70.0, score=70.0), Entry("score", None, note="-")
    columns = tuple(Column(name, "", "accuracy") for name in ("xnli", "panx", "xtreme", "qa"))
    sheet = Sheet("all", columns, (("none", (score, gap, gap, score)), ("squad", (gap, gap, gap, gap))), ())
    shown_sheet = gather.without_empty_averages(sheet, ["xnli", "panx"])
    assert [column.name for column in shown_sheet.columns] == ["xnli", "panx", "qa"]
    assert shown_sheet.rows[0] == ("none", (score, gap, score))


# --- curves


def test_a_curve_is_of_all_steps_and_no_more_points_than_a_picture_shows(workspace: Workspace) -> None:
    plan = _plan(workspace)
    _publish(plan)
    curve = next(curve for curve in _content(plan).curves if curve.training == "squad > mnli")
    assert (curve.steps[-1], curve.loss[0], curve.loss[-1], curve.selected_epoch) == (100, 2.0, 1.01, 1)
    assert curve.dev == ((50, 40.0), (100, 50.0))


def test_a_long_log_is_read_in_pieces(workspace: Workspace) -> None:
    plan = _plan(workspace)
    _publish(plan)
    stage = next(stage for stage in plan.stages.values() if stage.kind == "train")
    log = plan.experiment.store / "stages" / stage.folder / "attempts" / "0001" / "log.jsonl"
    with log.open("w") as file:
        for step in range(100_000):
            file.write(json.dumps({"step": step, "loss": 1.0 if step != 70 else float("nan")}) + "\n")
    curve = next(curve for curve in _content(plan).curves if curve.stage == stage.key)
    assert 100 < len(curve.steps) <= CURVE_POINTS
    assert set(curve.loss) == {1.0} and curve.steps[-1] > 99_900


def test_what_an_attempt_did_again_stands_for_the_first_try(workspace: Workspace) -> None:
    plan = _plan(workspace)
    _publish(plan)
    stage = next(stage for stage in plan.stages.values() if stage.kind == "train")
    folder = make_folder(plan.experiment.store / "stages" / stage.folder / "attempts" / "0002")
    lines = [json.dumps({"step": step, "loss": 7.0}) for step in range(60, 90)]
    (folder / "log.jsonl").write_text("\n".join([*lines, "torn {"]) + "\n")
    curve = next(curve for curve in _content(plan).curves if curve.stage == stage.key)
    assert curve.steps == tuple(range(1, 91))
    assert curve.loss[59] == pytest.approx(1.41) and set(curve.loss[60:]) == {7.0}


# --- the command


def test_the_command_writes_where_it_is_told(workspace: Workspace) -> None:
    plan = _plan(workspace)
    _publish(plan)
    outcome = CliRunner().invoke(app, ["report", str(plan.experiment.path)], catch_exceptions=False)
    path = plan.experiment.store / "results" / "small" / "report.html"
    assert outcome.exit_code == 0 and f"written: {path}" in outcome.output
    assert "with 10 of 10 stages finished" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    elsewhere = workspace.root / "mine.html"
    CliRunner().invoke(app, ["report", str(plan.experiment.path), "--out", str(elsewhere)], catch_exceptions=False)
    assert elsewhere.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "is a folder"), ("no/where.html", "there is no folder"), ("r.pdf", "its name ends in .html")],
)
def test_a_place_where_no_report_can_be_is_refused_first(workspace: Workspace, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        writing.check(workspace.root / name)


def test_a_folder_that_is_closed_is_told_before_the_work(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: path != workspace.root)
    with pytest.raises(UsageError, match="you may not write in"):
        writing.check(workspace.root / "report.html")
