"""Results of an experiment: table, profiles, averages, and the export of predictions."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval.tables import averages
from launch.cli.app import app
from launch.merging import collect
from launch.plan import Plan
from launch.results import export, scores
from launch.results import table as result_table
from launch.store import Store
from launch.store.artifacts import generation_of, publish_language
from slurm.base import UsageError, UserError
from slurm.base.files import make_folder, seal, write_atomic
from tests.launch.workspace import Workspace
from training.tasks import find

pytestmark = pytest.mark.usefixtures("in_its_folder")

QA = {"f1": 50.0, "exact_match": 40.0, "f1_corrected": 60.0, "exact_match_corrected": 45.0}
SCORES: dict[str, dict[str, float]] = {
    "xnli": {"accuracy": 70.0},
    "xquad": QA,
    "mlqa": QA,
    "lareqa": {"map@20": 25.0},
    "tatoeba": {"accuracy": 30.0, "accuracy_reverse": 20.0},
    "bucc": {"f1_dev": 55.0, "precision_dev": 50.0, "recall_dev": 61.0},
}
PREDICTIONS: dict[str, list[dict[str, Any]]] = {
    "xnli": [{"id": str(n), "prediction": "neutral", "gold": "neutral"} for n in range(8)],
    "xquad": [{"id": "q1", "prediction": "Bonn", "gold": ["Bonn"]}],
    "mlqa": [{"id": "q1", "prediction": "Bonn", "gold": ["Bonn"]}],
    "tatoeba": [{"id": "0", "prediction": ["1", "0"], "gold": "0"}, {"id": "1", "prediction": ["1", "1"], "gold": "1"}],
    "bucc": [{"id": "zh-1|en-1", "score": 1.1, "gold": True}],
    "lareqa": [{"id": "q1", "prediction": ["en:0.0.0"], "gold": ["en:0.0.0"]}],
}


def _publish(plan: Plan, *, leave: tuple[str, str] | None = None) -> Store:
    """Results as jobs would leave them, of all evaluate stages; `leave`: a target's language that is not finished."""
    store = Store(plan.experiment.store)
    for stage in plan.stages.values():
        if stage.kind == "train":
            continue
        generation = "g" if stage.parent else generation_of(plan.start_of(stage).identity)
        for language, split in plan.by_digest[stage.definition].languages.items():
            if (stage.task, language) == leave:
                continue
            record = {"scores": SCORES[stage.task], "examples": 1, "generation": generation, "code": "c"}
            lines = "".join(json.dumps(row) + "\n" for row in PREDICTIONS[stage.task])
            publish_language(store.stage_folder(stage.folder), generation, language, split, record, lines.encode())
    return Store(plan.experiment.store)


def _publish_trainings(plan: Plan, *at_chance: str) -> Store:
    """Results of all train stages; those of the stages named have a head at chance."""
    store = Store(plan.experiment.store)
    for stage in plan.stages.values():
        if stage.kind == "train":
            heads = stage.task.split(" + ") if stage.name in at_chance else []
            record = {"key": stage.key, "dev_score": 33.3, "encoder_hash": "g", "at_chance": heads}
            write_atomic(make_folder(store.stage_folder(stage.folder)) / "result.json", seal(record))
    return _publish(plan)


def _bucc(workspace: Workspace) -> None:
    folder = workspace.root / "data" / "bucc2018"
    folder.mkdir()
    for name, text in (("zh", "zh-1\t一。\n"), ("en", "en-1\tOne.\n"), ("gold", "zh-1\ten-1\n")):
        (folder / f"zh-en.dev.{name}").write_text(text)


