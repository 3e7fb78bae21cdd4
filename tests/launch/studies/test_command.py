"""The command `study`: planted effects are said, files written; what is missing and what is mistyped is a line."""

import csv
import json
import re
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from eval.studies import STUDIES
from launch.cli.app import app
from slurm.base import UserError
from tests.launch.studies import planted
from tests.launch.workspace import Workspace, write_model

pytestmark = pytest.mark.usefixtures("in_its_folder")
NAMES = tuple(study.name for study in STUDIES)
SINGLE_TASKS = {"complexity": {"tasks": planted.TASKS}, "correlation": {"tasks": planted.TASKS}}


def _study(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["study", *arguments], catch_exceptions=False)


def _words(result: Result) -> str:
    return " ".join(result.output.split())


def test_studies_are_listed() -> None:
    output = _study().output
    assert [line.split()[0] for line in output.splitlines() if not line.startswith(" ")] == list(NAMES)
    assert max(map(len, output.splitlines())) <= 80
    assert json.loads(_study("--json").output)["studies"][0]["name"] == "order"


@pytest.mark.slow
def test_the_planted_order_is_said_and_no_number_is_cut(workspace: Workspace) -> None:
    planted.publish(planted.plan(workspace, study={"order": planted.ORDER}, targets=["tatoeba"]))
    result = _study("order", "experiment.yaml")
    assert "The order of hellaswag, mnli and squad changed zero-shot transfer on 1 of 1 target" in _words(result)
    assert "for mnli last, on tatoeba" in _words(result)
    assert "Forgetting on English dev" in result.output and "limits 6 of 6 orders" in _words(result)
    assert max(map(len, result.output.splitlines())) <= 80 and "…" not in result.output


@pytest.mark.slow
def test_planted_measures_and_metrics_are_said_as_json_too(workspace: Workspace) -> None:
    planted.publish(planted.plan(workspace, study=SINGLE_TASKS, targets=["tatoeba"]))
    record = json.loads(_study("complexity", "experiment.yaml", "--json").output)
    assert (record["schema"], record["study"], record["lacking"]) == (1, "complexity", [])
    assert "loss of a linear probe of the start model" in record["sentence"]
    names = [column["name"] for column in record["tables"][0]["columns"]]
    assert len(record["tables"][0]["rows"][0]) == len(names) and names[:2] == ["targets", "measure"]
    assert {figure["kind"] for figure in record["figures"]} == {"scatter"}
    assert "loss with tatoeba (Spearman's rho -1.00" in _words(_study("correlation", "experiment.yaml"))


