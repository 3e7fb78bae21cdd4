"""Plans of what is more than one labelled task: sources under one head, translated data, presets, users' tasks."""

import json
from typing import Any

import pytest

from launch.draft import decide
from launch.draft.manifests import manifest
from launch.experiment import added_tasks
from launch.plan import Plan
from launch.plan.keys import step_digest
from launch.store import Store
from slurm.base import UsageError, UserError
from tests.launch.workspace import Workspace
from training.spec import TrainSpec
from training.tasks import catalogue
from training.tasks.presets import XTREME, XTREME_COMMIT

MINE = {"my_nli": {"like": "mnli", "files": {"train": ["mnli.tsv"], "dev": ["xnli-en.tsv"]}}}


def _spec(made: Plan, name: str) -> TrainSpec:
    return made.train_spec(made.find(name))


@pytest.fixture
def more(workspace: Workspace) -> Workspace:
    """With SNLI, ANLI and a translated SQuAD."""
    data = workspace.root / "data"
    with (data / "splits.yaml").open("a") as file:
        file.write("snli: {train: [mnli.tsv], hold_out: 0.5}\nanli: {train: [anli.jsonl], dev: [anli.jsonl]}\n")
        file.write("squad@de: {train: [xquad-de.json], dev: [squad.json]}\n")
    row = {"uid": "1", "context": "a", "hypothesis": "b", "label": "e"}
    (data / "anli.jsonl").write_text(json.dumps(row) + "\n")
    return workspace


def test_anli_plus_is_three_sources_under_one_head(more: Workspace) -> None:
    made = more.plan(recipes=["anli_plus", "anli_plus + squad"], targets=["tatoeba"], seeds=["1"])
    parts = _spec(made, "anli_plus-s1").parts
    assert [(part.task, part.head_name) for part in parts] == [
        ("snli", "anli_plus"), ("mnli", "anli_plus"), ("anli", "anli_plus"),
    ]  # fmt: skip
    assert [part.head_name for part in _spec(made, "anli_plus+squad-s1").parts] == ["anli_plus"] * 3 + ["squad"]


def test_how_tasks_are_mixed_is_no_part_of_the_key_of_one_head(more: Workspace) -> None:
    made = more.plan(recipes=["anli_plus", "anli_plus + squad"], targets=["tatoeba"], seeds=["1"])

    def digest(name: str, **changes: Any) -> str:
        from dataclasses import replace

        spec = _spec(made, name)
        return step_digest(spec.parts, replace(spec.settings, **changes))

    alone, mixed = "anli_plus-s1", "anli_plus+squad-s1"
    assert digest(alone, sampling="uniform") == digest(alone)
    assert digest(mixed, sampling="uniform") != digest(mixed) == digest(mixed, temperature=9.0)
    hot = digest(mixed, sampling="temperature")
    assert (
        digest(mixed, sampling="temperature", temperature=9.0)
        != hot
        == digest(mixed, sampling="temperature", examples_cap=7)
    )


def test_translated_data_are_trained_on_and_english_selects(more: Workspace) -> None:
    made = more.plan(recipes=["squad", "squad@de", "squad + squad@de"], targets=["tatoeba"], seeds=["1"])
    (part,) = _spec(made, "squad@de-s1").parts
    assert [file.path.rpartition("/")[2] for file in (*part.train, *part.dev)] == ["xquad-de.json", "squad.json"]  # type: ignore[union-attr]
    assert len(_spec(made, "squad+squad@de-s1").parts) == 2
    with pytest.raises(UserError, match=r"task qqp@de: its data are on no hub .*translate-train/de/QQP/train.tsv"):
        more.plan(recipes=["qqp@de"])


def test_presets_are_chosen_by_name(workspace: Workspace) -> None:
    def settings(**presets: str) -> tuple[float, float, int | None]:
        made = workspace.plan(recipes=["squad"], targets=["xquad"], seeds=["1"], presets=presets or None)
        inner, leaf = _spec(made, "squad-s1").settings, _spec(made, "squad.squad-s1").settings
        return inner.learning_rate, leaf.learning_rate, leaf.warmup_steps

    assert settings() == (1e-5, 1e-5, None)
    assert settings(target="xtreme") == (1e-5, 3e-5, 500)
    with pytest.raises(
        UsageError, match=r"yaml:\d+: task hellaswag has no preset xtreme; it has paper-intermediate, paper-target$"
    ):
        workspace.plan(recipes=["hellaswag"], presets={"intermediate": "xtreme"})
    with pytest.raises(UsageError, match=r"'papers' is not one of"):
        workspace.plan(presets={"target": "papers"})


def test_a_commit_can_be_given_where_none_is_pinned(workspace: Workspace) -> None:
    commit, repo = "0123456789" * 4, "Samsoup/cosmos_qa"
    grid: dict[str, Any] = {"recipes": ["cosmos_qa"], "targets": ["xnli"], "seeds": ["1"]}
    with pytest.raises(UserError, match=rf"data: \{{revisions: \{{{repo}: <40 hex digits>\}}\}}"):
        workspace.plan(**grid)
    made = workspace.plan(**grid, data={"root": "./data", "revisions": {repo: commit}})
    assert {part.revision for part in _spec(made, "cosmos_qa-s1").parts[0].train} == {commit}  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="is not a commit"):
        workspace.plan(**grid, data={"root": "./data", "revisions": {repo: "main"}})