def _collect(workspace: Workspace, *arguments: str, **changes: Any) -> str:
    found = CliRunner().invoke(app, ["collect", str(workspace.file(**changes)), *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


# --- the table


def test_both_profiles(workspace: Workspace) -> None:
    plan = workspace.plan(targets=["xquad", "xnli"])
    store = _publish(plan)
    rows = collect(plan, store, write=False).rows
    assert {row.metric for row in rows if row.target == "xquad"} == set(QA)
    assert {row.metric for row in rows if row.primary} == {"f1", "accuracy"}
    assert result_table.metrics(plan, rows) == {"xquad": "f1", "xnli": "accuracy"}
    assert result_table.metrics(plan, rows, "corrected") == {"xquad": "f1_corrected", "xnli": "accuracy"}
    for profile, score in (("xtreme", 50.0), ("corrected", 60.0)):
        cell = result_table.cells(plan, store, rows, result_table.profile(profile))["squad", "xquad"]
        assert (cell.score, cell.missing) == (score, 0)
    text = _collect(workspace, "--profile", "corrected", targets=["xquad", "xnli"])
    assert "f1_corrected" in text and "60.0" in text
    written = workspace.root / "store/results/small"
    assert sorted(path.name for path in written.iterdir()) == [
        "experiment.json", "history", "results.parquet", "table-corrected.md",
    ]  # fmt: skip


def test_a_result_without_the_metric_of_the_profile_is_missing(workspace: Workspace, monkeypatch: Any) -> None:
    monkeypatch.setitem(SCORES, "xquad", {"f1": 50.0, "exact_match": 40.0})
    plan = workspace.plan(targets=["xquad"])
    store = _publish(plan)
    cell = result_table.cells(plan, store, collect(plan, store, write=False).rows, "corrected")["none", "xquad"]
    assert (cell.score, cell.missing) == (None, 4)  # two languages, two seeds


def test_what_was_tuned_on_itself_has_its_own_name(workspace: Workspace) -> None:
    _bucc(workspace)
    plan = workspace.plan(targets=["bucc"])
    store = _publish(plan)
    rows = collect(plan, store, write=False).rows
    assert result_table.metrics(plan, rows) == {"bucc": "f1_dev"}
    assert result_table.cells(plan, store, rows)["none", "bucc"].score == 55.0
    (stage,) = [stage for stage in plan.stages.values() if stage.kind == "evaluate" and stage.parent is None]
    assert scores.score(plan, store, stage) == 55.0
    text = _collect(workspace, targets=["bucc"])
    assert "f1_dev" in text and "tuned on the examples that are scored" in " ".join(text.split())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "lareqa: candidates are read as pairs of sentence and context; as published: candidate_text: joined"),
        ({"presets": {"target": "xtreme"}}, "lareqa: candidates are read as XTREME-R's code reads them, sentence and"),
        (
            {"presets": {"target": "xtreme"}, "tasks": {"lareqa": {"candidate_text": "pair"}}},
            "lareqa: candidates are read as pairs",
        ),
    ],
)
def test_the_table_says_how_lareqas_candidates_are_read(
    workspace: Workspace, changes: dict[str, Any], said: str
) -> None:
    data = workspace.root / "data"
    squad = json.loads((data / "squad.json").read_text())
    squad["data"][0]["paragraphs"][0]["sentence_breaks"] = [[0, 11]]
    (data / "xquad-r-en.json").write_text(json.dumps(squad))
    entries = "squad_retrieval: {train: [squad.json], dev: [squad.json]}\nlareqa: {test: ['xquad-r-{lang}.json']}\n"
    (data / "splits.yaml").write_text((data / "splits.yaml").read_text() + entries)
    asked = {"targets": ["lareqa"], "recipes": ["none"], "seeds": ["1"]} | changes
    plan = workspace.plan(**asked)
    _publish(plan)
    assert f"note: {said}" in _collect(workspace, **asked)
    assert said in (workspace.root / "store/results/small/table.md").read_text()
    assert (plan.targets["lareqa"].settings.candidate_text == "joined") == ("XTREME-R's" in said)


def test_pairs_of_languages_are_rows_but_not_in_the_mean(workspace: Workspace) -> None:
    data = workspace.root / "data"
    (data / "xquad-de-en.json").write_bytes((data / "xquad-en.json").read_bytes())
    asked: dict[str, Any] = {"targets": ["mlqa"], "languages": {"mlqa": ["de", "en", "de-en"]}}
    plan = workspace.plan(**asked)
    store = _publish(plan, leave=("mlqa", "de-en"))
    cell = result_table.cells(plan, store, collect(plan, store, write=False).rows)["none", "mlqa"]
    assert (cell.score, cell.missing) == (50.0, 0)  # a pair that is not finished holds nothing back
    store = _publish(plan)
    assert {row.language for row in collect(plan, store, write=False).rows} == {"de", "en", "de-en"}
    assert "not in the mean: pairs of languages (1)" in _collect(workspace, **asked)


def test_a_narrow_terminal_gets_several_tables(workspace: Workspace, monkeypatch: Any) -> None:
    targets = ["xquad", "xnli", "tatoeba"]
    _publish(workspace.plan(targets=targets))
    wide = _collect(workspace, targets=targets)
    monkeypatch.setenv("COLUMNS", "40")
    narrow = _collect(workspace, targets=targets)
    assert wide.count("recipe  ") == 1 and narrow.count("recipe  ") > 1
    for target in targets:
        assert target in narrow
    assert "…" not in narrow


