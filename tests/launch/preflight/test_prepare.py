"""`stepstone prepare`: what jobs need is there afterwards, once, and what is not there is said in one line."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from launch.draft import environment
from launch.plan import Plan
from launch.preflight import checks, prepare
from launch.store.store import token_folder
from slurm.base import UserError
from tests.launch.workspace import Workspace
from training.data import tokens

HUB_MODEL = "FacebookAI/xlm-roberta-base"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    for name, value in (("HF_HUB_OFFLINE", True), ("HF_HUB_CACHE", str(tmp_path / "hf")), ("HF_HOME", str(tmp_path))):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)


def silently(what: str, items: Sequence[Any]) -> Iterator[Any]:
    yield from items


def prepared(plan: Plan, *, skip: bool = False) -> list[str]:
    return list(prepare.prepare(plan, skip_bad_rows=skip, track=silently).lines())


def small_plan(workspace: Workspace, tiny_model: Path, **changes: Any) -> Plan:
    """English and German, two tasks: with a real tokenizer."""
    settings = {"max_length": "96", "max_query_length": "32"}
    return workspace.plan(**{"model": str(tiny_model), "training": settings, "seeds": ["1"]} | changes)


@pytest.mark.slow
def test_everything_is_encoded_once_and_the_second_time_nothing(workspace: Workspace, tiny_model: Path) -> None:
    plan = small_plan(workspace, tiny_model)
    first = prepared(plan)
    folder = token_folder(plan.experiment.store)
    entries = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_dir()}
    assert tokens.has_facts(folder)
    assert first[0] == "fetched: nothing"
    assert first[1].startswith(f"made:  {len(entries)} encodings, ")
    assert all(tokens.read(folder / name) for name in entries)
    second = prepared(plan)
    assert second[1].startswith("made:  0 encodings")
    assert second[2] == first[1].replace("made: ", "found:")
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_dir()} == entries


@pytest.mark.slow
def test_malformed_rows_are_an_error_or_listed(workspace: Workspace, tiny_model: Path) -> None:
    file = workspace.root / "data" / "xnli-de.tsv"
    file.write_text(file.read_text() + "only one column\n")
    plan = small_plan(workspace, tiny_model, targets=["xnli"], recipes=["none"])
    with pytest.raises(UserError, match=r"xnli-de\.tsv:9: 1 columns"):
        prepared(plan)
    lines = prepared(plan, skip=True)
    assert lines[3] == "malformed rows left out: 1"
    assert "xnli-de.tsv:9: 1 columns" in lines[4]


@pytest.mark.slow
def test_jobs_that_skip_find_what_was_prepared(workspace: Workspace, tiny_model: Path) -> None:
    file = workspace.root / "data" / "xnli-de.tsv"
    file.write_text(file.read_text() + "only one column\n")
    prepared(small_plan(workspace, tiny_model, targets=["xnli"], recipes=["none"]), skip=True)
    data = {"root": "./data", "skip_bad_rows": "true"}
    plan = small_plan(workspace, tiny_model, targets=["xnli"], recipes=["none"], data=data)
    assert prepared(plan)[1].startswith("made:  0 encodings")


@pytest.mark.usefixtures("offline")
def test_a_model_that_is_not_here_is_refused_before_sending(workspace: Workspace) -> None:
    plan = workspace.plan(model=HUB_MODEL)
    with pytest.raises(UserError, match=rf"model {HUB_MODEL}@e73636d4f797 is not in .* run `stepstone prepare .*first"):
        checks.check_fetched(plan)
    with pytest.raises(UserError, match=r"cannot be fetched: it is not in .* HF_HUB_OFFLINE is set\. Run `stepstone"):
        prepared(plan)


@pytest.mark.usefixtures("offline")
def test_data_that_is_not_here_is_refused_before_sending(workspace: Workspace) -> None:
    splits = workspace.root / "data" / "splits.yaml"
    splits.write_text("\n".join(line for line in splits.read_text().splitlines() if not line.startswith("hellaswag")))
    (workspace.root / "data" / "hellaswag.jsonl").unlink()
    plan = workspace.plan(recipes=["hellaswag"])
    with pytest.raises(UserError, match=r"Rowan/hellaswag@\w{12} train and 1 more are not in this machine's"):
        checks.check_fetched(plan)
    with pytest.raises(UserError, match=r"Rowan/hellaswag.*cannot be fetched: it is not in .* HF_HUB_OFFLINE is set"):
        prepared(plan)


def test_local_data_and_a_local_model_need_no_fetching(workspace: Workspace) -> None:
    checks.check_fetched(workspace.plan())


def test_jobs_run_offline(workspace: Workspace) -> None:
    assert environment.ENVIRONMENT | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"} == environment.ENVIRONMENT


@pytest.mark.slow
def test_the_command_prints_plain_lines_and_a_summary(workspace: Workspace, tiny_model: Path) -> None:
    settings = {"max_length": "96", "max_query_length": "32"}
    file = workspace.file(model=str(tiny_model), training=settings, targets=["xnli"], recipes=["none"])
    command = [str(Path(sys.executable).parent / "stepstone"), "prepare", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("fetched: nothing\nmade:  ")
    assert "tokenising 1/4: mnli\n" in run.stderr
    assert "\x1b" not in run.stderr


@pytest.mark.slow
def test_a_full_disk_is_one_line(workspace: Workspace, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokens, "_write", full)
    with pytest.raises(UserError, match="the token cache cannot be written: No space left on device"):
        prepared(small_plan(workspace, tiny_model, targets=["xnli"], recipes=["none"]))