def test_another_commit_goes_before_the_pinned_one(workspace: Workspace) -> None:
    grid: dict[str, Any] = {"recipes": ["none"], "targets": ["udpos"], "seeds": ["1"]}
    for data, commit in (({}, XTREME_COMMIT), ({"revisions": {XTREME: "01" * 20}}, "01" * 20)):
        parts = _spec(workspace.plan(**grid, data={"root": "./data"} | data), "udpos-s1").parts
        assert {part.revision for part in parts[0].train} == {commit}  # type: ignore[union-attr]


def test_skipping_bad_rows_is_told_to_jobs(workspace: Workspace) -> None:
    file = workspace.root / "data" / "mnli.tsv"
    file.write_text(file.read_text() + "only one column\n")
    strict = workspace.plan()
    lenient = workspace.plan(data={"root": "./data", "skip_bad_rows": "true"})
    assert _spec(lenient, "mnli-s1").parts[0].skip_bad_rows
    assert set(strict.stages) == set(lenient.stages)  # with a malformed row only one of the two has a result
    with pytest.raises(UsageError, match="'yes' is neither true nor false"):
        workspace.plan(data={"root": "./data", "skip_bad_rows": "yes"})


def test_pairs_of_mlqa_are_languages_on_request(workspace: Workspace) -> None:
    splits = workspace.root / "data" / "splits.yaml"
    splits.write_text(splits.read_text().replace('mlqa: {test: ["xquad-{lang}', 'mlqa: {test: ["mlqa-{lang}-{lang}'))
    for pair in ("de-de", "de-en"):
        (workspace.root / "data" / f"mlqa-{pair}.json").write_text(
            (workspace.root / "data" / "xquad-de.json").read_text()
        )
    assert list(workspace.plan(targets=["mlqa"]).targets["mlqa"].languages) == ["de"]
    made = workspace.plan(targets=["mlqa"], languages={"mlqa": ["de", "de-en"]})
    assert list(made.targets["mlqa"].languages) == ["de", "de-en"]
    with pytest.raises(UsageError, match="target mlqa: language de-fr"):
        workspace.plan(targets=["mlqa"], languages={"mlqa": ["de-fr"]})


def test_the_head_of_several_sources_is_part_of_the_key(more: Workspace) -> None:
    def key(**changes: Any) -> str:
        mine = {"like": "anli_plus", "columns": {"first": "{a}", "second": "{b}"}} | changes
        made = more.plan(recipes=["mine"], targets=["tatoeba"], seeds=["1"], catalogue={"mine": mine})
        return made.find("mine-s1").key

    assert key() != key(labels=["neutral", "contradiction", "entailment"])


def test_a_users_task_keeps_its_stages_when_a_language_comes(workspace: Workspace) -> None:
    def key(**changes: Any) -> str:
        files = {"train": ["panx-en.tsv"], "dev": ["panx-en.tsv"], "test": ["panx-{lang}.tsv"]}
        mine = {"like": "panx", "training_path": "mine", "languages": ["de"], "files": files} | changes
        made = workspace.plan(recipes=["none"], targets=["mine"], seeds=["1"], catalogue={"mine": mine})
        return made.find("mine-s1").key

    assert key() == key(languages=["de", "en"]) == key(licence="mine") != key(metric="words")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"data": {"revisions": {"google/xtrem": "0" * 40}}},
            "is no data set of the catalogue; did you mean 'google/xtreme'",
        ),
        (
            {"targets": ["xnli"], "languages": {"default": ["ur"]}},
            r"for target 'xnli' \(its first test file: .*xnli-ar.tsv",
        ),
        ({"recipes": ["mlm@de"]}, "mlm is text in any language"),
    ],
    ids=str,
)
def test_what_would_have_no_effect_is_refused(workspace: Workspace, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        workspace.plan(**changes)


def test_a_users_task_is_planned_and_jobs_are_told_what_it_is(workspace: Workspace) -> None:
    grid: dict[str, Any] = {"recipes": ["my_nli"], "targets": ["tatoeba"], "seeds": ["1"]}
    made = workspace.plan(**grid, catalogue=MINE)
    (part,) = _spec(made, "my_nli-s1").parts
    assert part.task == "my_nli"
    store = Store(made.experiment.store)
    from launch.status import Observation

    drafted = decide(made, Observation(made, store), 100)
    (record,) = manifest(made, store, drafted.arrays[0]).tasks
    assert added_tasks.from_record(json.loads(json.dumps(record))) == catalogue.find("my_nli")
    other = {"my_nli": MINE["my_nli"] | {"files": {"train": ["mnli.tsv"], "hold_out": "0.5"}}}
    assert set(workspace.plan(**grid, catalogue=other).stages) != set(made.stages)
    with pytest.raises(UsageError, match=r"yaml:\d+: .*'liek'.*did you mean 'like'"):
        workspace.plan(**grid, catalogue={"my_nli": {"liek": "mnli"}})