# --- trainings that diverged


def _diverged(plan: Plan, *at_chance: str) -> set[tuple[str, str, int | None]]:
    store = _publish_trainings(plan, *at_chance)
    return {(row.recipe, row.target, row.seed) for row in collect(plan, store, write=False).rows if row.diverged}


def test_a_training_takes_all_that_rests_on_it_along(workspace: Workspace) -> None:
    """An intermediate: a target that is trained on top of it, and retrieval by its very encoder."""
    plan = workspace.plan()
    assert _diverged(plan) == set()
    assert _diverged(plan, "squad-s2") == {("squad", "xnli", 2), ("squad", "tatoeba", 2)}
    assert _diverged(plan, "squad.mnli-s1") == {("squad", "xnli", 1)}
    assert _diverged(plan, "mnli-s1", "mnli-s2") == {("none", "xnli", 1), ("none", "xnli", 2)}


def test_the_table_marks_what_diverged_and_says_what_to_type(workspace: Workspace, monkeypatch: Any) -> None:
    monkeypatch.setitem(SCORES, "tatoeba", {"accuracy": 30.0})
    plan = workspace.plan()
    _publish_trainings(plan, "squad-s2", "mnli-s1", "mnli-s2")
    key = next(key for key, stage in plan.stages.items() if stage.name == "mnli-s1")
    text = _collect(workspace)
    lines = [line.split() for line in text.splitlines()]
    assert ["none", "70.0", "†", "30.0"] in lines
    assert ["squad", "70.0", "†1", "30.0", "†1"] in lines
    assert ["+0.0"] in lines  # tatoeba, seed 1; with xnli of none there is nothing to compare
    joined = " ".join(text.split())
    assert "note: † 4 of 7 runs (recipe, target, seed) rest on a training that diverged" in joined
    assert "note: diverged (on English dev no better than a constant answer): mnli-s1, mnli-s2, squad-s2;" in joined
    assert f"stepstone logs experiment.yaml {key};" in joined
    table = (workspace.root / "store/results/small/table.md").read_text()
    assert "| none | 70.0 † | 30.0 |\n| squad | 70.0 †1 | 30.0 †1 (+0.0) |" in table and "- diverged (on" in table
    rows = json.loads(_collect(workspace, "--json"))
    assert rows["schema"] == 3
    assert {(row["recipe"], row["seed"]) for row in rows["rows"] if row["diverged"] and row["target"] == "tatoeba"} == {
        ("squad", 2)
    }


@pytest.mark.parametrize(("steps", "diverges"), [(8, False), (19, False), (20, True), (None, True)])
def test_a_trial_of_a_few_steps_has_not_diverged(workspace: Workspace, steps: int | None, diverges: bool) -> None:
    """Nothing could be learnt in them; what earlier versions wrote does not say how many there were."""
    plan = workspace.plan()
    store = _publish_trainings(plan)
    for name in ("squad-s1", "squad-s2"):
        record = {"key": plan.find(name).key, "dev_score": 33.3, "encoder_hash": "g", "at_chance": ["squad"]}
        record |= {} if steps is None else {"steps": steps}
        write_atomic(store.stage_folder(plan.find(name).folder) / "result.json", seal(record))
    assert any(row.diverged for row in collect(plan, Store(plan.experiment.store), write=False).rows) is diverges


def test_without_any_there_is_no_word_of_it(workspace: Workspace) -> None:
    _publish_trainings(workspace.plan())
    text = _collect(workspace)
    assert "†" not in text and "diverged" not in text


def test_the_states_show_it(workspace: Workspace) -> None:
    plan = workspace.plan()
    _publish_trainings(plan, "squad-s2")
    file = str(workspace.file())
    found = CliRunner().invoke(app, ["status", file, "--stages"], catch_exceptions=False)
    lines = [line.split() for line in found.output.splitlines()]
    assert ["finished", "squad-s2", "0", "33.3", "†"] in lines and ["finished", "squad-s1", "0", "33.3"] in lines
    found = CliRunner().invoke(app, ["status", file], catch_exceptions=False)
    said = " ".join(found.output.split())
    assert "† diverged (on English dev no better than a constant answer): squad-s2; look: stepstone logs" in said
    found = CliRunner().invoke(app, ["status", file, "--json"], catch_exceptions=False)
    heads = {stage["name"]: stage["at_chance"] for stage in json.loads(found.output)["stages"]}
    assert heads["squad-s2"] == ["squad"] and heads["squad-s1"] == heads["squad-s2--tatoeba"] == []


# --- averages


