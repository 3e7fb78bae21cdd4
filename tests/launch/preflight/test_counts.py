"""Numbers of rows: local data against what was published and against the other languages, in `plan` and `prepare`."""

import json
from typing import Any, TypeVar

import pytest

from launch.preflight import checks
from launch.preflight.prepare import Summary
from slurm.base import UserError
from tests.launch.workspace import Workspace
from training.data import load
from training.formats.report import reporting
from training.tasks import find

_T = TypeVar("_T")


def write_xnli(workspace: Workspace, **rows: int) -> None:
    """XNLI's test under its own names, so many rows in each language; and no word of it in splits.yaml."""
    splits = workspace.root / "data" / "splits.yaml"
    lines = splits.read_text().splitlines(keepends=True)
    splits.write_text("".join(line for line in lines if not line.startswith("xnli")))
    folder = workspace.root / "data" / "xnli"
    folder.mkdir(exist_ok=True)
    for code, count in rows.items():
        (folder / f"test-{code}.tsv").write_text("Es regnet.\tEs ist nass.\tneutral\n" * count)


def remarks(workspace: Workspace, **changes: Any) -> list[str]:
    return checks.check(workspace.plan(**{"targets": ["xnli"], "recipes": ["none"]} | changes))


def test_a_whole_test_is_passed_and_a_cut_one_refused(workspace: Workspace) -> None:
    write_xnli(workspace, de=5010, en=5010)
    assert not [text for text in remarks(workspace) if text.startswith("xnli")]
    write_xnli(workspace, de=2000)
    with pytest.raises(UserError, match=r"xnli/test-de\.tsv: 2,000 rows, but .* xnli has 5,010 in every language: it"):
        remarks(workspace)


def test_what_somebody_chose_is_said(workspace: Workspace) -> None:
    """By splits.yaml, or as a trial."""
    assert remarks(workspace)[-1] == (
        "xnli: test rows, of those published: de 8 of 5,010, en 8 of 5,010, zh 8 of 5,010; splits.yaml chose the files"
    )
    assert "mnli: train 8 of 392,702 published rows; splits.yaml chose the files" in remarks(workspace)
    write_xnli(workspace, de=2000, en=2000)
    assert remarks(workspace, data={"root": "./data", "max_eval": 4})[-2:] == [
        "xnli: test rows, of those published: de 2,000 of 5,010, en 2,000 of 5,010",
        "a trial (max_eval 4): only the first of each list of examples are used",
    ]


def test_parallel_languages_of_different_lengths_are_said(workspace: Workspace) -> None:
    data = workspace.root / "data"
    (data / "xnli-de.tsv").write_text((data / "xnli-de.tsv").read_text() * 2)
    assert "xnli: its languages should say the same, row by row, but have de 16, en 8, zh 8 rows" in remarks(workspace)


def test_rows_without_a_label_count(workspace: Workspace) -> None:
    data = workspace.root / "data"
    row = {"sentence1": "p", "sentence2": "h", "gold_label": "neutral"}
    rows = [row, row | {"gold_label": "-"}, row]
    (data / "snli.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    with (data / "splits.yaml").open("a") as file:
        file.write("snli: {train: [snli.jsonl], dev: [snli.jsonl]}\n")
    plan = workspace.plan(recipes=["snli"])
    (part,) = {part for step in plan.steps.values() for part in step.parts if part.task == "snli"}
    with reporting() as report:
        train, _ = load.load_training(part)
    assert (len(train), report.rows[part.train]) == (2, 3)


def test_published_sizes_are_those_of_a_language() -> None:
    sizes = {name: find(name).test_size("de") for name in ("xnli", "mlqa", "panx", "tatoeba", "xquad")}
    assert sizes == {"xnli": 5010, "mlqa": 4517, "panx": 10000, "tatoeba": 1000, "xquad": 1190}
    assert (find("tydiqa").test_size("en"), find("lareqa").test_size("th"), find("bucc").test_size("zh")) == (
        440,
        1190,
        None,
    )


def test_prepare_says_what_was_mended(workspace: Workspace) -> None:
    """The file's answers are beside their places, because its context was stripped."""
    path = workspace.root / "data" / "squad.json"
    content = json.loads(path.read_text())
    content["data"][0]["paragraphs"][0]["context"] = "In Bonn it is."
    content["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 5
    path.write_text(json.dumps(content))
    (text, *_) = remarks(workspace, recipes=["squad"])
    assert text.startswith(f"{path}: 1 of 1 answers stand up to 8 characters beside the place")
    assert f"note: {text}" in list(Summary(remarks=[text]).lines())