def test_files_are_written(workspace: Workspace, tmp_path: Path) -> None:
    study = {"order": {"tasks": ["mnli", "squad"], "controls": "false"}}
    planted.publish(planted.plan(workspace, study=study, targets=["tatoeba"]))
    folder = tmp_path / "new" / "order"
    result = _study("order", "experiment.yaml", "--out", str(folder), "--format", "svg")
    assert f"written: {folder}: order.md, order-table-1-does-order-matter.csv" in _words(result)
    names = {path.name for path in folder.iterdir()}
    assert {"order.md", "order-effects-of-order-on-tatoeba.svg"} <= names
    with (folder / "order-table-2-effects-of-position-and-neighbours-on-tatoeba.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["95 % low"]) <= float(rows[0]["points"]) <= float(rows[0]["95 % high"])
    text = (folder / "order.md").read_text()
    assert text.startswith("## Does the order of intermediate tasks change zero-shot transfer?\n\nThat the order")


@pytest.mark.slow
def test_prompts_are_said_with_what_they_are_held_against(workspace: Workspace, tmp_path: Path) -> None:
    study = {"prompts": {"tasks": ["mnli", "squad"], "targets": ["xnli"], "demonstrations": ["0", "4"]}}
    planted.publish(planted.plan(workspace, study=study, targets=["tatoeba"]))
    result = _study("prompts", "experiment.yaml")
    assert "Intermediate training and prompts do not add up in" in _words(result)
    assert "majority class" in result.output and "chance" in result.output and "missing" not in result.output
    assert max(map(len, result.output.splitlines())) <= 80 and "…" not in result.output
    CliRunner().invoke(app, ["report", "experiment.yaml", "--out", str(tmp_path / "r.html")], catch_exceptions=False)
    text = (tmp_path / "r.html").read_text()
    assert 'id="study-prompts"' in text and "Spread over templates" in text


def test_what_is_missing_is_said(workspace: Workspace) -> None:
    plan = planted.plan(workspace, study=SINGLE_TASKS, targets=["tatoeba"])
    result = _study("complexity", "experiment.yaml")
    assert result.exit_code == 0
    assert "missing: 38 of 38 scores that it is drawn from are missing: `stepstone status experiment.yaml`" in _words(
        result
    )
    planted.publish(plan, leave=("sw",), measures=[])
    result = _study("complexity", "experiment.yaml")
    assert "missing: 19 of 38 scores" in _words(result)
    assert "missing: no training measured its task: they do where `study: {complexity: …}` stands" in _words(result)


def test_a_file_without_studies_is_asked_for_what_its_recipes_have(workspace: Workspace) -> None:
    workspace.file(recipes=["none", "squad > mnli"], targets=["tatoeba"])
    output = _words(_study("order", "experiment.yaml"))
    assert "Nothing can be said yet: no two recipes are orders of the same tasks." in output
    assert "experiment.yaml does not name what it is drawn from: `study: {order: {tasks: [mnli, squad]}}`" in output
    output = _words(_study("prompts", "experiment.yaml"))
    assert "`study: {prompts: {tasks: [mnli, squad], targets: [xnli], demonstrations: [0, 4]}}` in it does" in output
    plan = workspace.plan(recipes=["none", "orders(squad, mnli)"], targets=["tatoeba"], seeds=["1", "2"])
    planted.publish(plan)
    output = _words(_study("order", "experiment.yaml"))
    assert "the order of mnli and squad matters" in output and "missing" not in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ordr", "experiment.yaml"), "study ordr: there is none; did you mean order?"),
        (
            ("sizes", "experiment.yaml"),
            f"study sizes: there is none; known are {', '.join(NAMES)}.",
        ),
        (("experiment.yaml",), "which study of experiment.yaml? `stepstone study order experiment.yaml`"),
        (("order",), "of which experiment? `stepstone study order FILE`"),
        (("order", "nowhere.yaml"), "nowhere.yaml: No such file or directory"),
        (("order", "experiment.yaml", "--json", "--out", "x"), "--json and --out do not go together; leave one out"),
        (("order", "experiment.yaml", "--out", "experiment.yaml"), "--out experiment.yaml: is no folder"),
        (("order", "experiment.yaml", "--out", "x", "--format", "gif"), "--format gif: gif is none of pdf, svg, png"),
    ],
)
def test_mistakes(workspace: Workspace, arguments: tuple[str, ...], message: str) -> None:
    workspace.file()
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        _study(*arguments)


def test_the_report_has_a_section_of_each_study_that_the_file_asks_for(workspace: Workspace, tmp_path: Path) -> None:
    study = {"order": {"tasks": ["mnli", "squad"], "controls": "false"}, "complexity": {"tasks": ["mnli", "squad"]}}
    planted.publish(planted.plan(workspace, study=study, targets=["tatoeba"]), leave=("sw",))
    CliRunner().invoke(app, ["report", "experiment.yaml", "--out", str(tmp_path / "r.html")], catch_exceptions=False)
    text = (tmp_path / "r.html").read_text()
    assert [name in text for name in ('id="study-order"', 'id="study-complexity"', 'id="study-correlation"')] == [
        True, True, False
    ]  # fmt: skip
    assert "That the order of mnli and squad matters was not shown" in text
    assert "So far: 7 of 14 scores that it is drawn from are missing" in text


@pytest.mark.slow
def test_from_each_start_model_there_is_a_finding(workspace: Workspace, tmp_path: Path) -> None:
    """Those of files with one of the models each, whose results they are."""
    write_model(workspace.root / "large", 9)
    grid = {"study": {"order": planted.ORDER}, "targets": ["tatoeba"]}
    planted.publish(planted.plan(workspace, **grid))
    expected = json.loads(_study("order", "experiment.yaml", "--json").output)
    planted.plan(workspace, **grid, model=None, models={"small": "./model", "large": "./large"})
    records = json.loads(_study("order", "experiment.yaml", "--json").stdout)["models"]
    assert list(records) == ["small", "large"] and records["small"] == expected
    assert records["large"]["lacking"] and not records["large"]["tables"]
    result = _study("order", "experiment.yaml")
    assert "start model small" in result.output and "missing: large: " in _words(result)
    _study("order", "experiment.yaml", "--out", str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["large", "small"]
    report = CliRunner().invoke(app, ["report", "experiment.yaml"], catch_exceptions=False)
    assert report.exit_code == 0
    page = (workspace.root / "store/results/small/report.html").read_text()
    assert 'id="study-order-large"' in page and "Study: order, from small" in page