def test_an_average_that_was_asked_for_says_what_it_lacks(workspace: Workspace) -> None:
    _publish(workspace.plan(targets=["xquad", "xnli"]))
    line = next(
        x
        for x in _collect(workspace, "--average", "xtreme", targets=["xquad", "xnli"]).splitlines()
        if "no average" in x
    )
    assert line.startswith("no average xtreme; missing: xnli: 3 of 15 languages (without ar, bg, ")
    assert "; pawsx; udpos; panx; xquad: 2 of 11 languages (without ar, el, " in line
    table = (workspace.root / "store/results/small/table.md").read_text()
    assert line in table


def test_without_all_of_a_benchmarks_targets_there_is_no_word_of_it(workspace: Workspace) -> None:
    _publish(workspace.plan())
    assert "average" not in _collect(workspace)


def test_options_that_mean_nothing_are_refused(workspace: Workspace) -> None:
    file = str(workspace.file())
    for arguments, message in (
        (["--profile", "correct"], "profile correct: it is xtreme"),
        (["--average", "superglue"], "average superglue: known are xtreme, xtreme-r, xtreme-r-f1"),
        (["--average", "xtreme", "--profile", "corrected"], "leave out --profile corrected"),
        (["--json", "--profile", "corrected"], "--json and --profile do not go together"),
        (["--json", "--average", "xtreme"], "--json and --average do not go together"),
    ):
        with pytest.raises(UsageError, match=message):
            CliRunner().invoke(app, ["collect", file, *arguments], catch_exceptions=False)
    with pytest.raises(UsageError, match="--json and --script do not go together"):
        CliRunner().invoke(app, ["plan", file, "--json", "--script"], catch_exceptions=False)


# --- export


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_export_has_xtremes_layout(workspace: Workspace, tmp_path: Path) -> None:
    _bucc(workspace)
    plan = workspace.plan(targets=["xnli", "xquad", "tatoeba", "bucc"], recipes=["none", "hellaswag > squad"])
    _publish(plan, leave=("xnli", "zh"))
    out = tmp_path / "out"
    missing = {submission.folder.name: submission.missing for submission in export.write(plan, out, None, None)}
    assert sorted(path.name for path in out.iterdir()) == [
        "hellaswag.squad-s1", "hellaswag.squad-s2", "none-s1", "none-s2",
    ]  # fmt: skip
    assert missing["none-s1"] == "xnli zh; bucc zh"  # of BUCC there is dev data alone
    files = _files(out / "hellaswag.squad-s2")
    assert set(files) == {
        "xnli/test-de.tsv", "xnli/test-en.tsv", "xquad/test-de.json", "xquad/test-en.json",
        "tatoeba/test-de.tsv", "tatoeba/test-sw.tsv",
    }  # fmt: skip
    assert files["xnli/test-de.tsv"] == "neutral\n" * 8
    assert json.loads(files["xquad/test-en.json"]) == {"q1": "Bonn"}
    assert files["tatoeba/test-de.tsv"] == "1\n1\n"


def test_an_export_whose_folder_cannot_be_made_is_to_go_elsewhere(workspace: Workspace, tmp_path: Path) -> None:
    plan = workspace.plan(seeds=["1"])
    _publish(plan)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot make this folder: Not a directory\. Choose another `OUT`\.$"):
        next(export.write(plan, tmp_path / "file" / "out", None, None))


def test_the_export_has_no_folder_for_a_seed_that_a_race_has_not_given(workspace: Workspace, tmp_path: Path) -> None:
    """What of `none` needs no training is finished for every seed that there may be."""
    _publish(workspace.plan(seeds=["1", "2", "3"]))
    raced, out = workspace.plan(seeds={"min": "2", "max": "5", "until": "0.5"}), tmp_path / "out"
    list(export.write(raced, out, None, None))
    folders = sorted(path.name for path in out.iterdir())
    assert folders == [f"{recipe}-s{seed}" for recipe in ("none", "squad") for seed in (1, 2, 3)]


@pytest.mark.parametrize(("limit", "reason"), [(None, "splits.yaml names the files"), (8, "max_eval 8")])
def test_the_export_says_what_the_scorer_would_miss(
    workspace: Workspace, tmp_path: Path, limit: int | None, reason: str
) -> None:
    """In numbers where the published one is known."""
    data = workspace.root / "data"
    (data / "xquad-de-en.json").write_bytes((data / "xquad-en.json").read_bytes())
    asked = {"targets": ["xnli", "tatoeba", "mlqa"], "languages": {"mlqa": ["de-en"]}, "recipes": ["none"]}
    asked["data"] = {"root": "./data"} | ({"max_eval": limit} if limit else {})
    _publish(workspace.plan(**asked))
    file = str(workspace.file(**asked))
    found = CliRunner().invoke(app, ["export", file, str(tmp_path / "out")])
    assert found.output.splitlines() == [
        f"written: {tmp_path}/out/none-s1",
        "note: XTREME's scorer asks for the whole of its own test sets;"
        f" xnli de, en, zh: 8 of 5,010 examples ({reason});"
        f" tatoeba de: 2 of 1,000 examples ({reason}); tatoeba sw: 2 of 390 examples ({reason});"
        f" mlqa de-en: not known how many of the published examples ({reason})",
        f"written: {tmp_path}/out/none-s2",
    ]


@pytest.mark.parametrize("splits", ["", 'tatoeba: {test: {other: "my.{iso3}", english: "my.{iso3}.eng"}}'])
def test_a_whole_test_set_needs_a_note_only_where_the_file_is_somebodys_choice(
    workspace: Workspace, tmp_path: Path, monkeypatch: Any, splits: str
) -> None:
    data, names = workspace.root / "data", ("tatoeba/tatoeba.deu-eng.deu", "tatoeba/tatoeba.deu-eng.eng")
    (data / "tatoeba").mkdir()
    for name in ("my.deu", "my.deu.eng") if splits else names:
        (data / name).write_text("".join(f"{n}.\n" for n in range(1000)))
    (data / "splits.yaml").write_text(splits)
    monkeypatch.setitem(PREDICTIONS, "tatoeba", [{"id": str(n), "prediction": ["3", "3"]} for n in range(1000)])
    plan = workspace.plan(targets=["tatoeba"], recipes=["none"], seeds=["1"])
    _publish(plan)
    (submission,) = export.write(plan, tmp_path / "out", None, None)
    said = "tatoeba de: as many examples as published (splits.yaml names the files)"
    assert submission.partial == (said if splits else "")


def test_an_export_of_one_recipe_never_writes_over_another(workspace: Workspace, tmp_path: Path) -> None:
    plan = workspace.plan(targets=["xquad"])
    _publish(plan)
    assert [written.folder.name for written in export.write(plan, tmp_path / "out", "squad", 2)] == ["squad-s2"]
    kept = _files(tmp_path / "out")
    with pytest.raises(UserError, match="squad-s2: exists already; remove it, or export into another folder"):
        list(export.write(plan, tmp_path / "out", None, None))
    assert _files(tmp_path / "out") == kept  # nothing of the others either
    with pytest.raises(UsageError, match="there is no recipe 'mnli' with seed 7 in this experiment"):
        list(export.write(plan, tmp_path / "out", "mnli", 7))


def test_with_nothing_finished_there_is_no_export(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to export is finished"):
        list(export.write(workspace.plan(), tmp_path / "out", None, None))
    assert not (tmp_path / "out").exists()


def test_the_export_command_says_where_and_what_is_missing(workspace: Workspace, tmp_path: Path) -> None:
    _publish(workspace.plan(targets=["xquad"]), leave=("xquad", "de"))
    file = str(workspace.file(targets=["xquad"]))
    found = CliRunner().invoke(app, ["export", file, str(tmp_path / "out"), "--recipe", "none", "--seed", "1"])
    assert found.exit_code == 0, found.output
    assert "none-s1; not finished: xquad de" in found.output


def test_a_whole_benchmark_is_averaged(workspace: Workspace, monkeypatch: Any) -> None:
    """One of a single task, so that all its languages are there."""
    monkeypatch.setitem(averages.BENCHMARKS, "tiny", averages.Benchmark("tiny", {"qa": ("xquad",)}))
    for code in find("xquad").languages:
        (workspace.root / f"data/xquad-{code}.json").write_bytes((workspace.root / "data/xquad-en.json").read_bytes())
    _publish(workspace.plan(targets=["xquad"]))
    lines = _collect(workspace, targets=["xquad"]).splitlines()
    start = lines.index("average tiny: mean over tasks")
    assert ["squad", "45.0", "±0.0", "45.0", "±0.0"] in [line.split() for line in lines[start:]]
    table = (workspace.root / "store/results/small/table.md").read_text()
    assert "| recipe | tiny (1 tasks) | qa (1 tasks) |" in table
    assert "| squad | 45.0 ±0.0 (+0.0 ±0.0) | 45.0 ±0.0 (+0.0 ±0.0) |" in table
    assert "no average" not in table
